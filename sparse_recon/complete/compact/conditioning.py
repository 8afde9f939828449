"""From the small integers of `volumes` to what the network sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_recon.complete.compact.volumes import CHANNELS, LEVELS, REACH_VOXELS, SIGMA_LEVELS
from sparse_recon.evidence import VoxelState

# x0 is the signed distance, clipped to this many voxels, over it.
TRUNCATION_VOXELS = 4.0
CHANNELS_SEEN = 13
INPUTS = CHANNELS_SEEN + 1  # and the noisy volume
_PER_REACH = REACH_VOXELS / (LEVELS * TRUNCATION_VOXELS)  # x0 per level of a distance


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What is known of B objects, on the network's device.

    Attributes
    ----------
    channels : (B, 13, N, N, N), about -1 to 1.
    numbers : (B, 8).
    base : (B, N, N, N), the field that x0 is expected near: the prior where it is told, else the lower bound.
    spread : (B, 1, 1, 1), standard deviation of x0 about it.
    lower, upper : (B, N, N, N), bounds of x0.
    observed : (B, N, N, N) bool, where a camera measured the surface.
    """

    channels: Tensor
    numbers: Tensor
    base: Tensor
    spread: Tensor
    lower: Tensor
    upper: Tensor
    observed: Tensor


def conditioning(volumes: Tensor, scalars: Tensor, told_prior: Tensor) -> Conditioning:
    """Prepare evidence for the network.

    Parameters
    ----------
    volumes : (B, 7, N, N, N) int8 of `volumes.CHANNELS`.
    scalars : (B, 5) float32 of `volumes.SCALARS`.
    told_prior : (B,) bool, whether the network is told what carving makes of the object.
    """
    channel = dict(zip(CHANNELS, volumes.unbind(1), strict=True))
    unit = {name: volume.float() / LEVELS for name, volume in channel.items() if name != "state"}
    state = channel["state"]
    told = told_prior.float()[:, None, None, None]
    lower = unit["lower"] * (LEVELS * _PER_REACH)
    upper = unit["upper"] * (2 * LEVELS * _PER_REACH)
    prior = (unit["prior"] * (LEVELS * _PER_REACH)).clamp(-1, 1)
    base = torch.where(told_prior[:, None, None, None], prior, lower.clamp(-1, 1))
    channels = torch.stack(
        [
            base,
            unit["prior"] * told,
            channel["prior_sigma"].float() / (SIGMA_LEVELS * REACH_VOXELS) * told,
            unit["tsdf"],
            unit["weight"],
            unit["lower"],
            (unit["lower"] * 4).clamp(-1, 1),
            unit["upper"],
            *((state & flag != 0).float() for flag in _FLAGS),
            _height(scalars, volumes.shape[-1]).expand_as(base),
        ],
        dim=1,
    )
    return Conditioning(
        channels=channels,
        numbers=_numbers(scalars, told_prior),
        base=base,
        spread=torch.where(told_prior, 0.35, 0.6)[:, None, None, None],
        lower=lower,
        upper=upper,
        observed=channel["weight"] > 0,
    )


_FLAGS = (
    int(VoxelState.FREE),
    int(VoxelState.HIDDEN_BY_SELF),
    int(VoxelState.HIDDEN_BY_OTHER),
    int(VoxelState.OUTSIDE_HULL),
)


def _height(scalars: Tensor, grid: int) -> Tensor:
    """Height above the support plane, (B, 1, 1, N), in halves of the cube; 0 where nothing is known to carry it."""
    z = torch.arange(grid, device=scalars.device, dtype=torch.float32)
    height = (z - scalars[:, 3:4]) / (grid / 2) * scalars[:, 4:5]
    return height.clamp(-1, 1)[:, None, None, :]


def _numbers(scalars: Tensor, told_prior: Tensor) -> Tensor:
    voxel_m, sigma, views, support, stands = scalars.unbind(1)
    told = told_prior.float()
    scale = torch.log(voxel_m.clamp(min=1e-4) / 0.003)
    count = torch.log2(views.clamp(min=1)) / 3
    alone = (views <= 1).float()
    return torch.stack([scale, sigma.clamp(0, 4), count, alone, stands, support / 32 * stands, told, 1 - told], dim=1)
