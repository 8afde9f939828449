"""A training run, whatever is learned: resumable to the step, with metrics, averaged weights and an early gate."""

from __future__ import annotations

import csv
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparse_recon.errors import ConfigError, ErrorCode, ModelError
from sparse_recon.lab.training.checkpoints import STATE_FILE, read_state, write_state
from sparse_recon.lab.training.config import RunConfig
from sparse_recon.lab.training.events import EventFile
from sparse_recon.lab.training.optimizer import MuonAdamW
from sparse_recon.lab.training.team import Team
from sparse_recon.machine.processor import chosen_device, chosen_dtype

METRICS_FILE, HELD_OUT_FILE = "metrics.csv", "held_out.csv"
# What a resumed run may change: how long, how fast and how often, but not what is learned.
MAY_CHANGE = frozenset(
    {
        *("steps", "cooldown_share", "threads", "device", "precision", "data", "noisy_weight"),
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


class TrainingRun(ABC):
    """One training run in its folder; a subclass says what is learned, from what, and how well it went.

    Parameters
    ----------
    begin : makes the network; called once the global generator is seeded.

    Attributes
    ----------
    net : single-precision weights.
    ema_weights : their moving average, by name.
    """

    def __init__(self, config: RunConfig, out: Path) -> None:
        self.config, self.out = config, out
        self.team = Team(chosen_device(config.device))
        self.device = self.team.device
        if config.threads:
            torch.set_num_threads(config.threads)
        # Products are made by a twin in half precision; weights, their averages and moments stay in single precision.
        self.dtype = chosen_dtype(config.precision, torch.device(self.device).type)
        self.bf16 = self.dtype is torch.bfloat16
        torch.manual_seed(config.seed)  # initial weights alone are drawn from the global generator
        self.net: nn.Module = self.begin().to(self.device)
        self.compute_net = with_weights_in(self.dtype, self.begin().to(self.device)) if self.bf16 else self.net
        self.ema_weights = {name: w.detach().clone().float() for name, w in self.net.state_dict().items()}
        self.optimizer = MuonAdamW(self.net, config.learning_rate, config.weight_decay, self.dtype, config.muon)
        self.step, self.seconds = 0, 0.0
        self._events = EventFile(out)

    # What a subclass says.

    @abstractmethod
    def begin(self) -> nn.Module:
        """Return the network with its initial weights."""

    @abstractmethod
    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what the network loses at the samples of the current step; `loss`, the first, is what is minimised."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return how the averaged weights do on held-out objects."""

    @abstractmethod
    def refusal(self, row: Mapping[str, float]) -> str:
        """Return why a run with these figures is not worth going on with; nothing if it is."""

    @abstractmethod
    def write_weights(self) -> None:
        """Write the averaged weights as they would ship."""

    def samples(self) -> int:
        """Return how many samples there are to learn from."""
        return 0

    def on_checkpoint(self) -> None:  # noqa: B027
        """Take up samples that were made meanwhile."""

    def about(self) -> dict[str, Any]:
        """Return what a checkpoint says beside step, time and config."""
        return {}

    def close(self) -> None:  # noqa: B027
        """End what reads samples."""

    def file_name(self, name: str) -> str:
        """Return a weight's name in files."""
        return name

    def parameter_name(self, name: str) -> str:
        """Return the network's name of a weight from that in files."""
        return name

    # The loop.

    def train(self, on_step: Any = lambda progress: None) -> None:
        """Run to the end, or until `on_step` raises; what was learned by then is written either way.

        Raises
        ------
        ModelError
            MODEL_FAILED if the run is refused at the gate, or the loss is no number.
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
                on_step(Progress(self.step, self.config.steps, values["loss"], self.samples()))
                self.seconds = before + time.monotonic() - began
                due = self.step % self.config.measure_every == 0 or self.step == self.config.gate_step
                if self.team.is_main_process and (due or self.step == self.config.steps):
                    self._validate()
                if time.monotonic() - saved > self.config.checkpoint_s:
                    self.on_checkpoint()
                    self.save()
                    saved = time.monotonic()
        finally:
            self.save()
            self.close()

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights as they would ship; of a team, the first does."""
        if not self.team.is_main_process:
            return
        tensors = {f"net.{self.file_name(k)}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{self.file_name(k)}": v for k, v in self.ema_weights.items()}
        for name, parameter in self.net.named_parameters():
            state = self.optimizer.state[parameter].items()
            tensors |= {f"optimizer.{self.file_name(name)}.{k}": v for k, v in state}
        about = {"step": self.step, "seconds": self.seconds, "config": asdict(self.config), **self.about()}
        write_state(self.out / STATE_FILE, tensors, about)
        self.write_weights()

    def restore(self) -> dict[str, Any]:
        """Go on from the checkpoint in the folder; return what it says of itself.

        Raises
        ------
        FileError
            INPUT_MISSING if there is none.
        ConfigError
            If the run was begun with other parameters.
        """
        tensors, about = read_state(self.out / STATE_FILE)
        _check_same(about["config"], asdict(self.config))
        self.net.load_state_dict({self.parameter_name(k): v for k, v in _with_prefix("net.", tensors).items()})
        if self.bf16:  # its averages of normalisation are copied to `net` after each step
            for own, twin in zip(self.net.buffers(), self.compute_net.buffers(), strict=True):
                twin.copy_(own)
        averages = _with_prefix("average.", tensors)
        self.ema_weights = {self.parameter_name(k): v.to(self.device) for k, v in averages.items()}
        for name, parameter in self.net.named_parameters():
            state = _with_prefix(f"optimizer.{self.file_name(name)}.", tensors)
            if state:
                # Counts stay on the CPU, moments are laid out as the weights are.
                self.optimizer.state[parameter] = {k: _like(v, parameter) if v.ndim else v for k, v in state.items()}
        self.step, self.seconds = int(about["step"]), float(about["seconds"])
        for name in (METRICS_FILE, HELD_OUT_FILE) if self.team.is_main_process else ():
            _truncate_csv(self.out / name, self.step)
        return about

    def ema_net(self) -> nn.Module:
        """Return a network with the averaged weights."""
        net = self.begin().to(self.device)  # not a copy: what networks hook into each other would stay with the first
        net.load_state_dict(self.ema_weights)
        return net.eval().requires_grad_(False)

    def _one_step(self) -> dict[str, float]:
        config, started = self.config, time.monotonic()
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step + self.team.rank * 7_368_787)
        rate = config.learning_rate * learning_rate_factor(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        found = self._gradients(generator)
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
            if value.is_floating_point():
                self.ema_weights[name].lerp_(value.float(), 1 - decay)
        values = {name: float(value.detach()) for name, value in found.items()}
        return {"step": self.step, **values, "norm": norm, "rate": rate, "seconds": time.monotonic() - started}

    def _gradients(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Leave the gradients of a batch with the weights."""
        if self.bf16:
            with torch.no_grad():
                for weight, half_weight in zip(self.net.parameters(), self.compute_net.parameters(), strict=True):
                    half_weight.copy_(weight)
        self.compute_net.zero_grad(set_to_none=True)
        found = self.losses(self.compute_net, generator)
        found["loss"].backward()
        if self.bf16:
            for weight, half_weight in zip(self.net.parameters(), self.compute_net.parameters(), strict=True):
                weight.grad = None if half_weight.grad is None else half_weight.grad.to(weight)
            for own, twin in zip(self.net.buffers(), self.compute_net.buffers(), strict=True):
                own.copy_(twin)  # averages that normalisation keeps
        self.team.all_reduce_mean([p.grad for p in self.net.parameters() if p.grad is not None])
        return found

    def _validate(self) -> None:
        row = {"step": self.step, "samples": self.step * self.config.batch_size, "seconds": self.seconds}
        row |= self.validate()
        _append(self.out / HELD_OUT_FILE, row)
        self._events.add(self.step, {f"held_out/{name}": v for name, v in row.items() if name != "step"})
        if self.step == self.config.gate_step and (why := self.refusal(row)):
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                f"stopped at gate_step: after {self.step} steps {why}; change the run, or set gate_step to 0 to "
                "train on",
            )

    def samples_seen(self) -> int:
        """Return how many samples the team has learned from, those seen twice counted twice."""
        return self.step * self.config.batch_size * self.team.count

    def _log_metrics(self, values: Mapping[str, float]) -> None:
        _append(self.out / METRICS_FILE, {k: f"{v:.6g}" for k, v in values.items()})
        self._events.add(self.step, {f"train/{name}": v for name, v in values.items() if name != "step"})


def learning_rate_factor(step: int, config: RunConfig) -> float:
    """Return the learning rate of a step as a share of the largest: up, constant, and linearly down to zero."""
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    cooldown_steps = config.cooldown_share * config.steps
    return warmup * min(1.0, (config.steps - step) / cooldown_steps) if cooldown_steps > 0 else warmup


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    # Files of this config's own round trip hold lists for tuples; parameters added since are as they were.
    changed = [n for n in now if n not in MAY_CHANGE and n in before and _plain(before[n]) != _plain(now[n])]
    if changed:
        raise ConfigError(
            f"the run to resume was started with other values of {', '.join(changed)}: "
            f"{', '.join(f'{name} {before.get(name)!r}' for name in changed)}; resume with those, or start a new run"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


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


def with_weights_in(dtype: torch.dtype, net: nn.Module) -> nn.Module:
    """Return a network with its weights in a type; its buffers, such as where vertices are seen, stay exact.

    So do the weights of normalisation that keeps averages, which PyTorch wants in their type.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            continue
        for weight in module.parameters(recurse=False):
            weight.data = weight.data.to(dtype)
    return net
