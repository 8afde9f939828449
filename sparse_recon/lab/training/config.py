"""Parameters of a training run, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sparse_recon.config.parameters import Checked, doc, nested, replaced


@dataclass(frozen=True)
class DataConfig(Checked):
    """The objects that are learned from."""

    seed: int = field(default=1, metadata=doc("Seed of the stream of objects.", low=0, high=2**31 - 1))
    objects_per_shard: int = field(default=16, metadata=doc("Objects whose samples share a file.", low=1, high=1000))
    samples_per_object: int = field(
        default=3, metadata=doc("Samples of one object, seen from different sides.", low=1, high=50)
    )
    noise: bool = field(default=True, metadata=doc("Cameras and poses with their errors; without: an ablation."))
    scans: tuple[str, ...] = field(
        default=(), metadata=doc("Scanned objects to learn from as well: names of meshes in the folder of scans.")
    )
    scan_shards: int = field(default=0, metadata=doc("Files to generate of scans.", low=0, high=100_000))
    shards: int = field(default=500, metadata=doc("Files to generate.", low=1, high=100_000))
    held_out_objects: int = field(
        default=48, metadata=doc("Objects of another stream that are only measured on.", low=1, high=10_000)
    )


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Size of the network."""

    fine_width: int = field(default=32, metadata=doc("Channels at half of the resolution.", low=8, high=256))
    middle_width: int = field(default=64, metadata=doc("Channels at a quarter.", low=8, high=512))
    width: int = field(default=256, metadata=doc("Channels at an eighth, where all sees all.", low=16, high=2048))
    blocks: int = field(default=6, metadata=doc("Attention blocks at an eighth.", low=1, high=48))
    fine_blocks: int = field(default=1, metadata=doc("Convolution blocks per finer level.", low=1, high=8))


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """One training run."""

    seed: int = field(default=0, metadata=doc("Seed of weights, order, noise.", low=0, high=2**31 - 1))
    steps: int = field(default=20_000, metadata=doc("Optimiser steps of the whole run.", low=1, high=100_000_000))
    batch_size: int = field(default=16, metadata=doc("Samples per step.", low=1, high=4096))
    learning_rate: float = field(default=1.5e-3, metadata=doc("Largest step of Muon and AdamW.", low=1e-7, high=1.0))
    weight_decay: float = field(default=0.01, metadata=doc("On matrices only.", low=0.0, high=1.0))
    warmup_steps: int = field(default=200, metadata=doc("Steps in which the rate rises.", low=0, high=1_000_000))
    cooldown_share: float = field(
        default=0.25, metadata=doc("Share of the run, at its end, in which the rate falls to zero.", low=0.0, high=1.0)
    )
    clip_norm: float = field(default=1.0, metadata=doc("Largest norm of the gradient.", low=0.01, high=1e6))
    ema: float = field(default=0.999, metadata=doc("Decay of the averaged weights.", low=0.0, high=0.999999))
    regression_share: float = field(
        default=0.15,
        metadata=doc("Share of the samples that are pure noise: the regression answer.", low=0.0, high=1.0),
    )
    prior_dropout: float = field(
        default=0.1, metadata=doc("Share of the samples without the answer of carve.", low=0.0, high=1.0)
    )
    turns: bool = field(default=False, metadata=doc("Also turn samples by quarter turns about z."))
    precision: str = field(
        default="auto", metadata=doc("bf16 where the processor multiplies it.", choices=("auto", "fp32", "bf16"))
    )
    device: str = field(default="auto", metadata=doc("Where to train.", choices=("auto", "cpu", "cuda")))
    threads: int = field(default=0, metadata=doc("Threads of PyTorch on the CPU; 0: all cores.", low=0, high=1024))
    checkpoint_s: float = field(
        default=300.0, metadata=doc("Seconds between checkpoints.", unit="s", low=1.0, high=86400.0)
    )
    measure_every: int = field(
        default=500, metadata=doc("Steps between looks at the held-out objects.", low=1, high=1_000_000)
    )
    measure_samples: int = field(default=96, metadata=doc("Held-out samples that are looked at.", low=1, high=100_000))
    gate_step: int = field(
        default=4000, metadata=doc("At this step carve must be beaten on them; 0: never asked.", low=0, high=10_000_000)
    )
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)


def load_training_config(values: Mapping[str, Any], base: TrainingConfig | None = None) -> TrainingConfig:
    """Make a config from nested or dotted values, as YAML files give them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value has the wrong type or lies outside its range. Nothing is repaired.
    """
    return cast(TrainingConfig, replaced(base or TrainingConfig(), nested(values)))
