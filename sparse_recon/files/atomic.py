"""Folders that appear whole or not at all: an old result is never half overwritten."""

from __future__ import annotations

import errno
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparse_recon.errors import ErrorCode, FileError

# EFBIG: a limit on file size, as quota systems and containers set it.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def whole_folder(target: Path, what: str) -> Iterator[Path]:
    """Give a temporary folder beside `target` to write into; it takes the place of `target` when all went well.

    Whatever is raised inside leaves `target` as it was and removes the temporary folder.

    Parameters
    ----------
    target : folder to make or to replace.
    what : what is being written, for messages.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE in place of an OSError from inside.
    """
    with file_errors(target, what):
        target.parent.mkdir(parents=True, exist_ok=True)
        with own_folder(target) as temporary:
            new = temporary / target.name
            new.mkdir()
            yield new
            with interrupts_held():
                _put_in_place(new, target, temporary / "replaced")


@contextmanager
def own_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target`, on the same disk, that is gone afterwards, Ctrl-C or not."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
    finally:
        with interrupts_held():
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the block is done; outside the main thread, where Python never raises it, do nothing."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _put_in_place(new: Path, target: Path, old: Path) -> None:
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


@contextmanager
def file_errors(target: Path, what: str) -> Iterator[None]:
    """Turn an OSError inside into FileError DISK_FULL or OUTPUT_UNWRITABLE."""
    try:
        yield
    except OSError as error:
        full = error.errno in _NO_SPACE
        in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))
        cure = "a file lies where a folder is needed" if in_the_way else "check permissions"
        cure = "free space on that disk" if full else f"{cure}, or name another folder"
        raise FileError(
            ErrorCode.DISK_FULL if full else ErrorCode.OUTPUT_UNWRITABLE,
            f"{what} cannot be written to {target}: {error.strerror or error}; {cure}. "
            "What was there before is untouched",
        ) from error


def check_writable(folder: Path, what: str) -> None:
    """Make a folder and a file in it, before hours of work are spent on what cannot be stored.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    with file_errors(folder, what):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
