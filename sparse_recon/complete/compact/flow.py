"""Rectified flow over signed distance volumes: noise, preconditioning, and the sampler.

`x_t = (1 - t) x0 + t noise` (Liu et al. 2022); the network predicts x0, for which large patches work
(Li and He, arXiv 2511.13720).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from sparse_recon.complete.compact.conditioning import TRUNCATION_VOXELS, Conditioning
from sparse_recon.complete.compact.network import CompactNet

# Noise of several scales: white noise alone leaves coarse shape readable until t is nearly 1.
NOISE_LEVELS = 4
MIN_T = 0.02
# So much of the answer is that of carve: a network that has seen few objects trusts itself too much. On held-out
# samples 0.2 to 0.5 are about as good, for every number of views and every symmetry (`benchmarks/ablations.py`).
PRIOR_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Denoised:
    """The network's answer, each in patches (B, n, n, n, 8).

    Attributes
    ----------
    x0 : expected clean volume.
    log_error : log of the expected absolute error of the distance, in units of x0.
    occupancy : log odds of being inside.
    """

    x0: Tensor
    log_error: Tensor
    occupancy: Tensor


def multiscale_noise(shape: tuple[int, int, int, int], generator: torch.Generator) -> Tensor:
    """Return (B, N, N, N) noise of unit variance on the CPU, equal shares of it at 1, 2, 4 and 8 voxels."""
    batch, n = shape[0], shape[1]
    total = torch.zeros(shape)
    levels = [k for k in range(NOISE_LEVELS) if n >> k >= 2]
    for k in levels:
        small = torch.randn((batch, *(n >> k,) * 3), generator=generator)
        for axis in (1, 2, 3):
            small = small.repeat_interleave(1 << k, dim=axis)
        shift = torch.randint(0, 1 << k, (3,), generator=generator).tolist()
        total += torch.roll(small, shift, dims=(1, 2, 3)) if k else small
    return total / len(levels) ** 0.5


def denoised(net: CompactNet, x_t: Tensor, t: Tensor, condition: Conditioning) -> Denoised:
    """Return what the network makes of patches of a noisy volume (B, n, n, n, 8) at noise levels t (B,).

    x0 is the posterior mean under a normal prior about `condition.expected_x0`, corrected by the network in units of
    the posterior's standard deviation (Karras et al. 2022, table 1, for a prior that is not zero).
    """
    outputs = net(
        torch.cat([x_t.to(condition.channels.dtype), condition.channels], dim=-1), t, condition.scalar_features
    ).float()
    shift, log_error, occupancy_logit = outputs.chunk(3, dim=-1)
    c_skip, c_out = preconditioning(t, condition.std_x0)
    level = broadcast(t)
    x0 = condition.expected_x0 + c_skip * (x_t - (1 - level) * condition.expected_x0) + c_out * shift
    log_error = log_error - 2.0
    occupancy = occupancy_logit - TRUNCATION_VOXELS * x0.detach()
    return Denoised(x0, log_error, occupancy)


def preconditioning(t: Tensor, std_x0: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gain on `x_t - (1 - t) base` and the posterior's standard deviation, (B, 1, 1, 1, 1) each."""
    level = broadcast(t)
    variance = ((1 - level) * std_x0) ** 2 + level**2
    return (1 - level) * std_x0**2 / variance, std_x0 * level / variance.sqrt()


def broadcast(t: Tensor) -> Tensor:
    """Return one number a sample (B,) as (B, 1, 1, 1, 1), to be used with patches."""
    return t[:, None, None, None, None]


@torch.no_grad()
def sample(
    net: CompactNet,
    condition: Conditioning,
    noise: Tensor,
    steps: int,
    on_step: Callable[[int, Denoised], None] = lambda step, answer: None,
    prior_share: float = PRIOR_SHARE,
) -> Denoised:
    """Integrate the flow from noise (B, n, n, n, 8) to x0 in `steps` Euler steps, x0 kept within its bounds at each.

    One step is the regression answer, moved a little towards the prior where there is one. `on_step` takes the number
    of steps done and the answer so far; it may raise.
    """
    times = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64).tolist()
    x_t = noise
    for i, (t, t_next) in enumerate(pairwise(times)):
        answer = denoised(net, x_t, torch.full((len(x_t),), max(t, MIN_T), device=x_t.device), condition)
        answer = Denoised(clip_to_bounds(answer.x0, condition), answer.log_error, answer.occupancy)
        on_step(i + 1, answer)
        x_t = (t_next / t) * x_t + (1 - t_next / t) * answer.x0
    return replace(
        answer,
        x0=clip_to_bounds(
            answer.x0 + prior_share * condition.use_prior * (condition.expected_x0 - answer.x0), condition
        ),
    )


def clip_to_bounds(x0: Tensor, condition: Conditioning) -> Tensor:
    """Clip x0 into the bounds of the evidence: a convex set, so that means of samples stay in it too."""
    return torch.minimum(torch.maximum(x0, condition.lower), condition.upper).clamp(-1, 1)
