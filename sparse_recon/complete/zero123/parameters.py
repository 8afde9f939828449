"""Parameters of Zero-1-to-3; imported by `config`, so that nothing else of this folder is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.model_config import device_parameter, precision_parameter
from sparse_recon.config.parameters import Checked, doc
from sparse_recon.errors import ConfigError


@dataclass(frozen=True)
class Zero123Config(Checked):
    """Zero-1-to-3, one image and a camera move to the moved image."""

    weights: str = field(
        default="",
        metadata=doc(
            "Path of the weights: the authors' checkpoint, a folder in the layout of diffusers, or the file "
            "that `sparse_recon weights convert` made of either. mini takes the small network that ships with the "
            "package.",
            live=False,
        ),
    )
    averaged: bool = field(
        default=True,
        metadata=doc(
            "Whether the moving average (EMA) of the weights is used, as the authors do, instead of the last weights.",
            live=False,
        ),
    )
    views: int = field(default=8, metadata=doc("Number of views that the model generates.", low=1, high=64))
    sampler: str = field(
        default="ddim_released",
        metadata=doc(
            "Sampler of the diffusion model. ddim_released leaves out the noisiest step, as the authors' code does.",
            choices=("ddim_released", "ddim", "dpm++", "unipc", "euler"),
        ),
    )
    steps: int = field(default=50, metadata=doc("Number of denoising steps per generated view.", low=1, high=1000))
    guidance: float = field(
        default=3.0,
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
            "Share of fresh noise in each step of the ddim samplers: 0 is deterministic, 1 is the authors' "
            "setting. Other samplers ignore it.",
            low=0.0,
            high=1.0,
        ),
    )
    geometry: str = field(
        default="fit",
        metadata=doc(
            "How geometry is made. fit: a radiance field is fitted to generated views. distill: score "
            "distillation after the published method, at guidance 100 and therefore never in bf16; how long it takes "
            "on a GPU was not measured.",
            choices=("fit", "distill"),
            live=False,
        ),
    )
    draws: int = field(
        default=1,
        metadata=doc(
            "Number of draws of each view whose mean is taken, at so many times the cost; 1 as published. The mean is "
            "nearer the truth than a draw and less sharp: little networks gain by it.",
            low=1,
            high=64,
        ),
    )
    at_once: int = field(
        default=8,
        metadata=doc("Number of views in one batch. Halved automatically where memory runs out.", low=1, high=64),
    )
    device: str = device_parameter("the model")
    precision: str = precision_parameter("auto", "fp32", "bf16", "fp16")
    compile: bool = field(
        default=False,
        metadata=doc(
            "Whether PyTorch compiles the denoiser, with CUDA graphs on a GPU. The first view then takes a "
            "minute longer.",
            live=False,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.geometry == "distill" and self.precision == "bf16":
            raise ConfigError(
                "precision is bf16 and geometry is distill, whose guidance of 100 makes rounding of bf16 most of the "
                "answer; set precision to auto, fp32 or on a GPU fp16, or geometry to fit"
            )
