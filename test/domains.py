"""ROS domains that nobody else uses: neither another test, nor other tests that run on this machine meanwhile."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

_BLOCKS, _SIZE = 10, 10  # of domains, 1 to 100; a process has one block


_held: set[int] = set()


def new_domain() -> int:
    """Return a domain that no running test uses; it comes again after nine others, unless it is held."""
    block, _, numbers = _reserved(os.getpid())
    return next(domain for k in numbers if (domain := 1 + block * _SIZE + k % _SIZE) not in _held)


@contextmanager
def held_domain() -> Iterator[int]:
    """Hold a domain for what lives longer than one test."""
    domain = new_domain()
    _held.add(domain)
    try:
        yield domain
    finally:
        _held.discard(domain)


@lru_cache(maxsize=1)
def _reserved(pid: int) -> tuple[int, IO[str], itertools.count[int]]:
    """Lock a block of domains for as long as this process lives."""
    folder = Path(tempfile.gettempdir()) / f"sparse_recon_test_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for k in range(_BLOCKS):
        block = (pid + k) % _BLOCKS
        file = (folder / str(block)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return block, file, itertools.count()
    raise RuntimeError(f"{_BLOCKS} other test runs hold all ROS domains; wait for one of them to end")
