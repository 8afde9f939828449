"""Batches by step number: the same step of the same run has the same batch, whenever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparse_recon.complete.compact.volumes import CHANNELS, SCALARS
from sparse_recon.lab.training.config import TrainingConfig
from sparse_recon.lab.training.samples import Sample
from sparse_recon.lab.training.shards import StoredSample, list_samples, read_sample

_SUPPORT = SCALARS.index("support_voxels")


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples: volumes (B, 7, N, N, N) int8, target (B, N, N, N) int8, scalars (B, 5) float32."""

    volumes: Tensor
    target: Tensor
    scalars: Tensor

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        return Batch(self.volumes.to(device), self.target.to(device), self.scalars.to(device))


class Batches:
    """Draws, reads and augments batches, one ahead of the loop, from a list of shards that may grow.

    Members of a team have different `rank`s and draw different samples.
    """

    def __init__(self, config: TrainingConfig, paths: Sequence[Path], rank: int = 0) -> None:
        self._config, self._rank = config, rank
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[Batch]] | None = None
        self.take(paths)

    def take(self, paths: Sequence[Path]) -> None:
        """Draw from these shards from the next step on."""
        self.paths = list(paths)
        self._samples = list_samples(self.paths)
        self._ahead = None

    def __len__(self) -> int:
        return len(self._samples)

    def at(self, step: int) -> Batch:
        """Return the batch of a step, and begin to read that of the next."""
        batch = self._ahead[1].result() if self._ahead and self._ahead[0] == step else self._drawn(step, self._samples)
        self._ahead = (step + 1, self._pool.submit(self._drawn, step + 1, self._samples))
        return batch

    def close(self) -> None:
        """End the reading thread."""
        self._pool.shutdown(cancel_futures=True)

    def _drawn(self, step: int, samples: Sequence[StoredSample]) -> Batch:
        rng = np.random.default_rng((self._config.seed, step, self._rank) if self._rank else (self._config.seed, step))
        chosen = rng.choice(len(samples), self._config.batch_size, replace=len(samples) < self._config.batch_size)
        return batch_of([augmented(read_sample(samples[i]), rng, self._config.turns) for i in chosen])


def batch_of(samples: Sequence[Sample]) -> Batch:
    """Put samples together."""
    return Batch(
        torch.from_numpy(np.stack([s.volumes for s in samples])),
        torch.from_numpy(np.stack([s.target for s in samples])),
        torch.from_numpy(np.stack([s.scalars for s in samples])),
    )


def augmented(sample: Sample, rng: np.random.Generator, turns: bool) -> Sample:
    """Return a sample mirrored across y half of the time, and with `turns` also turned about z.

    x points away from the cameras, so mirroring keeps to what a session lays its cubes like; turning does not.
    """
    both = np.concatenate([sample.volumes, sample.target[None]])
    if rng.random() < 0.5:
        both = both[:, :, ::-1]
    if turns:
        both = np.rot90(both, int(rng.integers(4)), axes=(1, 2))
    return Sample(*_split(both), sample.scalars, sample.family, sample.number)


def _split(both: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    return both[: len(CHANNELS)], both[len(CHANNELS)]
