"""A voxel radiance field: density and features on a regular grid of the cube [-1, 1]^3, interpolated trilinearly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Raw density 0 stands for thin fog, through which every voxel can be seen and learn.
DENSITY_SHIFT = -1.0
COLORS = 3  # channels
# Of a sample: less opaque ones are empty space, and samples behind less remaining light are hidden.
EMPTY_ALPHA, HIDDEN_LIGHT = 1e-4, 1e-4


class RadianceField(nn.Module):
    """Density softplus(raw * exp(scale) - 1) and C features a voxel (Wang et al., Score Jacobian Chaining, CVPR 2023).

    Volumes have index order x, y, z; voxel centres at `-1 + (i + 0.5) * 2 / N`; beyond the outer ones the border holds.

    Parameters
    ----------
    channels : C, features of a voxel. Three are colours in [0, 1], through a sigmoid: else thin ink far below black
        could pass for a solid. Latents are rendered as they are.
    grid : N, voxels along an edge.
    generator : draws the first features from the unit normal distribution; None: all are 0, which is grey.
    device : where it lives; the generator is of the CPU.
    """

    def __init__(
        self, channels: int, grid: int, generator: torch.Generator | None = None, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        shape = (1, channels, grid, grid, grid)
        features = torch.zeros(shape) if generator is None else torch.randn(shape, generator=generator)
        self.features = nn.Parameter(features.to(device))
        self.raw = nn.Parameter(torch.zeros((1, 1, grid, grid, grid), device=device))
        self.scale = nn.Parameter(torch.zeros((), device=device))

    @property
    def grid(self) -> int:
        return self.raw.shape[-1]

    @property
    def channels(self) -> int:
        return self.features.shape[1]

    @property
    def device(self) -> torch.device:
        return self.raw.device

    @property
    def step(self) -> float:
        """Distance between samples along a ray: half a voxel, in units of the cube."""
        return 1.0 / self.grid

    def density(self, points: Tensor) -> Tensor:
        """Return the density, (M,) per unit of the cube, at (M, 3) points."""
        return self._activated(_interpolated(self.raw, points)[0])

    def features_at(self, points: Tensor) -> Tensor:
        """Return the features (M, C) at (M, 3) points."""
        features = _interpolated(self.features, points).T
        return torch.sigmoid(features) if self.channels == COLORS else features

    def resampled(self, grid: int) -> RadianceField:
        """Return a field of as many voxels along an edge that looks alike, interpolated trilinearly."""
        made = RadianceField(self.channels, grid, None, self.device)
        with torch.no_grad():
            for ours, its in ((self.raw, made.raw), (self.features, made.features)):
                its.copy_(functional.interpolate(ours, size=(grid,) * 3, mode="trilinear", align_corners=False))
            made.scale.copy_(self.scale)
        made.scale.requires_grad_(self.scale.requires_grad)
        return made

    def voxel_density(self) -> Tensor:
        """Return the density (N, N, N) of the voxel centres."""
        return self._activated(self.raw[0, 0])

    def _activated(self, raw: Tensor) -> Tensor:
        return functional.softplus(raw * torch.exp(self.scale) + DENSITY_SHIFT)

    @torch.no_grad()
    def shortcuts(self) -> RenderBounds:
        """Return what rendering may skip until the density has changed much."""
        density = self.voxel_density()
        most, least = _pooled(density), -_pooled(-density)
        low, high = _box_of(most * self.step > EMPTY_ALPHA)
        return RenderBounds(self.grid, most.reshape(-1), least.reshape(-1), low, high)


@dataclass(frozen=True, eq=False)
class RenderBounds:
    """Bounds on the density of a field of N voxels an edge.

    Attributes
    ----------
    most, least : (N^3,) density of the voxel and its 26 neighbours.
    low, high : (3,) corners of the box that holds all that is not empty.
    """

    grid: int
    most: Tensor
    least: Tensor
    low: Tensor
    high: Tensor

    @torch.no_grad()
    def needed(self, points: Tensor, ray: Tensor, step: float) -> Tensor:
        """Return which of (M, 3) samples, ordered along each `ray` (M,), may be seen and not empty, (M,) bool."""
        n = self.grid
        x, y, z = ((points + 1.0) * (0.5 * n)).long().clamp_(0, n - 1).unbind(1)
        voxel = (x * n + y) * n + z
        light = -sums_before(self.least[voxel].double() * step, ray)
        return (self.most[voxel] * step > EMPTY_ALPHA) & (light > math.log(HIDDEN_LIGHT))


def _interpolated(volume: Tensor, points: Tensor) -> Tensor:
    """Sample a volume (1, C, X, Y, Z) at (M, 3) points: (C, M)."""
    # grid_sample wants the coordinate of the last axis first.
    where = points.flip(1).reshape(1, 1, 1, -1, 3)
    sampled = functional.grid_sample(volume, where, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.reshape(volume.shape[1], -1)


def _pooled(volume: Tensor) -> Tensor:
    """Return the maximum (N, N, N) over 3 x 3 x 3 voxels, one axis after the other."""
    for axis in range(3):
        n = volume.shape[axis]
        first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, n - 1, 1)
        before = torch.cat([first, volume.narrow(axis, 0, n - 1)], axis)
        after = torch.cat([volume.narrow(axis, 1, n - 1), last], axis)
        volume = torch.maximum(torch.maximum(before, volume), after)
    return volume


def _box_of(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners (3,) of the box around the voxels (N, N, N) bool, in units of the cube; a point for none."""
    n = occupied.shape[0]
    low, high = torch.zeros((2, 3), device=occupied.device)
    for axis in range(3):
        found = torch.nonzero(occupied.movedim(axis, 0).flatten(1).any(1))
        if len(found):
            low[axis], high[axis] = found[0, 0] * 2.0 / n - 1.0, (found[-1, 0] + 1) * 2.0 / n - 1.0
    return low, high


def sums_before(values: Tensor, ray: Tensor) -> Tensor:
    """Return for each sample (M,) the sum of the values before it on its own ray; samples of a ray are adjacent."""
    before = torch.cumsum(values, 0) - values
    first = torch.ones_like(ray, dtype=torch.bool)
    first[1:] = ray[1:] != ray[:-1]
    start = before[first]
    return before - start[torch.cumsum(first, 0) - 1]
