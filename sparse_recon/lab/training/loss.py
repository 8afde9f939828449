"""What is minimised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sparse_recon.complete.compact.conditioning import TRUNCATION_VOXELS, Conditioning, conditioning
from sparse_recon.complete.compact.flow import MIN_T, broadcast, denoised, multiscale_noise, preconditioning
from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.patches import patchify
from sparse_recon.complete.compact.volumes import CLIP_VOXELS, QUANTISATION_LEVELS
from sparse_recon.lab.training.batches import Batch
from sparse_recon.lab.training.config import TrainingConfig

# t is logit-normal (Esser et al. 2024).
T_MEAN, T_STD = 0.2, 1.0
# Voxels far from the true, the expected and the imagined surface count little, and measured surface less than hidden.
FAR_WEIGHT, MEASURED_WEIGHT, NEAR = 0.1, 0.35, 0.75
ERROR_WEIGHT, OCCUPANCY_WEIGHT = 0.05, 0.1


@dataclass(frozen=True, eq=False)
class Losses:
    """Scalars: `total` is minimised; the parts are for people."""

    total: Tensor
    flow: Tensor
    regression: Tensor
    error: Tensor
    occupancy: Tensor


def true_x0(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return x0, and the same unclipped, in patches, of int8 targets (B, N, N, N)."""
    distance = patchify(target).float() * (CLIP_VOXELS / (QUANTISATION_LEVELS * TRUNCATION_VOXELS))
    return distance.clamp(-1, 1), distance


def losses(
    net: CompactNet,
    batch: Batch,
    config: TrainingConfig,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Losses:
    """Return the losses of a batch; noise, noise levels and dropped priors are drawn from `generator`, on the CPU."""
    count, device = len(batch.target), batch.target.device
    t = torch.sigmoid(T_MEAN + T_STD * torch.randn(count, generator=generator)).clamp(MIN_T, 1)
    pure_noise = torch.rand(count, generator=generator) < config.regression_share
    t = torch.where(pure_noise, 1.0, t).to(device)
    has_prior = (torch.rand(count, generator=generator) >= config.prior_dropout).to(device)
    x0, distance = true_x0(batch.target)
    noise = patchify(multiscale_noise(tuple(batch.target.shape), generator)).to(device)  # type: ignore[arg-type]
    condition = conditioning(batch.volumes, batch.scalars, has_prior, dtype)
    level = broadcast(t)
    answer = denoised(net, (1 - level) * x0 + level * noise, t, condition)

    weight = _weights(x0, condition, answer.x0.detach())
    _, c_out = preconditioning(t, condition.std_x0)
    square = ((answer.x0 - x0) / c_out).square()
    flow = _mean(square, weight)
    # Errors of clipped distances, but against the true one, so that large ones are not thought small.
    residual = (distance - answer.x0.detach()).abs() * ((distance.abs() < 1) | (answer.x0.detach().abs() < 1))
    error = _mean(residual * torch.exp(-answer.log_error.clamp(-6, 3)) + answer.log_error.clamp(-6, 3), weight)
    inside = torch.sigmoid(-2 * TRUNCATION_VOXELS * distance)
    occupancy = _mean(F.binary_cross_entropy_with_logits(answer.occupancy, inside, reduction="none"), weight)
    total = flow.mean() + (ERROR_WEIGHT * error + OCCUPANCY_WEIGHT * occupancy).mean()
    regression = flow[pure_noise.to(device)].mean()
    return Losses(total, flow.mean().detach(), regression.detach(), error.mean().detach(), occupancy.mean().detach())


def _weights(x0: Tensor, condition: Conditioning, predicted: Tensor) -> Tensor:
    near = torch.minimum(torch.minimum(x0.abs(), condition.expected_x0.abs()), predicted.abs()) < NEAR
    weight = torch.where(near, torch.where(condition.observed, MEASURED_WEIGHT, 1.0), FAR_WEIGHT)
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).mean(dim=(1, 2, 3, 4))
