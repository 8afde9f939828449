"""Parameters of a training run, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sparse_recon.config.parameters import Checked, doc, nested, replaced


@dataclass(frozen=True)
class DataConfig(Checked):
    """The objects that are learned from."""

    seed: int = field(default=1, metadata=doc("Seed of the generated objects.", low=0, high=2**31 - 1))
    objects_per_shard: int = field(
        default=16, metadata=doc("Number of objects whose samples share one file (shard).", low=1, high=1000)
    )
    samples_per_object: int = field(
        default=3, metadata=doc("Number of samples of one object, seen from different sides.", low=1, high=50)
    )
    noise: bool = field(
        default=True, metadata=doc("Whether depth and camera poses have simulated errors. false is for ablations.")
    )
    real_cameras: float = field(
        default=0.0,
        metadata=doc(
            "Share of the samples whose depth has the slow errors, smeared edges and holes of a kind of real camera, "
            "with strengths that are drawn. The others have errors of single pixels.",
            low=0.0,
            high=1.0,
        ),
    )
    scans: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Names of scanned meshes in the folder of scans to train on in addition to generated objects. "
            "Empty uses generated objects alone."
        ),
    )
    scan_shards: int = field(
        default=0,
        metadata=doc("Number of files (shards) of samples to generate from scanned objects.", low=0, high=100_000),
    )
    shapes: tuple[str, ...] = field(
        default=("cc0", "permissive"),
        metadata=doc("Names of the files of the pack of shapes to train on, of which tabletop things are taken."),
    )
    shape_shards: int = field(
        default=0, metadata=doc("Number of files (shards) of samples to generate from the pack.", low=0, high=100_000)
    )
    held_out_shapes: int = field(
        default=48, metadata=doc("Number of validation objects from the pack.", low=0, high=10_000)
    )
    held_out_every: int = field(
        default=16,
        metadata=doc(
            "About one shape of the pack in this many, chosen by its name, is never learned from.", low=2, high=1000
        ),
    )
    shards: int = field(
        default=500,
        metadata=doc("Number of files (shards) of samples to generate from procedural objects.", low=1, high=100_000),
    )
    held_out_objects: int = field(
        default=48, metadata=doc("Number of validation objects, which are never trained on.", low=1, high=10_000)
    )


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Size of the network."""

    fine_width: int = field(default=32, metadata=doc("Number of channels at 1/2 of the resolution.", low=8, high=256))
    middle_width: int = field(default=64, metadata=doc("Number of channels at 1/4 of the resolution.", low=8, high=512))
    width: int = field(
        default=256,
        metadata=doc("Number of channels at 1/8 of the resolution, where the attention blocks are.", low=16, high=2048),
    )
    blocks: int = field(default=6, metadata=doc("Number of attention blocks at 1/8 of the resolution.", low=1, high=48))
    fine_blocks: int = field(
        default=1,
        metadata=doc(
            "Number of convolution blocks at each of the levels 1/2 and 1/4, before and again after the "
            "attention blocks.",
            low=1,
            high=8,
        ),
    )


@dataclass(frozen=True)
class RunConfig(Checked):
    """What every training run has, whatever is learned."""

    seed: int = field(
        default=0, metadata=doc("Seed of initial weights, sample order and noise.", low=0, high=2**31 - 1)
    )
    steps: int = field(
        default=20_000, metadata=doc("Number of optimiser steps of the whole run.", low=1, high=100_000_000)
    )
    batch_size: int = field(default=16, metadata=doc("Number of samples per optimiser step.", low=1, high=4096))
    learning_rate: float = field(
        default=1.5e-3, metadata=doc("Peak learning rate of Muon and AdamW.", low=1e-7, high=1.0)
    )
    weight_decay: float = field(
        default=0.01, metadata=doc("Weight decay, applied to matrices only.", low=0.0, high=1.0)
    )
    warmup_steps: int = field(
        default=200,
        metadata=doc(
            "Number of steps at the start over which the learning rate rises to its peak.", low=0, high=1_000_000
        ),
    )
    cooldown_share: float = field(
        default=0.25,
        metadata=doc(
            "Share of the steps, at the end of the run, over which the learning rate falls to zero.", low=0.0, high=1.0
        ),
    )
    clip_norm: float = field(
        default=1.0, metadata=doc("Norm to which larger gradients are clipped.", low=0.01, high=1e6)
    )
    ema: float = field(
        default=0.999, metadata=doc("Decay of the exponential moving average of the weights.", low=0.0, high=0.999999)
    )
    precision: str = field(
        default="auto",
        metadata=doc(
            "Floating-point type of the network in training. auto takes bf16 where the processor computes it natively.",
            choices=("auto", "fp32", "bf16"),
        ),
    )
    device: str = field(
        default="auto",
        metadata=doc(
            "Device on which training runs: cpu, cuda, or auto, which takes a GPU if there is one.",
            choices=("auto", "cpu", "cuda"),
        ),
    )
    threads: int = field(
        default=0, metadata=doc("Number of PyTorch threads on the CPU. 0 takes all cores.", low=0, high=1024)
    )
    checkpoint_s: float = field(
        default=300.0, metadata=doc("Time between two checkpoints.", unit="s", low=1.0, high=86400.0)
    )
    measure_every: int = field(
        default=500,
        metadata=doc("Number of steps between two evaluations on the validation objects.", low=1, high=1_000_000),
    )
    measure_samples: int = field(
        default=96, metadata=doc("Number of validation samples per evaluation.", low=1, high=100_000)
    )
    gate_step: int = field(
        default=4000,
        metadata=doc(
            "Step at which training stops unless the validation samples show that it is worth going on. 0 never stops "
            "it.",
            low=0,
            high=10_000_000,
        ),
    )
    muon: bool = field(
        default=True,
        metadata=doc("Whether matrices take the steps of Muon. false: AdamW takes all, as published models do."),
    )


@dataclass(frozen=True)
class TrainingConfig(RunConfig):
    """One training run of the default model."""

    regression_share: float = field(
        default=0.15,
        metadata=doc(
            "Share of the samples that are trained at noise level 1, where the network sees pure noise and "
            "learns the mean answer.",
            low=0.0,
            high=1.0,
        ),
    )
    prior_dropout: float = field(
        default=0.1,
        metadata=doc(
            "Share of the samples that are trained without the answer of carve as conditioning.", low=0.0, high=1.0
        ),
    )
    turns: bool = field(default=False, metadata=doc("Whether samples are augmented with quarter turns about z."))
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
