"""Work for the processes of an evaluation, which take it by the name of this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_recon.errors import ErrorCode, FileError


class Counting:
    def __call__(self, task: int) -> Iterator[Any]:
        yield from (task, task + 1)


class Dying:
    def __call__(self, task: int) -> Iterator[Any]:
        if task == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield task


class Refusing:
    def __call__(self, task: int) -> Iterator[Any]:
        yield task
        raise FileError(ErrorCode.DISK_FULL, "the disk is full")


class Failing:
    def __call__(self, task: int) -> Iterator[Any]:
        yield task // 0


@dataclass(frozen=True)
class Lasting:
    """Writes the name of its process into a folder, and waits; cleans up where it is ended in between."""

    folder: Path

    def __call__(self, task: int) -> Iterator[Any]:
        name = self.folder / str(os.getpid())
        name.touch()
        try:
            time.sleep(3600.0)
        finally:
            name.write_text("cleaned up")
        yield task
