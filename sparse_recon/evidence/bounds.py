"""Exact limits that evidence puts on any signed distance field of the object, and the projection onto them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparse_recon.evidence.consistency import contradiction
from sparse_recon.evidence.volume import Evidence, VoxelState
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Bool, Float32


@dataclass(frozen=True, eq=False)
class Bounds:
    """Where the surface cannot be.

    A solid that avoids the known-free space F has `sdf >= sdf_of_everything_but_F` everywhere, since signed distance
    only shrinks when a solid grows. And the surface passes through every measured point, so `|sdf|` is at most the
    distance to the nearest one.

    Attributes
    ----------
    grid : the grid of all volumes.
    free : (X, Y, Z) bool, voxels seen to be empty, and the border of the cube.
    lower_m, upper_m : (X, Y, Z) float32, limits of the signed distance, metres.
    soft_slack_m : how much the observations contradict each other beyond the sensor's noise; 0 when they agree.
    conflict : share of measured points that another view saw to be empty, or left out of its mask.
    depth_conflict : the first of these two shares.
    soft : whether the contradictions were so many that carving was softened and masks without depth were set aside.
    """

    grid: VoxelGrid
    free: Bool
    lower_m: Float32
    upper_m: Float32
    soft_slack_m: float
    conflict: float
    soft: bool = False
    depth_conflict: float = 0.0

    @classmethod
    def of(cls, evidence: Evidence, checkpoint: Callable[[], None] = lambda: None) -> Bounds:
        """Derive the bounds from the views added so far; `checkpoint` is called between the steps and may raise."""
        grid, voxel = evidence.grid, evidence.grid.voxel_m
        points, sigmas = evidence.all_points_obj(), evidence.all_sigmas_m()
        conflict, soft_slack_m = contradiction(evidence.view_depths, evidence.config.soft_conflict)
        margin = evidence.free_margin_m - np.float32(soft_slack_m)
        free = margin > 0
        outside_hull = (evidence.state & VoxelState.OUTSIDE_HULL) > 0
        hull_conflict = float(np.mean(outside_hull[grid.nearest(points)])) if len(points) else 0.0
        soft = soft_slack_m > 0.0 or hull_conflict > evidence.config.soft_conflict
        if not soft:
            free |= outside_hull
        free[[0, -1]] = free[:, [0, -1]] = free[:, :, [0, -1]] = True
        checkpoint()
        lower = free_space_sdf(free, margin, voxel)
        support_z_m = evidence.object_frame.support_z_m
        if support_z_m is not None:
            # Nothing of the object is below what it stands on.
            lower = np.maximum(lower, (np.float32(support_z_m) - grid.axes()[2])[None, None, :])
        checkpoint()
        upper = _distance_to_surface(grid, points, sigmas)
        # Where a measured point stands in known-free space the emptiness wins: beyond the slack it is a stray pixel.
        upper = np.maximum(upper, lower)
        return cls(
            grid, free, np.maximum(lower, -upper), upper, soft_slack_m, max(conflict, hull_conflict), soft, conflict
        )

    def project(self, sdf_m: Float32) -> Float32:
        """Clip a signed distance field, (X, Y, Z) metres, into the bounds: no surface is left in known-free space."""
        return np.clip(sdf_m, self.lower_m, self.upper_m)


def free_space_sdf(free: Bool, margin_m: Float32, voxel_m: float) -> Float32:
    """Signed distance, (X, Y, Z) float32 metres, of the space that is not free; `margin_m` refines it near the rim."""
    import edt

    outside = edt.edt(free, parallel=0) * np.float32(voxel_m)
    inside = edt.edt(~free, parallel=0) * np.float32(voxel_m)
    half, tiny = np.float32(0.5 * voxel_m), np.float32(0.02 * voxel_m)
    # At the rim of free space the margin knows the distance to it more finely than whole voxels do.
    return np.where(
        free, np.minimum(outside - half, np.fmax(margin_m, tiny)), np.fmax(half - inside, np.minimum(margin_m, 0.0))
    ).astype(np.float32)


def _distance_to_surface(grid: VoxelGrid, points_obj: Float32, sigmas_m: Float32) -> Float32:
    import edt

    if len(points_obj) == 0:
        return np.full(grid.shape, np.float32(max(grid.shape) * grid.voxel_m))
    empty = np.ones(grid.shape, bool)
    empty[grid.nearest(points_obj)] = False
    # The point is somewhere in its voxel (half a diagonal) and was measured with noise.
    slack = 0.5 * np.sqrt(3.0) * grid.voxel_m + 1.5 * float(np.median(sigmas_m))
    return (edt.edt(empty, parallel=0) * np.float32(grid.voxel_m) + np.float32(slack)).astype(np.float32)
