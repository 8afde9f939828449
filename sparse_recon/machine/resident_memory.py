"""Resident memory of this process, and giving it back to the system."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_MAPPED_BYTES, _TRIMMED_BYTES = 1 << 25, 1 << 26
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tame_allocator() -> None:
    """Let threads share one heap of glibc, so that `give_back` returns what a completion freed. mallopt(3).

    By default each thread has a heap of its own, which every completion fragments further. The threshold above which an
    array is mapped by itself is fixed at its most: lower ones cost a completion half as much time again in page faults.
    For the same reason the top of the heap is kept up to `_TRIMMED_BYTES`: at its default of 128 kB the arrays of every
    camera image would be given back and faulted in again.
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIMMED_BYTES)
        libc.mallopt(_M_ARENA_MAX, 1)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def give_back(collect: bool = True) -> None:
    """Return freed heap pages to the system, where the C library can; first collect garbage."""
    if collect:
        gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak_bytes() -> int:
    """Return the peak resident memory of this process (VmHWM); getrusage would also count what started it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
