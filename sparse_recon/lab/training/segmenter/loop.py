"""Training of the segmenter: steps, a moving average of the weights, checkpoints from which a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.checkpoints import read_state, write_state
from sparse_recon.lab.training.segmenter.samples import ClutterSamples
from sparse_recon.observe.segmenter.features import features
from sparse_recon.observe.segmenter.layout import Widths
from sparse_recon.observe.segmenter.network import SegmenterNet
from sparse_recon.observe.segmenter.weights import load_segmenter_net

STATE_FILE = "segmenter-state.safetensors"
CHECKPOINT_STEPS, REPORT_STEPS = 100, 50
CENTRE_WEIGHT, OFFSET_WEIGHT = 6.0, 0.5
_EMA, _EMA_WARMUP = 0.998, 20
_CLIP = 3.0


@dataclass(frozen=True)
class SegmenterTraining(Checked):
    """One run."""

    steps: int = field(default=3000, metadata=doc("Number of optimiser steps of the whole run.", low=1, high=10**7))
    batch_size: int = field(default=12, metadata=doc("Number of samples per step.", low=2, high=1024))
    learning_rate: float = field(default=2e-3, metadata=doc("Peak learning rate of AdamW.", low=1e-6, high=0.1))
    warmup_steps: int = field(default=200, metadata=doc("Steps in which the learning rate rises.", low=0, high=10**6))
    cooldown_share: float = field(
        default=0.35, metadata=doc("Share of the steps in which the learning rate falls to zero.", low=0.0, high=1.0)
    )
    weight_decay: float = field(default=1e-3, metadata=doc("Weight decay of AdamW.", low=0.0, high=1.0))
    seed: int = field(default=0, metadata=doc("Seed of weights, order and faults.", low=0, high=2**31 - 1))


OnReport = Callable[[int, Mapping[str, float]], None]


class SegmenterRun:
    """A run in a folder; it goes on from the checkpoint there, if there is one.

    Parameters
    ----------
    begin_from : weights file of an earlier run; random weights without one.
    """

    def __init__(self, config: SegmenterTraining, data: Path, out: Path, begin_from: Path | None = None) -> None:
        self.config, self._data, self._out, self.step = config, Path(data), Path(out), 0
        torch.manual_seed(config.seed)
        net = SegmenterNet(Widths()) if begin_from is None else load_segmenter_net(begin_from).requires_grad_(True)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
        self.net = net.train()
        self._optimizer = torch.optim.AdamW(
            self.net.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.average = {name: t.clone() for name, t in self.net.state_dict().items()}
        if (self._out / STATE_FILE).is_file():
            self._read()

    def train(self, on_report: OnReport = lambda step, losses: None) -> None:
        """Train to the last step; a run that is stopped goes on from its last checkpoint.

        Raises
        ------
        FileError
            If there are no views to learn from, or a checkpoint cannot be written.
        """
        sums: dict[str, float] = {}
        for batch in self._batches():
            for group in self._optimizer.param_groups:
                group["lr"] = self.config.learning_rate * self._rate()
            losses = losses_of(self.net(inputs_of(batch)), batch)
            self._optimizer.zero_grad()
            sum(losses.values(), torch.zeros(())).backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
            self._optimizer.step()
            self.step += 1
            self._follow()
            sums = {name: sums.get(name, 0.0) + float(value.detach()) for name, value in losses.items()}
            if self.step % REPORT_STEPS == 0:
                on_report(self.step, {name: value / REPORT_STEPS for name, value in sums.items()})
                sums = {}
            if self.step % CHECKPOINT_STEPS == 0 or self.step == self.config.steps:
                self._write()
            if self.step >= self.config.steps:
                return

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield batches for ever; views that were made meanwhile are seen in the next pass."""
        while True:
            shards = sorted(self._data.glob("*.npy"))
            samples = ClutterSamples(shards, seed=self.config.seed + 1 + self.step)
            if len(samples) < self.config.batch_size:
                raise FileError(
                    ErrorCode.INPUT_MISSING, f"{self._data} holds {len(samples)} views; make some with --generate"
                )
            order = torch.Generator().manual_seed(self.config.seed + self.step)
            yield from DataLoader(
                samples, self.config.batch_size, shuffle=True, num_workers=1, drop_last=True, generator=order
            )

    def _rate(self) -> float:
        """Return the learning rate as a share of the largest: up, constant, linearly down."""
        cooldown = self.config.cooldown_share * self.config.steps
        up = min(1.0, (self.step + 1) / max(self.config.warmup_steps, 1))
        return up * (min(1.0, max(0.01, (self.config.steps - self.step) / cooldown)) if cooldown > 0 else 1.0)

    def _follow(self) -> None:
        decay = min(_EMA, (self.step + 1) / (self.step + _EMA_WARMUP))
        for name, value in self.net.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _write(self) -> None:
        state = self._optimizer.state_dict()["state"]
        tensors = {f"net.{n}": t for n, t in self.net.state_dict().items()}
        tensors |= {f"average.{n}": t for n, t in self.average.items()}
        tensors |= {f"adam.{i}.{n}": t for i, s in state.items() for n, t in s.items()}
        write_state(self._out / STATE_FILE, tensors, {"step": self.step, "config": asdict(self.config)})

    def _read(self) -> None:
        tensors, about = read_state(self._out / STATE_FILE)
        self.step = int(about["step"])
        self.net.load_state_dict(_under("net.", tensors))
        self.average = _under("average.", tensors)
        state = self._optimizer.state_dict()
        kept: dict[int, dict[str, Any]] = {}
        for name, tensor in _under("adam.", tensors).items():
            number, key = name.split(".", 1)
            kept.setdefault(int(number), {})[key] = tensor
        self._optimizer.load_state_dict({**state, "state": kept})


def inputs_of(batch: Mapping[str, Tensor]) -> Tensor:
    """Return the network's input for a batch of samples."""
    x = features(batch["rgb"], batch["depth_m"], batch["plane_cam"], batch["K"])
    return x.contiguous(memory_format=torch.channels_last)


def losses_of(y: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what an answer (B, 4, H, W) costs: as cross entropy of thing and centre, and as distance of offsets."""
    thing, centre, weight = batch["thing"], batch["centre"], batch["weight"]
    own = weight * thing
    of_thing = F.binary_cross_entropy_with_logits(y[:, 0], thing, reduction="none") * (1.0 + own)
    least = F.binary_cross_entropy(centre.clamp(1e-4, 1 - 1e-4), centre, reduction="none")
    of_centre = F.binary_cross_entropy_with_logits(y[:, 1], centre, reduction="none") - least
    of_offset = ((y[:, 2:] - batch["offset"]).abs().sum(dim=1) * own).sum() / (own.sum() + 1.0)
    return {
        "thing": of_thing.mean(),
        "centre": CENTRE_WEIGHT * (of_centre * (1.0 + 9.0 * centre)).mean(),
        "offset": OFFSET_WEIGHT * of_offset,
    }


def write_weights(path: Path, weights: Mapping[str, Tensor], widths: Widths, about: Mapping[str, Any]) -> None:
    """Write weights as they ship: half precision, with the widths that they are of; FileError OUTPUT_UNWRITABLE."""
    half = {n: t.half() for n, t in weights.items() if not n.endswith("num_batches_tracked")}
    write_state(path, half, {**about, "widths": asdict(widths)})


def averaged_weights(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the averaged weights of a run and what its checkpoint says of it; FileError INPUT_MISSING."""
    tensors, about = read_state(run / STATE_FILE)
    return _under("average.", tensors), about


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
