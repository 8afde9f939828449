"""Temporary folders beside what they become: gone with the block, or, where the process was killed, with the next run.

A process holds a lock on each of its own, so that a folder without one is known to be left over.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparse_recon.files.interrupts import interrupts_held
from sparse_recon.files.locks import locked

PREFIX = ".sparse_recon.unfinished-"
# In it lies what is being made, or what is to go; and what has to go back where nothing took its place.
MADE, REPLACED = "made", "replaced"


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """Give a temporary folder in `parent`, with an empty folder `MADE` in it; gone afterwards, Ctrl-C or not."""
    temporary: tuple[Path, int] | None = None
    try:
        with interrupts_held():
            remove_left(parent)
            temporary = _made(parent)
        yield temporary[0]
    finally:
        if temporary is not None:
            with interrupts_held():
                _remove(temporary[0])
                os.close(temporary[1])


def remove_left(parent: Path) -> None:
    """Remove the temporary folders of killed processes; what they were about to replace is back in its place.

    Only folders of this user with such a name, such a content and no lock are touched. Without locks (NFS) they stay.
    """
    for path in sorted(parent.glob(f"{PREFIX}*")):
        with suppress(OSError):
            held = locked(path)
            try:
                if _left(path, held):
                    _remove(path)
            finally:
                os.close(held)


def _made(parent: Path) -> tuple[Path, int]:
    """Return a new folder and the descriptor that locks it; others may have removed it as left over before that."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            held = locked(path)
        except (BlockingIOError, FileNotFoundError):
            continue
        try:
            (path / MADE).mkdir()
            return path, held
        except FileNotFoundError:
            os.close(held)
        except OSError:
            _remove(path)
            os.close(held)
            raise


def _left(path: Path, held: int) -> bool:
    ours = os.fstat(held).st_uid == os.geteuid() and set(os.listdir(held)) <= {MADE, REPLACED}
    return ours and _has_locks(path)


def _has_locks(path: Path) -> bool:
    """Return whether a lock that this process holds keeps others out."""
    try:
        os.close(locked(path))
    except BlockingIOError:
        return True
    return False


def _remove(path: Path) -> None:
    """Remove a temporary folder, but never the only copy of what was to be replaced."""
    with suppress(OSError):
        for old in (path / REPLACED).iterdir():
            if not os.path.lexists(path.parent / old.name):
                old.rename(path.parent / old.name)
    if not any(not os.path.lexists(path.parent / name) for name in _names(path / REPLACED)):
        shutil.rmtree(path, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
