"""Parameters of models, and of the fields that are made of their pictures; `config` has all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sparse_recon.config.parameters import Checked, doc


def _device() -> Any:
    text = "Where it runs; auto: a GPU where there is one."
    return field(default="auto", metadata=doc(text, choices=("auto", "cpu", "cuda"), live=False))


def _precision(*choices: str) -> Any:
    text = "Of the network; auto: bf16 where that is fast."
    return field(default="auto", metadata=doc(text, choices=choices, live=False))


@dataclass(frozen=True)
class CarveConfig(Checked):
    """The completer without weights."""

    extrude: bool = field(default=True, metadata=doc("Fill from the seen surface down to the support plane."))
    symmetry: bool = field(
        default=True, metadata=doc("Use a mirror plane or axis of symmetry that the evidence confirms.")
    )
    symmetry_max_violation: float = field(
        default=0.15,
        metadata=doc(
            "A symmetry is refused when this share of reflected points falls into known-free space.", low=0.0, high=1.0
        ),
    )
    symmetry_min_support: float = field(
        default=0.4,
        metadata=doc("... or when fewer reflected points than this meet observed surface.", low=0.0, high=1.0),
    )


@dataclass(frozen=True)
class CompactConfig(Checked):
    """The default model."""

    steps: int = field(
        default=1,
        metadata=doc("Denoising steps; 1 is the regression answer, more make samples differ.", low=1, high=32),
    )
    samples: int = field(
        default=1, metadata=doc("Imagined volumes; their mean is the answer, their spread doubt.", low=1, high=16)
    )
    device: str = _device()
    precision: str = _precision("auto", "fp32", "bf16")
    weights: str = field(
        default="", metadata=doc("File of weights (safetensors); empty: those of the package.", live=False)
    )


@dataclass(frozen=True)
class Zero123Config(Checked):
    """Zero-1-to-3, one picture and a camera move to the moved picture."""

    weights: str = field(
        default="",
        metadata=doc(
            "The authors' checkpoint, a folder in the layout of diffusers, or what `sparse_recon weights convert` made "
            "of either.",
            live=False,
        ),
    )
    averaged: bool = field(
        default=True, metadata=doc("Take the moving average of the weights, as the authors do.", live=False)
    )
    views: int = field(default=8, metadata=doc("Views that are imagined.", low=1, high=64))
    sampler: str = field(
        default="ddim_released",
        metadata=doc(
            "How noise becomes a picture; ddim_released leaves out the noisiest step, as the authors' code does.",
            choices=("ddim_released", "ddim", "dpm++", "unipc", "euler"),
        ),
    )
    steps: int = field(default=50, metadata=doc("Denoising steps.", low=1, high=1000))
    guidance: float = field(
        default=3.0,
        metadata=doc("How far the picture outweighs the model's habits; 1: not at all.", low=1.0, high=50.0),
    )
    eta: float = field(default=1.0, metadata=doc("Fresh noise of the ddim samplers.", low=0.0, high=1.0))
    geometry: str = field(
        default="fit",
        metadata=doc(
            "fit: a volume is fitted to imagined views; distill: score distillation as published, minutes on a GPU.",
            choices=("fit", "distill"),
        ),
    )
    at_once: int = field(
        default=8, metadata=doc("Views in one pass; halved by itself where memory runs out.", low=1, high=64)
    )
    device: str = _device()
    precision: str = _precision("auto", "fp32", "bf16", "fp16")
    compile: bool = field(
        default=False,
        metadata=doc(
            "Compile the denoiser, with CUDA graphs on a GPU; the first view takes a minute longer.", live=False
        ),
    )


@dataclass(frozen=True)
class FitConfig(Checked):
    """A radiance field fitted to imagined pictures that have no depth."""

    iterations: int = field(
        default=300,
        metadata=doc("Steps of the fit; 0 takes the outlines of the pictures alone, as masks.", low=0, high=100_000),
    )
    grid: int = field(default=64, metadata=doc("Voxels along the edge of the field.", low=16, high=256))
    rays: int = field(default=2400, metadata=doc("Pixels looked at in one step.", low=64, high=1_000_000))
    learning_rate: float = field(
        default=3.0, metadata=doc("Of Adam, for density; colours take a tenth.", low=1e-4, high=10.0)
    )
    color_weight: float = field(default=1.0, metadata=doc("Weight of colours.", low=0.0, high=1e4))
    mask_weight: float = field(default=0.5, metadata=doc("Weight of outlines.", low=0.0, high=1e4))
    depth_weight: float = field(
        default=2.0, metadata=doc("Weight of measured depth, and of the free space before it.", low=0.0, high=1e4)
    )
    smooth_weight: float = field(
        default=0.005, metadata=doc("Weight of differences of density between neighbours.", low=0.0, high=1e4)
    )
    views: int = field(
        default=12, metadata=doc("Depth images taken of the field, beside those from the pictures.", low=0, high=128)
    )
    device: str = _device()


@dataclass(frozen=True)
class DistillConfig(Checked):
    """A radiance field distilled from a model of pictures; defaults as Zero-1-to-3 publishes them."""

    iterations: int = field(default=10_000, metadata=doc("Pictures judged.", low=1, high=1_000_000))
    learning_rate: float = field(default=0.05, metadata=doc("Of Adamax.", low=1e-5, high=10.0))
    grid: int = field(default=100, metadata=doc("Voxels along the edge of the field.", low=16, high=256))
    view_weight: float = field(
        default=10_000.0, metadata=doc("Weight of the colours of the picture that was taken.", low=0.0, high=1e7)
    )
    near_view_weight: float = field(
        default=10_000.0, metadata=doc("Weight of what differs a little beside a camera.", low=0.0, high=1e7)
    )
    near_view_distance: float = field(
        default=0.05, metadata=doc("How far beside; the object is 1 long.", low=0.001, high=1.0)
    )
    smooth_weight: float = field(
        default=10_000.0,
        metadata=doc(
            "Weight of depth differences between pixels, in the second half; a tenth of it for the picture taken.",
            low=0.0,
            high=1e7,
        ),
    )
    emptiness_weight: float = field(
        default=0.0, metadata=doc("Weight against fog; 0 leaves it out, 10000 is usual.", low=0.0, high=1e7)
    )
    emptiness_steepness: float = field(
        default=10.0, metadata=doc("Fog thinner than one over this costs little.", low=0.1, high=1e4)
    )
    emptiness_growth: float = field(
        default=20.0, metadata=doc("In the second half fog costs this many times more.", low=1.0, high=1e4)
    )
    solidity_weight: float = field(
        default=0.0,
        metadata=doc(
            "Weight against rays that meet neither a solid nor nothing; not published, 0 leaves it out.",
            low=0.0,
            high=1e7,
        ),
    )
    views: int = field(default=16, metadata=doc("Depth images taken of the field at the end.", low=4, high=128))
