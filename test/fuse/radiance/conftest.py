"""One thread a process: the tensors are so small that a second one costs more than it does, most beside other work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sparse_recon.machine.processor import torch_threads


@pytest.fixture(scope="module", autouse=True)  # a folder is no package: that would last to the end of all tests
def one_thread() -> Iterator[None]:
    """Let torch calculate in one thread."""
    with torch_threads(1):
        yield
