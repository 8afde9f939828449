"""Limits in processor seconds: other work on the machine does not count, a search without end does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def processor_time_below(limit_s: float) -> Iterator[None]:
    """See that what is done here, by all threads of this process, takes less than some processor seconds."""
    begun_s = time.process_time()
    yield
    taken_s = time.process_time() - begun_s
    assert taken_s < limit_s, f"{taken_s:.1f} s of processor time, {limit_s:g} s are enough"
