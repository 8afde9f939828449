"""One fine signed distance field from measured and imagined surface, inside what the evidence allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.completion import SampledField
from sparse_recon.config.geometry_config import EvidenceConfig
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.evidence.volume import UNIT_SIGMA_M
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Float32, SurfaceField

# Measured distance is trusted fully to this share of the truncation behind the surface, then fades.
FULL_TRUST = 0.5
# A surface of curvature radius R moves by sigma^2 / R: 0.1 mm for a cup of 4 cm at voxels of 1.5 mm.
SMOOTHING_VOXELS = 1.2


@dataclass(frozen=True, eq=False)
class BlendedField:
    """The final field on the fine grid.

    Attributes
    ----------
    sdf_m : (X, Y, Z) float32, metres, negative inside, within `bounds`.
    measured_m : (X, Y, Z) float32, metres, the measured signed distance, pinholes closed.
    observed : (X, Y, Z) float32 in [0, 1], share of the measurement in each value.
    error_m : (X, Y, Z) float32, expected absolute error of surface at that voxel.
    """

    grid: VoxelGrid
    sdf_m: Float32
    measured_m: Float32
    observed: Float32
    error_m: Float32
    evidence: Evidence
    bounds: Bounds

    def of(self, sdf_m: Float32, coarse: VoxelGrid) -> Float32:
        """Return another imagined field of the `coarse` grid, with the same measurements over it and in the bounds."""
        return _over(coarse.resample(sdf_m, self.grid), self.measured_m, self.observed, self.bounds)


def fine_grid(
    surface: SurfaceField,
    coarse: VoxelGrid,
    points_obj: Float32,
    config: EvidenceConfig,
    hypotheses: Sequence[SampledField] = (),
) -> VoxelGrid:
    """Return the final grid: the block that holds the imagined solids and all that was measured, with a rim.

    Voxels have the target size; larger ones where `fine_grid` of them would not span the block.
    """
    inside = surface.sdf_m < 0
    for draw in hypotheses:
        inside = inside | (draw.sdf_m < 0)
    index = np.argwhere(inside).astype(np.float64)
    corners = coarse.points(index) if len(index) else np.zeros((0, 3))
    held = np.concatenate([corners, points_obj.astype(np.float64)])
    rim = 2.5 * coarse.voxel_m
    low, high = held.min(axis=0) - rim, held.max(axis=0) + rim
    voxel_m = max(config.fine_voxel_m, float((high - low).max()) / config.fine_grid)
    return VoxelGrid.around(low, high, voxel_m)


def blend(
    surface: SurfaceField,
    coarse: VoxelGrid,
    evidence: Evidence,
    bounds: Bounds,
    checkpoint: Callable[[], None] = lambda: None,
) -> BlendedField:
    """Put measured surface over an imagined field, and both inside the bounds.

    Parameters
    ----------
    surface : imagined field on the `coarse` grid.
    evidence, bounds : of the same views on the fine grid.
    checkpoint : called between the steps; may raise to cancel.
    """
    from scipy.ndimage import gaussian_filter

    generated = coarse.resample(surface.sdf_m, evidence.grid)
    checkpoint()
    measured, observed = _measured(evidence)
    checkpoint()
    sdf = _over(generated, measured, observed, bounds)
    checkpoint()
    generated_error = gaussian_filter(coarse.resample(surface.sigma_m, evidence.grid), 1.0)
    slow = _slow_error(evidence)
    measured_error = np.maximum(_measurement_error(evidence), slow)
    error = observed * measured_error + (1.0 - observed) * np.hypot(generated_error, slow)
    return BlendedField(evidence.grid, sdf, measured, observed, error.astype(np.float32), evidence, bounds)


def _over(generated: Float32, measured: Float32, observed: Float32, bounds: Bounds) -> Float32:
    sdf = observed * measured + (1.0 - observed) * generated
    return bounds.project(sdf.astype(np.float32))


def _measured(evidence: Evidence) -> tuple[Float32, Float32]:
    """Return the measured distance with pinholes closed, and how much it counts in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    tsdf = evidence.tsdf_m()
    trust = np.where(evidence.weight > 0, np.float32(1.0), np.float32(0.0))
    # Normalised convolution over about a voxel averages noise, closes pinholes and softens the rim of what was seen.
    density = gaussian_filter(trust, SMOOTHING_VOXELS)
    measured = gaussian_filter(np.where(trust > 0, tsdf, np.float32(0.0)), SMOOTHING_VOXELS)
    measured /= np.maximum(density, np.float32(1e-3))
    observed = np.clip(2.0 * density - 0.3, 0.0, 1.0)
    truncation = evidence.truncation_m
    behind = np.clip((measured + truncation) / ((1.0 - FULL_TRUST) * truncation), 0.0, 1.0)
    return measured.astype(np.float32), (observed * behind).astype(np.float32)


def _measurement_error(evidence: Evidence) -> Float32:
    """Expected absolute error of the averaged measurements; averaging never beats half of one measurement's noise."""
    with np.errstate(divide="ignore"):
        sigma = UNIT_SIGMA_M / np.sqrt(evidence.weight)
    one = float(np.median(evidence.all_sigmas_m())) if evidence.points_obj else UNIT_SIGMA_M
    # Mean absolute value of a normal variable: sqrt(2 / pi) sigma; smoothing over neighbours halves it.
    return (0.5 * np.sqrt(2 / np.pi) * np.clip(sigma, 0.5 * one, 2.0 * one)).astype(np.float32)


def _slow_error(evidence: Evidence) -> Float32:
    """Expected absolute slow error: of the views that measured a voxel, elsewhere the mean of these.

    What is imagined leans on what was measured, so it errs at least as slowly.
    """
    slow = np.float32(np.sqrt(2 / np.pi)) * evidence.slow_m()
    measured = evidence.weight > 0
    if not slow.any():
        return slow
    return np.where(measured, slow, np.sqrt(np.mean(np.square(slow[measured])))).astype(np.float32)
