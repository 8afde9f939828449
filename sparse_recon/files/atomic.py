"""Folders and files that appear whole or not at all: an older result is there until the new one is on the disk."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparse_recon.errors import ErrorCode, FileError, clipped
from sparse_recon.files.exchange import put_in_place, sync, sync_tree
from sparse_recon.files.interrupts import interrupts_held
from sparse_recon.files.unfinished import MADE, REPLACED, own_folder

# EFBIG: a limit on file size, as quota systems and containers set it.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def whole_folder(target: Path, what: str) -> Iterator[Path]:
    """Give a temporary folder beside `target` to write into; it takes the place of `target` when all went well.

    Whatever is raised inside leaves `target` as it was and removes the temporary folder. A process that is
    killed leaves the old or the new one, whole, and the temporary folder to the next call for the same parent.

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
        with own_folder(target.parent) as temporary:
            new = temporary / MADE / target.name
            new.mkdir()
            yield new
            sync_tree(new)
            with interrupts_held():
                put_in_place(new, target, temporary / REPLACED)
                sync(target.parent)


@contextmanager
def whole_file(target: Path, what: str) -> Iterator[Path]:
    """Give a path to write a file to; it takes the place of `target` when all went well, as in `whole_folder`."""
    with file_errors(target, what):
        target.parent.mkdir(parents=True, exist_ok=True)
        with own_folder(target.parent) as temporary:
            new = temporary / MADE / target.name
            yield new
            sync(new)
            os.replace(new, target)
            sync(target.parent)


def remove_whole(folder: Path, what: str) -> None:
    """Remove a folder so that it is there with all its files, or not at all, whenever the process is killed.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE.
    """
    with file_errors(folder, what), own_folder(folder.parent) as temporary:
        folder.rename(temporary / MADE / folder.name)


@contextmanager
def file_errors(target: Path, what: str) -> Iterator[None]:
    """Turn an OSError inside into FileError DISK_FULL or OUTPUT_UNWRITABLE."""
    try:
        yield
    except OSError as error:
        full = error.errno in _NO_SPACE
        raise FileError(
            ErrorCode.DISK_FULL if full else ErrorCode.OUTPUT_UNWRITABLE,
            f"{what} cannot be written to {clipped(str(target))}: {error.strerror or clipped(str(error))}; "
            f"{_cure(error)}. What was there before is untouched",
        ) from error


def _cure(error: OSError) -> str:
    if error.errno in _NO_SPACE:
        return "free space on that disk"
    if error.errno == errno.ENAMETOOLONG:
        return "shorten its name"
    cures = {
        FileExistsError: "a file lies where a folder is needed",
        NotADirectoryError: "a file lies where a folder is needed",
        IsADirectoryError: "a folder lies where a file is needed",
    }
    return f"{cures.get(type(error), 'check permissions')}, or name another folder"


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
