"""Pictures as CLIP's image tower takes them in this family."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(image: Tensor, side: int) -> Tensor:
    """Return pictures (B, 3, P, P) in [-1, 1] as (B, 3, side, side) float32, of CLIP's mean and deviation.

    Resized as released: bicubic, corners aligned, without smoothing.
    """
    x = functional.interpolate(image.float(), (side, side), mode="bicubic", align_corners=True, antialias=False)
    mean = torch.tensor(CLIP_MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(CLIP_STD, device=x.device).view(1, 3, 1, 1)
    return ((x + 1) / 2 - mean) / std
