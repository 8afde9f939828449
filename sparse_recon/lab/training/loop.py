"""The training loop: resumable to the step, with checkpoints, metrics, averaged weights and an early gate."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_recon.complete.compact.conditioning import INPUTS
from sparse_recon.complete.compact.network import Architecture, CompactNet
from sparse_recon.complete.compact.parameter_names import file_name, parameter_name
from sparse_recon.complete.compact.volumes import GRID
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.errors import ConfigError, ErrorCode, FileError, ModelError
from sparse_recon.lab.training.batches import Batch, Batches
from sparse_recon.lab.training.checkpoints import MODEL_FILE, STATE_FILE, read_state, write_model, write_state
from sparse_recon.lab.training.config import ModelConfig, TrainingConfig
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.loss import Losses, losses
from sparse_recon.lab.training.measure import measure, summary
from sparse_recon.lab.training.optimizer import MuonAdamW
from sparse_recon.lab.training.shards import StoredSample, list_samples, shard_paths
from sparse_recon.lab.training.team import Team
from sparse_recon.machine.processor import chosen_device, chosen_dtype

log = logging.getLogger(__name__)

METRICS_FILE, HELD_OUT_FILE = "metrics.csv", "held_out.csv"
# What a resumed run may change: how long, how fast and how often, but not what is learned.
MAY_CHANGE = frozenset(
    {
        *("steps", "cooldown_share", "threads", "device", "precision", "data"),
        *("checkpoint_s", "measure_every", "measure_samples", "gate_step"),
    }
)


@dataclass(frozen=True)
class Progress:
    """What the loop says after a step."""

    step: int
    steps: int
    loss: float
    samples: int


class Run:
    """One training run in its folder."""

    def __init__(
        self, config: TrainingConfig, data: Path, out: Path, resume: bool, initial_weights: Path | None = None
    ) -> None:
        self.config, self.data, self.out = config, data, out
        self.team = Team(chosen_device(config.device))
        self.device = self.team.device
        if config.threads:
            torch.set_num_threads(config.threads)
        # Products are made by a twin in half precision; weights, their averages and moments stay in single precision.
        self.dtype = chosen_dtype(config.precision, torch.device(self.device).type)
        self.bf16 = self.dtype is torch.bfloat16
        torch.manual_seed(config.seed)  # initial weights alone are drawn from the global generator
        self.size = architecture(config.model)
        self.net = (_initialised_from(initial_weights, self.size) if initial_weights else CompactNet(self.size)).to(
            self.device
        )
        self.compute_net = deepcopy(self.net).to(self.dtype) if self.bf16 else self.net
        self.ema_weights = {name: w.detach().clone().float() for name, w in self.net.state_dict().items()}
        self.optimizer = MuonAdamW(self.net, config.learning_rate, config.weight_decay, self.dtype)
        self.step, self.seconds = 0, 0.0
        paths = shard_paths(data)
        if resume:
            paths = self._restore()
        if not paths:
            raise FileError(ErrorCode.INPUT_MISSING, f"{data} holds no samples; make some with --generate")
        self.batches = Batches(config, paths, self.team.rank)

    def train(self, on_step: Any = lambda progress: None) -> None:
        """Run to the end, or until `on_step` raises; what was learned by then is written either way.

        Raises
        ------
        ModelError
            MODEL_FAILED if carve was not beaten at the gate, or the loss is no number.
        FileError
            If data cannot be read, or the checkpoint not be written.
        """
        began = saved = time.monotonic()
        before = self.seconds
        try:
            while self.step < self.config.steps:
                values = self._one_step()
                if self.team.is_main_process:
                    self._log_metrics(values)
                on_step(Progress(self.step, self.config.steps, values["loss"], len(self.batches)))
                self.seconds = before + time.monotonic() - began
                due = self.step % self.config.measure_every == 0 or self.step == self.config.gate_step
                if self.team.is_main_process and (due or self.step == self.config.steps):
                    self._validate()
                if time.monotonic() - saved > self.config.checkpoint_s:
                    self.batches.take(shard_paths(self.data))  # so that a resumed run draws from the same ones
                    self.save()
                    saved = time.monotonic()
        finally:
            self.save()
            self.batches.close()

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights as they would ship; of a team, the first does."""
        if not self.team.is_main_process:
            return
        tensors = {f"net.{file_name(k)}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{file_name(k)}": v for k, v in self.ema_weights.items()}
        for name, parameter in self.net.named_parameters():
            tensors |= {f"optimizer.{file_name(name)}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        about = {
            "step": self.step,
            "seconds": self.seconds,
            "config": asdict(self.config),
            "shards": [str(p.relative_to(self.data)) for p in self.batches.paths],
        }
        write_state(self.out / STATE_FILE, tensors, about)
        about = {"step": self.step, "seconds": self.seconds, "samples": self._samples_seen()}
        write_model(self.out / MODEL_FILE, self.ema_weights, self.size, about)

    def _restore(self) -> list[Path]:
        tensors, about = read_state(self.out / STATE_FILE)
        _check_same(about["config"], asdict(self.config))
        self.net.load_state_dict({parameter_name(k): v for k, v in _with_prefix("net.", tensors).items()})
        self.ema_weights = {parameter_name(k): v.to(self.device) for k, v in _with_prefix("average.", tensors).items()}
        for name, parameter in self.net.named_parameters():
            state = _with_prefix(f"optimizer.{file_name(name)}.", tensors)
            if state:
                # Counts stay on the CPU, moments are laid out as the weights are.
                self.optimizer.state[parameter] = {k: _like(v, parameter) if v.ndim else v for k, v in state.items()}
        self.step, self.seconds = int(about["step"]), float(about["seconds"])
        for name in (METRICS_FILE, HELD_OUT_FILE) if self.team.is_main_process else ():
            _truncate_csv(self.out / name, self.step)
        return [self.data / name for name in about["shards"]]

    def _one_step(self) -> dict[str, float]:
        config, started = self.config, time.monotonic()
        batch = self.batches.at(self.step).to(self.device)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step + self.team.rank * 7_368_787)
        rate = config.learning_rate * learning_rate_factor(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        found = self._gradients(batch, generator)
        norm = float(torch.nn.utils.clip_grad_norm_(self.net.parameters(), config.clip_norm))
        if not math.isfinite(norm):
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"the gradient is NaN or infinite at step {self.step}; lower learning_rate and resume",
            )
        self.optimizer.step()
        self.step += 1
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            self.ema_weights[name].lerp_(value.float(), 1 - decay)
        return {
            "step": self.step,
            "loss": float(found.total.detach()),
            "flow": float(found.flow),
            "regression": float(found.regression),
            "error": float(found.error),
            "occupancy": float(found.occupancy),
            "norm": norm,
            "rate": rate,
            "seconds": time.monotonic() - started,
        }

    def _gradients(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Leave the gradients of a batch with the weights."""
        if self.bf16:
            with torch.no_grad():
                for weight, half_weight in zip(self.net.parameters(), self.compute_net.parameters(), strict=True):
                    half_weight.copy_(weight)
        self.compute_net.zero_grad(set_to_none=True)
        found = losses(self.compute_net, batch, self.config, generator, self.dtype)
        found.total.backward()
        if self.bf16:
            for weight, half_weight in zip(self.net.parameters(), self.compute_net.parameters(), strict=True):
                weight.grad = None if half_weight.grad is None else half_weight.grad.to(weight)
        self.team.all_reduce_mean([p.grad for p in self.net.parameters() if p.grad is not None])
        return found

    def _validate(self) -> None:
        found = measure(self.ema_net(), self._held_out())
        row = {"step": self.step, "samples": self.step * self.config.batch_size, "seconds": self.seconds}
        row |= summary(found)
        _append(self.out / HELD_OUT_FILE, row)
        ratio = row["model_pct"] / row["carve_pct"]
        log.info("step %d: %.3f %% of the diagonal, carve %.3f %%", self.step, row["model_pct"], row["carve_pct"])
        if self.step == self.config.gate_step and ratio >= 1:
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"stopped at gate_step: after {self.step} steps the Chamfer distance on validation objects is "
                f"{row['model_pct']:.3f} % of the diagonal, not below the {row['carve_pct']:.3f} % of carve; change "
                "the run, or set gate_step to 0 to train on",
            )

    def _held_out(self) -> list[StoredSample]:
        stored = list_samples(shard_paths(self.data / HELD_OUT))
        stride = max(1, len(stored) // self.config.measure_samples)
        return stored[::stride][: self.config.measure_samples]

    def _samples_seen(self) -> int:
        return self.step * self.config.batch_size * self.team.count

    def ema_net(self) -> CompactNet:
        """Return a network with the averaged weights."""
        net = CompactNet(self.size).to(self.device)
        net.load_state_dict(self.ema_weights)
        return net.eval()

    def _log_metrics(self, values: Mapping[str, float]) -> None:
        _append(self.out / METRICS_FILE, {k: f"{v:.6g}" for k, v in values.items()})


def architecture(model: ModelConfig) -> Architecture:
    """Return the network's sizes."""
    return Architecture(
        INPUTS, model.fine_width, model.middle_width, model.width, model.blocks, model.fine_blocks, GRID
    )


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of a step as a share of the largest: up, constant, and linearly down to zero."""
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    cooldown_steps = config.cooldown_share * config.steps
    return warmup * min(1.0, (config.steps - step) / cooldown_steps) if cooldown_steps > 0 else warmup


def _initialised_from(path: Path, size: Architecture) -> CompactNet:
    """Return a network with the weights of an earlier run, which it is to go on from on other samples."""
    net = load_weights(path).net
    if net.size != size:
        raise ConfigError(
            f"{path} holds weights of {net.size}; this run's network is {size}: choose a file of the same architecture"
        )
    return net.train().requires_grad_(True)


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in now if name not in MAY_CHANGE and before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"the run to resume was started with other values of {', '.join(changed)}: "
            f"{', '.join(f'{name} {before.get(name)!r}' for name in changed)}; resume with those, or start a new run"
        )


def _append(path: Path, row: Mapping[str, Any]) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _truncate_csv(path: Path, step: int) -> None:
    """Drop the rows after a step: a resumed run writes them again."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [lines[0], *(line for line in lines[1:] if int(line.split(",")[0]) <= step)]
    path.write_text("".join(kept), encoding="utf-8")
