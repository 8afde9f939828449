"""Noise in continuous time: a cosine schedule, told as a ratio of signal and noise (arXiv 2107.00630).

In single precision throughout, as released: near time 1 the ratio is what rounding leaves of a cosine of zero, and the
network is told of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

OFFSET = 0.008
LEAST_NOISE = 1e-5
LEAST_ALPHA = 1e-8
# Clean latents are held within this.
CLIP = 10.0


def log_snr(t: Tensor) -> Tensor:
    """Return the logarithm of the ratio of the variances of signal and noise at times in [0, 1]."""
    share = torch.cos((t + OFFSET) / (1 + OFFSET) * math.pi * 0.5) ** -2 - 1
    return -torch.log(share.clamp(min=LEAST_NOISE))


def alpha_sigma(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of signal and noise at a `log_snr`; their squares sum to 1."""
    return torch.sqrt(torch.sigmoid(ratio)), torch.sqrt(torch.sigmoid(-ratio))


def noised(clean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Return clean latents (B, C, S, S) with noise (B, C, S, S) at times (B,)."""
    alpha, sigma = alpha_sigma(_beside(log_snr(t), clean))
    return alpha * clean + sigma * noise


def clean_seen(x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Return the clean latents, held within `CLIP`, when this noise is seen in latents x at times (B,)."""
    alpha, sigma = alpha_sigma(_beside(log_snr(t), x))
    return ((x - sigma * noise) / alpha.clamp(min=LEAST_ALPHA)).clamp(-CLIP, CLIP)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What latents are at an earlier time, given them now and clean: a Gaussian of this mean and deviation."""

    mean: Tensor
    deviation: Tensor


def posterior(x: Tensor, clean: Tensor, t: Tensor, earlier: Tensor) -> Posterior:
    """Return what latents x (B, C, S, S) at times t (B,) are at earlier times (B,), if `clean` is what is below.

    At time 0 nothing is uncertain.
    """
    now, before = _beside(log_snr(t), x), _beside(log_snr(earlier), x)
    alpha, _ = alpha_sigma(now)
    alpha_before, sigma_before = alpha_sigma(before)
    c = -torch.special.expm1(now - before)
    mean = alpha_before * (x * (1 - c) / alpha + c * clean)
    variance = (sigma_before**2 * c).clamp(min=1e-20)
    return Posterior(mean, _beside((earlier != 0).to(x), x) * (0.5 * torch.log(variance)).exp())


def loss_weight(t: Tensor) -> Tensor:
    """Return the weight (B,) of the error of noise in training (arXiv 2204.00227, gamma 0.5, k 1)."""
    return (1 + log_snr(t).exp()) ** -0.5


def _beside(numbers: Tensor, x: Tensor) -> Tensor:
    return numbers.view(-1, *(1,) * (x.ndim - 1))
