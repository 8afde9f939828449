"""Folders that belong to one process at a time: locked by flock, which leaves no file and ends with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparse_recon.errors import ErrorCode, FileError, clipped


def locked(folder: Path) -> int:
    """Lock a folder until the returned descriptor is closed; on a file system without locks (NFS) only open it.

    Raises
    ------
    BlockingIOError
        If it is locked already, by another process or by this one.
    OSError
        If it cannot be opened.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise
    except OSError:
        pass
    return held


@contextmanager
def only_writer(folder: Path, what: str) -> Iterator[None]:
    """Keep other runs from writing into a folder that exists.

    Raises
    ------
    FileError
        BUSY if another run writes there.
    OSError
        If the folder cannot be opened.
    """
    try:
        held = locked(folder.resolve())
    except BlockingIOError:
        raise FileError(
            ErrorCode.BUSY,
            f"another run writes {what} into {clipped(str(folder))}; wait for its end, or name another folder",
        ) from None
    try:
        yield
    finally:
        os.close(held)
