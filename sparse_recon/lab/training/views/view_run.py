"""A training run on pictures: which of them there are; what is made of them a system says in a subclass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.run import TrainingRun
from sparse_recon.lab.training.views.config import ViewRunConfig
from sparse_recon.lab.training.views.shards import view_shards
from sparse_recon.lab.training.views.view_set import ViewSet


class ViewRun(TrainingRun):
    """One run in its folder.

    Attributes
    ----------
    views : what is learned from; at a checkpoint, shards that were made meanwhile are not taken up.
    held_out : objects that never are.
    on_black : whether pictures are on black instead of on white.

    Raises
    ------
    FileError
        INPUT_MISSING if there are no pictures, or no checkpoint to resume.
    """

    config: ViewRunConfig
    on_black: ClassVar[bool] = False

    def __init__(self, config: ViewRunConfig, data: Path, out: Path, resume: bool) -> None:
        self.data = data
        super().__init__(config, out)
        self.paths = view_shards(data)
        if resume:
            self.paths = [data / name for name in self.restore()["shards"]]
        if not self.paths:
            raise FileError(ErrorCode.INPUT_MISSING, f"{data} holds no pictures; make some with --generate")
        self.views = ViewSet(self.paths, on_black=self.on_black)
        self.held_out = ViewSet(view_shards(data / HELD_OUT), config.measure_samples, self.on_black)
        self.prepare()

    def prepare(self) -> None:
        """Make of the pictures what is needed at every step."""

    def samples(self) -> int:
        """Return how many pictures there are to learn from."""
        return len(self.views) * self.views.count

    def about(self) -> dict[str, Any]:
        """Return the shards that are learned from."""
        return {"shards": [str(p.relative_to(self.data)) for p in self.paths]}

    def drawn(self, generator: torch.Generator, count: int, below: int) -> torch.Tensor:
        """Return random numbers (count,) below a limit."""
        return torch.randint(below, (count,), generator=generator)
