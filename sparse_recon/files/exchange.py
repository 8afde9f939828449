"""One folder in the place of another, in one step where the file system can, and on the disk when it is done."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# Neither kernel, C library nor file system need to know the exchange or how to flush a folder.
_NOT_THERE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


def put_in_place(new: Path, target: Path, spare: Path) -> None:
    """Move `new` to `target`; what was there takes its place, or lies in the folder `spare` afterwards.

    Where the file system cannot exchange two names, nothing lies at `target` for a moment. A process that is killed in
    that moment leaves it in `spare`, a folder that does not exist before.
    """
    if not os.path.lexists(target):
        new.rename(target)
        return
    try:
        exchange(new, target)
        return
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
    spare.mkdir()
    target.rename(spare / target.name)
    try:
        new.rename(target)
    except BaseException:
        (spare / target.name).rename(target)
        raise


def exchange(one: Path, other: Path) -> None:
    """Let two paths change their places in one step: renameat2(2) of Linux with RENAME_EXCHANGE.

    Raises
    ------
    OSError
        ENOSYS, EINVAL or EOPNOTSUPP where that does not exist.
    """
    sys.audit("os.rename", str(one), str(other), -1, -1)
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Return when a folder and all files in it are on the disk."""
    for where, _, names in os.walk(folder):
        for name in names:
            sync(Path(where, name))
        sync(Path(where))
