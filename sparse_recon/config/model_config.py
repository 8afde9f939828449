"""Parameters of our own models, and of the fields that are made of images; published models bring theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sparse_recon.config.parameters import Checked, doc


def device_parameter(what: str) -> Any:
    """Return the field of a parameter that chooses a device."""
    text = f"Device on which {what} runs: cpu, cuda, or auto, which takes a GPU if there is one."
    return field(default="auto", metadata=doc(text, choices=("auto", "cpu", "cuda"), live=False))


def precision_parameter(*choices: str) -> Any:
    """Return the field of a parameter that chooses a network's type."""
    text = "Floating-point type of the network. auto takes bf16 where the device computes it natively, else fp32."
    return field(default="auto", metadata=doc(text, choices=choices, live=False))


@dataclass(frozen=True)
class CarveConfig(Checked):
    """The completer without weights."""

    extrude: bool = field(
        default=True, metadata=doc("Whether the space between the observed surface and the support plane is filled.")
    )
    symmetry: bool = field(
        default=True,
        metadata=doc("Whether a mirror plane or an axis of revolution is used where the evidence confirms it."),
    )
    symmetry_max_violation: float = field(
        default=0.15,
        metadata=doc(
            "Largest share of reflected points that may lie in observed free space. A symmetry with more is rejected.",
            low=0.0,
            high=1.0,
        ),
    )
    symmetry_min_support: float = field(
        default=0.4,
        metadata=doc(
            "Smallest share of reflected points that must meet observed surface. A symmetry with less is rejected.",
            low=0.0,
            high=1.0,
        ),
    )


@dataclass(frozen=True)
class CompactConfig(Checked):
    """The default model."""

    samples: int = field(
        default=0,
        metadata=doc(
            "Number of hypotheses drawn beside the answer, which stays the mean over what the object may look like. "
            "They are published with weights, and the conservative mesh is grown by how far they lie apart. 0 draws "
            "none.",
            low=0,
            high=16,
        ),
    )
    steps: int = field(
        default=4,
        metadata=doc(
            "Number of denoising steps of each hypothesis. With 1 all of them are nearly the answer.", low=1, high=32
        ),
    )
    device: str = device_parameter("the model")
    precision: str = precision_parameter("auto", "fp32", "bf16")
    weights: str = field(
        default="",
        metadata=doc(
            "Path of a weights file (safetensors). Empty takes the weights that ship with the package.", live=False
        ),
    )


@dataclass(frozen=True)
class FitConfig(Checked):
    """A radiance field fitted to generated views that have no depth."""

    iterations: int = field(
        default=300,
        metadata=doc(
            "Number of optimiser steps of the radiance field. 0 skips the field: generated views carve with "
            "their masks alone.",
            low=0,
            high=100_000,
        ),
    )
    grid: int = field(
        default=64, metadata=doc("Number of voxels along the edge of the radiance field.", low=16, high=256)
    )
    rays: int = field(default=2400, metadata=doc("Number of rays per optimiser step.", low=64, high=1_000_000))
    learning_rate: float = field(
        default=3.0, metadata=doc("Learning rate of Adam for density. Colours take a tenth of it.", low=1e-4, high=10.0)
    )
    color_weight: float = field(default=1.0, metadata=doc("Loss weight of colour.", low=0.0, high=1e4))
    mask_weight: float = field(default=0.5, metadata=doc("Loss weight of object masks.", low=0.0, high=1e4))
    depth_weight: float = field(
        default=2.0,
        metadata=doc("Loss weight of measured depth and of the free space in front of it.", low=0.0, high=1e4),
    )
    smooth_weight: float = field(
        default=0.005,
        metadata=doc("Loss weight of opacity differences between neighbouring voxels.", low=0.0, high=1e4),
    )
    views: int = field(
        default=12,
        metadata=doc(
            "Number of depth images rendered from the fitted field at new poses, beside one at the pose of "
            "each generated view.",
            low=0,
            high=128,
        ),
    )
    device: str = device_parameter("the fit of the radiance field")


@dataclass(frozen=True)
class DistillConfig(Checked):
    """A radiance field distilled from a model of images; defaults as Zero-1-to-3 publishes them."""

    iterations: int = field(
        default=10_000,
        metadata=doc("Number of optimiser steps of score distillation, one rendered view each.", low=1, high=1_000_000),
    )
    learning_rate: float = field(default=0.05, metadata=doc("Learning rate of Adamax.", low=1e-5, high=10.0))
    grid: int = field(
        default=100, metadata=doc("Number of voxels along the edge of the radiance field.", low=16, high=256)
    )
    view_weight: float = field(
        default=10_000.0, metadata=doc("Loss weight of the colours of the conditioning image.", low=0.0, high=1e7)
    )
    near_view_weight: float = field(
        default=10_000.0,
        metadata=doc(
            "Loss weight of differences in colour and depth between a sampled view and a view from a camera "
            "close to it.",
            low=0.0,
            high=1e7,
        ),
    )
    near_view_distance: float = field(
        default=0.05,
        metadata=doc(
            "Distance between the two cameras that the near-view loss compares, in units of the object's longest side.",
            low=0.001,
            high=1.0,
        ),
    )
    smooth_weight: float = field(
        default=10_000.0,
        metadata=doc(
            "Loss weight of depth differences between neighbouring pixels. Sampled views have it in the "
            "second half of the iterations, the conditioning view has a tenth of it throughout.",
            low=0.0,
            high=1e7,
        ),
    )
    emptiness_weight: float = field(
        default=0.0,
        metadata=doc(
            "Loss weight of the emptiness term, which removes thin fog. 0 turns it off; 10000 is usual.",
            low=0.0,
            high=1e7,
        ),
    )
    emptiness_steepness: float = field(
        default=10.0,
        metadata=doc(
            "Steepness of the emptiness term: fog with a rendering weight below 1 / steepness costs little.",
            low=0.1,
            high=1e4,
        ),
    )
    emptiness_growth: float = field(
        default=20.0,
        metadata=doc(
            "Factor on the weight of the emptiness term in the second half of the iterations.", low=1.0, high=1e4
        ),
    )
    solidity_weight: float = field(
        default=0.0,
        metadata=doc(
            "Loss weight against rays of partial opacity, which neither hit a solid nor pass. Not part of "
            "the published method; 0 turns it off.",
            low=0.0,
            high=1e7,
        ),
    )
    views: int = field(
        default=16,
        metadata=doc("Number of depth images rendered from the distilled field at the end.", low=4, high=128),
    )
