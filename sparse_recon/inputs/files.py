"""Files that somebody named: opened only if they are regular files, and read only up to a size."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from sparse_recon.errors import ErrorCode, FileError, SparseReconError, clipped

Refusal = Callable[[str], SparseReconError]

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.ELOOP: "is a symbolic link that leads to itself",
    errno.ENAMETOOLONG: "has a name that is too long for a file",
    errno.EACCES: "may not be read; check permissions",
}


def missing(sentence: str) -> FileError:
    """Return the error of an input that cannot be used, INPUT_MISSING."""
    return FileError(ErrorCode.INPUT_MISSING, sentence)


def what_is_there(path: Path) -> str:
    """Return `file`, `a folder`, or why there is neither; links are followed, and nothing is opened."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return _reason(error)
    except ValueError:  # of NUL
        return "has a name that no file can have"
    return "file" if stat.S_ISREG(mode) else f"is {_kind(mode)}"


def check_file(path: Path, what: str, refusal: Refusal = missing) -> int:
    """Return the size in bytes of a regular file.

    Parameters
    ----------
    what : the path must be, for the sentence, such as `an image`.
    refusal : makes the error of a sentence.

    Raises
    ------
    SparseReconError
        As `refusal` makes it, INPUT_MISSING by default: for everything that is no regular file, such as a folder, a
        named pipe, a device, a socket, an endless link, and for names that no file can have.
    """
    found = what_is_there(path)
    if found != "file":
        raise refusal(f"{shown(path)} {found}; it must be {what}")
    return os.stat(path).st_size


def check_folder(path: Path, what: str, refusal: Refusal = missing) -> None:
    """Refuse what is no folder, as `check_file` refuses what is no file."""
    found = what_is_there(path)
    if found != "is a folder":
        raise refusal(f"{shown(path)} {'is a file' if found == 'file' else found}; it must be {what}")


def open_file(path: Path, what: str, refusal: Refusal = missing) -> BinaryIO:
    """Open a regular file for reading and never wait for it; raises as `check_file`."""
    check_file(path, what, refusal)
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise refusal(f"{shown(path)} {_reason(error)}; it must be {what}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was exchanged since
        file.close()
        raise refusal(f"{shown(path)} is no file any more; it must be {what}")
    return file


def read_bytes(path: Path, what: str, most_bytes: int, refusal: Refusal = missing) -> bytes:
    """Return what a regular file holds; raises as `check_file`, also beyond `most_bytes`."""
    with open_file(path, what, refusal) as file:
        try:
            data = file.read(most_bytes + 1)
        except OSError as error:
            raise refusal(f"{shown(path)} {_reason(error)}; it must be {what}") from error
    if len(data) > most_bytes:
        raise refusal(f"{shown(path)} has more than {most_bytes} bytes; it must be {what}")
    return data


def expanded(text: str) -> Path:
    """Return a path with `~` and `~user` replaced by homes; where there is no such user, the path as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def shown(path: Path) -> str:
    """Return a path as messages show it."""
    return clipped(str(path))


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or f"cannot be read: {error.strerror or type(error).__name__}"
