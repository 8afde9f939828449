"""Checkpoints of SyncDreamer in the layout that its authors publish, of any size, with weights that names decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from published_zero123 import value_of
from torch import Tensor

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize
from sparse_recon.complete.latent.keymap import written
from sparse_recon.complete.latent.layout import Layout
from sparse_recon.complete.syncdreamer.cameras import azimuths, network_intrinsics, view_poses
from sparse_recon.complete.syncdreamer.completer import SyncDreamerCompleter
from sparse_recon.complete.syncdreamer.sizes import SyncDreamerSize, VolumeSize
from sparse_recon.complete.syncdreamer.weights import layout

# Few channels; views, maps, vertices and planes are the published ones, or the geometry would not be tested.
TINY = SyncDreamerSize(
    UNetSize(width=32, multipliers=(1, 1, 2, 2), layers=2, heads=4, context=48),
    VaeSize(width=32, multipliers=(1, 1, 1, 1), layers=1),
    ClipSize(width=32, layers=2, heads=4, patch=56, side=224, projection=768),
    VolumeSize(features=8, widths=(8, 16, 16, 24), time=32),
)

# Pictures of 64 pixels and volumes of 8 vertices an edge: for what a session does with them.
SMALLEST = SyncDreamerSize(
    UNetSize(width=32, multipliers=(1, 2), layers=1, heads=4, context=32, sample=16),
    VaeSize(width=32, multipliers=(1, 1, 1), layers=1),
    ClipSize(width=32, layers=1, heads=4, patch=8, side=16, projection=32),
    VolumeSize(features=8, vertices=8, planes=8, widths=(8, 16), time=16),
)


def published(size: SyncDreamerSize = TINY, rest: bool = True) -> dict[str, Tensor]:
    """Return a `state_dict` with the authors' names.

    Parameters
    ----------
    rest : also what a training run leaves beside the weights.
    """
    found = layout(size)
    shapes = {name: torch.empty(shape, device="meta") for name, shape in found.shapes().items()}
    tensors = {name: value_of(name, tuple(t.shape)) for name, t in written(found.published[0].rules, shapes).items()}
    views = size.volume.views
    tensors["poses"] = torch.from_numpy(view_poses(views))
    tensors["Ks"] = torch.from_numpy(np.repeat(network_intrinsics(size.image_side)[None], views, 0))
    tensors["azimuth"] = torch.from_numpy(azimuths(views).astype(np.float32))
    if rest:
        tensors |= {
            "betas": torch.zeros(1000),
            "alphas": torch.zeros(1000),
            "sqrt_one_minus_alphas_cumprod": torch.zeros(1000),
            "posterior_log_variance_clipped": torch.zeros(1000),
            "clip_image_encoder.model.logit_scale": torch.tensor(1.0),
            "clip_image_encoder.model.ln_final.weight": torch.zeros(4),
        }
    return tensors


def write_checkpoint(path: Path, size: SyncDreamerSize = TINY, **changed: Tensor) -> Path:
    """Write a training checkpoint as PyTorch Lightning does, some tensors exchanged."""
    torch.save({"state_dict": published(size) | changed, "global_step": 80000, "epoch": 3}, path)
    return path


def tiny_layout() -> Layout:
    """Return the files that tiny weights come in."""
    return layout(TINY)


class TinySyncDreamer(SyncDreamerCompleter):
    """The completer for the smallest weights."""

    def __init__(self) -> None:
        super().__init__(SMALLEST)
