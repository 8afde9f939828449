"""Volume rendering of a radiance field, differentiable in the field."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_recon.fuse.radiance.field import RadianceField, RenderBounds, sums_before
from sparse_recon.fuse.radiance.rays import Rays

# Samples of less weight get no colour (Score Jacobian Chaining).
MIN_WEIGHT = 1e-4
# Where a ray that meets nothing ends, in units of the cube.
BACKGROUND_DEPTH = 10.0


@dataclass(frozen=True, eq=False)
class Rendered:
    """What R rays see.

    Attributes
    ----------
    features : (R, C) features, without a background.
    depth : (R,) expected depth along optical z, units of the cube; what is left of the light ends at the background.
    opacity : (R,) in [0, 1].
    weights, depths, ray : (M,) each, weight, depth and ray of every sample that was looked at, in the order of rays.
    max_samples : the most samples that a ray of these has in the cube.
    light : (M,) what reaches each sample; no gradient. `thickness` (M,) optical thickness of each; no gradient.
    interval : (R,) depth between samples.
    """

    features: Tensor
    depth: Tensor
    opacity: Tensor
    weights: Tensor
    depths: Tensor
    ray: Tensor
    max_samples: int
    light: Tensor
    thickness: Tensor
    interval: Tensor

    def over(self, background: Tensor) -> Tensor:
        """Return the image (R, C) with what is left of the light ending in `background`, (R, C)."""
        return self.features + (1.0 - self.opacity)[:, None] * background

    @torch.no_grad()
    def surface_depth(self, least: float = 0.5) -> Tensor:
        """Return the depth (R,) at which half of what a ray loses is lost; NaN where it loses less than `least`."""
        found = torch.full((len(self.opacity),), torch.nan, device=self.opacity.device)
        half = 1.0 - 0.5 * self.opacity.detach().double()[self.ray]
        crosses = (self.light > half) & (self.light * torch.exp(-self.thickness) <= half)
        ray = self.ray[crosses]
        share = torch.log(self.light[crosses] / half[crosses]) / self.thickness[crosses]
        found[ray] = (self.depths[crosses] + (share - 0.5) * self.interval[ray]).float()
        return torch.where(self.opacity < max(least, MIN_WEIGHT), torch.nan, found)

    @torch.no_grad()
    def depth_spread(self) -> Tensor:
        """Return the standard deviation (R,) of the depths at which a ray's light ends within the cube."""
        weights, depths = self.weights.double(), self.depths.double()
        zeros = torch.zeros(len(self.opacity), dtype=torch.float64, device=depths.device)
        total = zeros.index_add(0, self.ray, weights).clamp_min(1e-9)
        mean = zeros.index_add(0, self.ray, weights * depths) / total
        variance = zeros.index_add(0, self.ray, weights * (depths - mean[self.ray]) ** 2) / total
        return variance.sqrt().float()


def render(
    field: RadianceField, rays: Rays, shortcuts: RenderBounds | None = None, jitter: Tensor | None = None
) -> Rendered:
    """Render R rays.

    Parameters
    ----------
    shortcuts : of the field, to skip empty and hidden samples; None looks at every sample.
    jitter : (R,) in [0, 1), shifts the samples of each ray by this share of a step; None: half a step.
    """
    # 1. Samples every half voxel between the faces of the cube, ray after ray.
    near, far = rays.span()
    interval = field.step / rays.stretch
    max_samples = int(((far - near) / interval).max().ceil().clamp_min(0)) if len(rays) else 0
    first, last = (near, far) if shortcuts is None else rays.span(shortcuts.low, shortcuts.high)
    first = ((first - near) / interval).floor().clamp_min(0)
    counts = ((torch.minimum(last, far) - near) / interval - first).ceil().clamp_min(0).long()
    ray = torch.repeat_interleave(torch.arange(len(rays), device=counts.device), counts)
    number = torch.arange(len(ray), device=ray.device) - (torch.cumsum(counts, 0) - counts)[ray] + first[ray]
    offset = 0.5 if jitter is None else jitter[ray]
    depths = near[ray] + (number + offset) * interval[ray]
    inside = depths < far[ray]
    ray, depths = ray[inside], depths[inside]
    points = rays.origins[ray] + depths[:, None] * rays.directions[ray]
    if shortcuts is not None:
        needed = shortcuts.needed(points, ray, field.step)
        ray, depths, points = ray[needed], depths[needed], points[needed]

    # 2. What each sample takes of the light; sums over all rays at once need double precision.
    thickness = field.density(points).double() * field.step
    light = torch.exp(-sums_before(thickness, ray))
    weights = (light * -torch.expm1(-thickness)).float()

    # 3. Features where they count, depth and opacity.
    zeros = torch.zeros(len(rays), device=points.device)
    opacity = zeros.index_add(0, ray, weights)
    depth = zeros.index_add(0, ray, weights * depths) + (1.0 - opacity) * BACKGROUND_DEPTH
    seen = weights.detach() > MIN_WEIGHT
    weighted = weights[seen, None] * field.features_at(points[seen])
    features = torch.zeros((len(rays), field.channels), device=points.device).index_add(0, ray[seen], weighted)
    return Rendered(
        features, depth, opacity, weights, depths, ray, max_samples, light.detach(), thickness.detach(), interval
    )
