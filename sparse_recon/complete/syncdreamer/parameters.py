"""Parameters of SyncDreamer; imported by `config`, so that nothing else of this folder is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.model_config import device_parameter, precision_parameter
from sparse_recon.config.parameters import Checked, doc


@dataclass(frozen=True)
class SyncDreamerConfig(Checked):
    """SyncDreamer, one image to sixteen views that are drawn together."""

    weights: str = field(
        default="",
        metadata=doc(
            "Path of the weights: the authors' checkpoint, or the file that `sparse_recon weights convert` made of it. "
            "mini takes the small network that ships with the package.",
            live=False,
        ),
    )
    sampler: str = field(
        default="ddim",
        metadata=doc(
            "Sampler of the diffusion model. ddim is the authors', whose last step adds no noise.",
            choices=("ddim", "dpm++", "unipc", "euler"),
        ),
    )
    steps: int = field(default=50, metadata=doc("Number of denoising steps of all views.", low=1, high=1000))
    guidance: float = field(
        default=2.0,
        metadata=doc(
            "Classifier-free guidance scale. 1 turns guidance off; larger values follow the conditioning "
            "image more closely.",
            low=1.0,
            high=50.0,
        ),
    )
    eta: float = field(
        default=1.0,
        metadata=doc(
            "Share of fresh noise in each step of the ddim sampler: 0 is deterministic, 1 is the authors' "
            "setting. Other samplers ignore it.",
            low=0.0,
            high=1.0,
        ),
    )
    align: bool = field(
        default=True,
        metadata=doc(
            "Whether the generated views are scaled, turned and moved together to where their outlines fit the "
            "measured depth."
        ),
    )
    draws: int = field(
        default=1,
        metadata=doc(
            "Number of draws of all views whose mean is taken, at so many times the cost; 1 as published. The mean is "
            "nearer the truth than a draw and less sharp: little networks gain by it.",
            low=1,
            high=64,
        ),
    )
    at_once: int = field(
        default=4,
        metadata=doc(
            "Number of views in one pass of the denoiser; the result does not depend on it. Halved automatically where "
            "memory runs out.",
            low=1,
            high=16,
        ),
    )
    device: str = device_parameter("the model")
    precision: str = precision_parameter("auto", "fp32", "bf16", "fp16")
