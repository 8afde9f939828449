"""Training of the default model: what `run.TrainingRun` needs to know of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparse_recon.complete.compact.conditioning import INPUTS
from sparse_recon.complete.compact.network import Architecture, CompactNet
from sparse_recon.complete.compact.parameter_names import file_name, parameter_name
from sparse_recon.complete.compact.volumes import GRID
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.errors import ConfigError, ErrorCode, FileError
from sparse_recon.lab.training.batches import Batches
from sparse_recon.lab.training.checkpoints import MODEL_FILE, write_model
from sparse_recon.lab.training.config import ModelConfig, TrainingConfig
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.loss import losses
from sparse_recon.lab.training.measure import measure, summary
from sparse_recon.lab.training.run import TrainingRun
from sparse_recon.lab.training.shards import StoredSample, list_samples, shard_paths

log = logging.getLogger(__name__)


class Run(TrainingRun):
    """One training run of the default model in its folder."""

    config: TrainingConfig

    def __init__(
        self, config: TrainingConfig, data: Path, out: Path, resume: bool, initial_weights: Path | None = None
    ) -> None:
        self.data, self.size, self._initial_weights = data, architecture(config.model), initial_weights
        super().__init__(config, out)
        paths = shard_paths(data)
        if resume:
            paths = [data / name for name in self.restore()["shards"]]
        if not paths:
            raise FileError(ErrorCode.INPUT_MISSING, f"{data} holds no samples; make some with --generate")
        self.batches = Batches(config, paths, self.team.rank)

    def begin(self) -> nn.Module:
        """Return the network: random, or of an earlier run."""
        if self._initial_weights:
            return _initialised_from(self._initial_weights, self.size)
        return CompactNet(self.size)

    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TrainingRun.losses`."""
        batch = self.batches.at(self.step).to(self.device)
        found = losses(cast(CompactNet, net), batch, self.config, generator, self.dtype)
        return {
            "loss": found.total,
            "flow": found.flow,
            "regression": found.regression,
            "error": found.error,
            "occupancy": found.occupancy,
        }

    def validate(self) -> dict[str, float]:
        """Compare the averaged weights and carve with the truth of held-out samples."""
        row = summary(measure(cast(CompactNet, self.ema_net()), self._held_out()))
        log.info("step %d: %.3f %% of the diagonal, carve %.3f %%", self.step, row["model_pct"], row["carve_pct"])
        return row

    def refusal(self, row: Mapping[str, float]) -> str:
        """See `TrainingRun.refusal`: carve must be beaten."""
        if row["model_pct"] < row["carve_pct"]:
            return ""
        return (
            f"the Chamfer distance on validation objects is {row['model_pct']:.3f} % of the diagonal, not below the "
            f"{row['carve_pct']:.3f} % of carve"
        )

    def write_weights(self) -> None:
        """See `TrainingRun.write_weights`."""
        about = {"step": self.step, "seconds": self.seconds, "samples": self.samples_seen()}
        write_model(self.out / MODEL_FILE, self.ema_weights, self.size, about)

    def samples(self) -> int:
        """Return how many samples there are to learn from."""
        return len(self.batches)

    def on_checkpoint(self) -> None:
        """Take up new shards; the checkpoint names them, so that a resumed run draws from the same ones."""
        self.batches.take(shard_paths(self.data))

    def about(self) -> dict[str, Any]:
        """Return the shards that are learned from."""
        return {"shards": [str(p.relative_to(self.data)) for p in self.batches.paths]}

    def close(self) -> None:
        """End the processes that read samples."""
        self.batches.close()

    def file_name(self, name: str) -> str:
        """See `TrainingRun.file_name`."""
        return file_name(name)

    def parameter_name(self, name: str) -> str:
        """See `TrainingRun.parameter_name`."""
        return parameter_name(name)

    def _held_out(self) -> list[StoredSample]:
        stored = list_samples(shard_paths(self.data / HELD_OUT))
        stride = max(1, len(stored) // self.config.measure_samples)
        return stored[::stride][: self.config.measure_samples]


def architecture(model: ModelConfig) -> Architecture:
    """Return the network's sizes."""
    return Architecture(
        INPUTS, model.fine_width, model.middle_width, model.width, model.blocks, model.fine_blocks, GRID
    )


def _initialised_from(path: Path, size: Architecture) -> CompactNet:
    """Return a network with the weights of an earlier run, which it is to go on from on other samples."""
    net = load_weights(path).net
    if net.size != size:
        raise ConfigError(
            f"{path} holds weights of {net.size}; this run's network is {size}: choose a file of the same architecture"
        )
    return net.train().requires_grad_(True)
