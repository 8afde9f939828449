"""From the small integers of `volumes` to what the network sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_recon.complete.compact.patches import SIDE, VOXELS, patched
from sparse_recon.complete.compact.volumes import CHANNELS, LEVELS, REACH_VOXELS, SIGMA_LEVELS
from sparse_recon.evidence import VoxelState

# x0 is the signed distance, clipped to this many voxels, over it.
TRUNCATION_VOXELS = 4.0
CHANNELS_SEEN = 13
INPUTS = CHANNELS_SEEN + 1  # and the noisy volume
_PER_REACH = REACH_VOXELS / (LEVELS * TRUNCATION_VOXELS)  # x0 per level of a distance


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What is known of B objects, on the network's device, in blocks (`patches.patched`).

    Attributes
    ----------
    channels : (B, n, n, n, 8 * 13), about -1 to 1.
    numbers : (B, 8).
    base : (B, n, n, n, 8), the field that x0 is expected near: the prior where it is told, else the lower bound.
    spread : (B, 1, 1, 1, 1), standard deviation of x0 about it.
    lower, upper : (B, n, n, n, 8), bounds of x0.
    observed : (B, n, n, n, 8) bool, where a camera measured the surface.
    told : (B, 1, 1, 1, 1), 1 where the prior is told.
    """

    channels: Tensor
    numbers: Tensor
    base: Tensor
    spread: Tensor
    lower: Tensor
    upper: Tensor
    observed: Tensor
    told: Tensor


def conditioning(
    volumes: Tensor, scalars: Tensor, told_prior: Tensor, dtype: torch.dtype = torch.float32
) -> Conditioning:
    """Prepare evidence for the network.

    Parameters
    ----------
    volumes : (B, 7, N, N, N) int8 of `volumes.CHANNELS`.
    scalars : (B, 5) float32 of `volumes.SCALARS`.
    told_prior : (B,) bool, whether the network is told what carving makes of the object.
    dtype : of the channels, which only the network reads.
    """
    channel = dict(zip(CHANNELS, patched(volumes.transpose(0, 1)), strict=True))
    told = told_prior[:, None, None, None, None]
    lower = channel["lower"] * _PER_REACH
    upper = channel["upper"] * (2 * _PER_REACH)
    base = torch.where(told, channel["prior"] * _PER_REACH, lower).clamp(-1, 1)
    unit = {name: volume.to(dtype) / LEVELS for name, volume in channel.items() if name not in ("state", "prior_sigma")}
    silent = torch.where(told, 1.0, 0.0).to(dtype)
    state = channel["state"]
    channels = torch.cat(
        [
            base.to(dtype),
            unit["prior"] * silent,
            channel["prior_sigma"].to(dtype) / (SIGMA_LEVELS * REACH_VOXELS) * silent,
            unit["tsdf"],
            unit["weight"],
            unit["lower"],
            (unit["lower"] * 4).clamp(-1, 1),
            unit["upper"],
            *((state & flag != 0).to(dtype) for flag in _FLAGS),
            _height(scalars, volumes.shape[-1]).to(dtype).expand_as(base),
        ],
        dim=-1,
    )
    return Conditioning(
        channels=channels,
        numbers=_numbers(scalars, told_prior),
        base=base,
        spread=torch.where(told, 0.35, 0.6),
        lower=lower,
        upper=upper,
        observed=channel["weight"] > 0,
        told=told.float(),
    )


_FLAGS = (
    int(VoxelState.FREE),
    int(VoxelState.HIDDEN_BY_SELF),
    int(VoxelState.HIDDEN_BY_OTHER),
    int(VoxelState.OUTSIDE_HULL),
)


def _height(scalars: Tensor, grid: int) -> Tensor:
    """Height above the support plane, (B, 1, 1, n, 8), in halves of the cube; 0 where nothing is known to carry it."""
    z = torch.arange(grid, device=scalars.device, dtype=torch.float32)
    height = ((z - scalars[:, 3:4]) / (grid / 2) * scalars[:, 4:5]).clamp(-1, 1)
    pairs = height.view(len(scalars), 1, 1, -1, SIDE)
    return pairs.repeat(1, 1, 1, 1, VOXELS // SIDE)  # z runs fastest within a block


def _numbers(scalars: Tensor, told_prior: Tensor) -> Tensor:
    voxel_m, sigma, views, support, stands = scalars.unbind(1)
    told = told_prior.float()
    scale = torch.log(voxel_m.clamp(min=1e-4) / 0.003)
    count = torch.log2(views.clamp(min=1)) / 3
    alone = (views <= 1).float()
    return torch.stack([scale, sigma.clamp(0, 4), count, alone, stands, support / 32 * stands, told, 1 - told], dim=1)
