"""From the small integers of `volumes` to the input channels of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_recon.complete.compact.patches import PATCH_SIDE, PATCH_VOXELS, patchify
from sparse_recon.complete.compact.volumes import CHANNELS, CLIP_VOXELS, QUANTISATION_LEVELS, SIGMA_LEVELS
from sparse_recon.evidence import VoxelState

# x0 is the signed distance, clipped to this many voxels, over it.
TRUNCATION_VOXELS = 4.0
CONDITION_CHANNELS = 13
INPUTS = CONDITION_CHANNELS + 1  # and the noisy volume
_X0_PER_LEVEL = CLIP_VOXELS / (QUANTISATION_LEVELS * TRUNCATION_VOXELS)  # x0 per level of a distance


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What is known of B objects, on the network's device, in patches (`patches.patchify`).

    Attributes
    ----------
    channels : (B, n, n, n, 8 * 13), about -1 to 1.
    scalar_features : (B, 8).
    expected_x0 : (B, n, n, n, 8), field that x0 is expected near: the prior if there is one, else the lower bound.
    std_x0 : (B, 1, 1, 1, 1), standard deviation of x0 about it.
    lower, upper : (B, n, n, n, 8), bounds of x0.
    observed : (B, n, n, n, 8) bool, where a camera measured the surface.
    use_prior : (B, 1, 1, 1, 1), 1 where the network is given the prior, else 0.
    """

    channels: Tensor
    scalar_features: Tensor
    expected_x0: Tensor
    std_x0: Tensor
    lower: Tensor
    upper: Tensor
    observed: Tensor
    use_prior: Tensor


def conditioning(
    volumes: Tensor, scalars: Tensor, has_prior: Tensor, dtype: torch.dtype = torch.float32
) -> Conditioning:
    """Prepare evidence for the network.

    Parameters
    ----------
    volumes : (B, 7, N, N, N) int8 of `volumes.CHANNELS`.
    scalars : (B, 5) float32 of `volumes.SCALARS`.
    has_prior : (B,) bool, whether the network is given the answer of carve.
    dtype : of the channels, which only the network reads.
    """
    channel = dict(zip(CHANNELS, patchify(volumes.transpose(0, 1)), strict=True))
    use_prior = has_prior[:, None, None, None, None]
    lower = channel["lower"] * _X0_PER_LEVEL
    upper = channel["upper"] * (2 * _X0_PER_LEVEL)
    expected_x0 = torch.where(use_prior, channel["prior"] * _X0_PER_LEVEL, lower).clamp(-1, 1)
    normalised = {
        name: volume.to(dtype) / QUANTISATION_LEVELS
        for name, volume in channel.items()
        if name not in ("state", "prior_sigma")
    }
    prior_factor = torch.where(use_prior, 1.0, 0.0).to(dtype)
    state = channel["state"]
    channels = torch.cat(
        [
            expected_x0.to(dtype),
            normalised["prior"] * prior_factor,
            channel["prior_sigma"].to(dtype) / (SIGMA_LEVELS * CLIP_VOXELS) * prior_factor,
            normalised["tsdf"],
            normalised["weight"],
            normalised["lower"],
            (normalised["lower"] * 4).clamp(-1, 1),
            normalised["upper"],
            *((state & flag != 0).to(dtype) for flag in _FLAGS),
            _height(scalars, volumes.shape[-1]).to(dtype).expand_as(expected_x0),
        ],
        dim=-1,
    )
    return Conditioning(
        channels=channels,
        scalar_features=_scalar_features(scalars, has_prior),
        expected_x0=expected_x0,
        std_x0=torch.where(use_prior, 0.35, 0.6),
        lower=lower,
        upper=upper,
        observed=channel["weight"] > 0,
        use_prior=use_prior.float(),
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
    pairs = height.view(len(scalars), 1, 1, -1, PATCH_SIDE)
    return pairs.repeat(1, 1, 1, 1, PATCH_VOXELS // PATCH_SIDE)  # z runs fastest within a patch


def _scalar_features(scalars: Tensor, has_prior: Tensor) -> Tensor:
    voxel_m, sigma, views, support, on_support = scalars.unbind(1)
    use_prior = has_prior.float()
    scale = torch.log(voxel_m.clamp(min=1e-4) / 0.003)
    count = torch.log2(views.clamp(min=1)) / 3
    single_view = (views <= 1).float()
    return torch.stack(
        [scale, sigma.clamp(0, 4), count, single_view, on_support, support / 32 * on_support, use_prior, 1 - use_prior],
        dim=1,
    )
