"""The pages of a SQLite file as its own bytes list them (https://www.sqlite.org/fileformat2.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_INNER = (2, 5)  # pages of an index and of a table that list others
_FILE_HEADER, _PAGE_HEADER = 100, 12
_MAX_READ = 20_000  # pages
_MAX_PAGE = 2**32 - 2


def is_cut(path: Path) -> bool:
    """Return whether a file has fewer pages than its header says."""
    with path.open("rb") as file:
        header = file.read(32)
    return int.from_bytes(header[28:32], "big") * _page_bytes(header) > path.stat().st_size


def lists_pages_twice(path: Path, roots: Iterable[object]) -> bool:
    """Return whether the first pages below some roots list a page more than once, so that reading may never end."""
    with path.open("rb") as file:
        page_bytes = _page_bytes(file.read(32))
        waiting = [root for root in roots if isinstance(root, int) and root > 0]
        listed = set(waiting)
        for read, number in enumerate(waiting):  # grows meanwhile
            if read == _MAX_READ:
                break
            below = list(_pages_below(file, number, page_bytes))
            if len(set(below)) < len(below) or not listed.isdisjoint(below):
                return True
            listed.update(below)
            # All leaves of a tree are equally deep, and list nothing.
            if below and _is_inner(file, below[0], page_bytes):
                waiting += below
    return False


def _is_inner(file: BinaryIO, number: int, page_bytes: int) -> bool:
    """Return whether a page lists others."""
    if not 1 < number <= _MAX_PAGE:
        return number == 1
    file.seek((number - 1) * page_bytes)
    return file.read(1) in (b"\x02", b"\x05")


def _pages_below(file: BinaryIO, number: int, page_bytes: int) -> Iterator[int]:
    """Yield the pages that an inner page lists; none of any other, and of none that a file cannot have."""
    if not 0 < number <= _MAX_PAGE:
        return
    file.seek((number - 1) * page_bytes)
    page = file.read(page_bytes)
    begin = _FILE_HEADER if number == 1 else 0
    header = page[begin : begin + _PAGE_HEADER]
    if len(header) < _PAGE_HEADER or header[0] not in _INNER:
        return
    cells = begin + _PAGE_HEADER
    for k in range(int.from_bytes(header[3:5], "big")):
        at = int.from_bytes(page[cells + 2 * k : cells + 2 * k + 2], "big")
        yield int.from_bytes(page[at : at + 4], "big")
    yield int.from_bytes(header[8:12], "big")


def _page_bytes(header: bytes) -> int:
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else size
