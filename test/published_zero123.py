"""Checkpoints of Zero-1-to-3 in the layout that its authors publish, of any size, with weights that names decide."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch
from torch import Tensor

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize
from sparse_recon.complete.latent.keymap import written
from sparse_recon.complete.latent.layout import Layout
from sparse_recon.complete.latent.ldm import averaged_names
from sparse_recon.complete.zero123.completer import Zero123Completer
from sparse_recon.complete.zero123.weights import Zero123Size, layout

TINY = Zero123Size(
    UNetSize(width=32, multipliers=(1, 1, 2, 2), layers=1, heads=4, context=48, sample=32),
    VaeSize(width=32, multipliers=(1, 1, 1, 1), layers=1),
    ClipSize(width=32, layers=2, heads=4, patch=56, side=224, projection=48),
)
RAW = "model.diffusion_model."


def value_of(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return weights that only the name and shape decide, of a size that keeps signals alive."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) > 1:
        return drawn / (torch.tensor(shape[1:]).prod() ** 0.5)
    return 1 + 0.1 * drawn if name.endswith("weight") else 0.05 * drawn


def published(size: Zero123Size = TINY, averages: bool = True, rest: bool = True) -> dict[str, Tensor]:
    """Return a `state_dict` with the authors' names.

    Parameters
    ----------
    averages : also the moving averages, which differ from the raw weights.
    rest : also what a training run leaves beside them.
    """
    found = layout(size)
    shapes = {name: torch.empty(shape, device="meta") for name, shape in found.shapes().items()}
    tensors = {name: value_of(name, tuple(t.shape)) for name, t in written(found.published[0].rules, shapes).items()}
    if averages:
        raw = [name[len(RAW) :] for name in tensors if name.startswith(RAW)]
        for name, average in averaged_names("diffusion_model.", raw).items():
            tensors[average] = value_of(average, tuple(tensors[RAW + name].shape))
    if rest:
        tensors |= {
            "model_ema.decay": torch.tensor(0.9999),
            "model_ema.num_updates": torch.tensor(7),
            "betas": torch.zeros(1000),
            "sqrt_one_minus_alphas_cumprod": torch.zeros(1000),
            "cond_stage_model.model.logit_scale": torch.tensor(1.0),
            "cond_stage_model.model.ln_final.weight": torch.zeros(4),
        }
    return tensors


def write_checkpoint(path: Path, size: Zero123Size = TINY, **kinds: bool) -> Path:
    """Write a training checkpoint as PyTorch Lightning does, without its callbacks."""
    torch.save({"state_dict": published(size, **kinds), "global_step": 105000, "epoch": 3}, path)
    return path


def tiny_layout() -> Layout:
    """Return the files that tiny weights come in."""
    return layout(TINY)


class TinyZero123(Zero123Completer):
    """The completer for tiny weights."""

    def __init__(self) -> None:
        super().__init__(TINY)
