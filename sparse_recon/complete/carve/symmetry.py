"""Symmetries of an object, accepted only when what was seen confirms them.

A guessed axis is worse than none: mirroring about the centre of the seen surface lost to plain carving in our
measurements. So a symmetry must carry seen surface onto seen surface, and must not carry it into space that is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sparse_recon.config.model_config import CarveConfig
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Float32, Float64

# Reflected points this many voxels inside empty space, or this far from seen surface, are off.
TOLERANCE_VOXELS = 1.5
# ... or this share of the extent, whichever is more: fruit is round only nearly.
TOLERANCE_SHARE = 0.03
ANGLES, REFINEMENTS = 24, 4
MIN_SIDE_SHARE = 0.2
MIN_ARC_POINTS = 12
# An axis of revolution says more than a mirror, so more is asked of it. Round household objects reach 0.7 to 1.0 of
# support with violations below 0.2; of two dozen scans these limits admit the round ones and one stubby figure.
AXIS_MIN_SUPPORT, AXIS_MIN_SCORE = 0.7, 0.5


@dataclass(frozen=True, eq=False)
class SeenSpace:
    """What symmetry is checked against.

    Attributes
    ----------
    margin_m : (X, Y, Z) float32, > 0 where space is empty, clipped to a few voxels.
    distance_m : (X, Y, Z) float32, upper bound of the distance to the nearest measured surface point.
    points_obj : (M, 3) float32, thinned measured points.
    """

    grid: VoxelGrid
    margin_m: Float32
    distance_m: Float32
    points_obj: Float32

    @cached_property
    def tolerance_m(self) -> float:
        return max(TOLERANCE_VOXELS * self.grid.voxel_m, TOLERANCE_SHARE * float(np.ptp(self.points_obj, axis=0).max()))


@dataclass(frozen=True, eq=False)
class Mirror:
    """Plane of symmetry `normal_obj @ p = offset_m`; support and violation are shares of the measured points."""

    normal_obj: Float64
    offset_m: float
    support: float
    violation: float

    def reflect(self, points_obj: Float32) -> Float32:
        """Return (..., 3) points on the other side of the plane."""
        n = self.normal_obj.astype(np.float32)
        return points_obj - 2.0 * (points_obj @ n - np.float32(self.offset_m))[..., None] * n


@dataclass(frozen=True, eq=False)
class Axis:
    """Vertical axis of revolution through `centre_xy_m`; support is the share of points on one profile."""

    centre_xy_m: Float64
    support: float

    def revolve(self, points_obj: Float32, copies: int = 32) -> Float32:
        """Return the points turned about the axis in `copies` equal steps, (copies * N, 3)."""
        centre = self.centre_xy_m.astype(np.float32)
        d = points_obj[:, :2] - centre
        angle = np.arange(copies, dtype=np.float32)[:, None] * np.float32(2 * np.pi / copies)
        c, s = np.cos(angle), np.sin(angle)
        x = c * d[:, 0] - s * d[:, 1] + centre[0]
        y = s * d[:, 0] + c * d[:, 1] + centre[1]
        z = np.broadcast_to(points_obj[:, 2], x.shape)
        return np.stack([x, y, z], axis=-1).reshape(-1, 3)


def find_mirror(seen: SeenSpace, config: CarveConfig, checkpoint: Callable[[], None] = lambda: None) -> Mirror | None:
    """Search upright mirror planes, refine the best that the evidence confirms, and return it, or None.

    `checkpoint` is called for every direction and may raise to cancel.
    """
    best: Mirror | None = None
    centre = 0.5 * (seen.points_obj.min(axis=0) + seen.points_obj.max(axis=0))
    reach = 0.3 * np.ptp(seen.points_obj, axis=0)[:2].max()
    offsets = np.arange(-reach, reach + 1e-9, 1.5 * seen.grid.voxel_m)
    for angle in np.arange(ANGLES) * np.pi / ANGLES:
        checkpoint()
        normal = _upright(float(angle))
        for offset in normal @ centre + offsets:
            mirror = _judged(normal, float(offset), seen)
            if not _confirmed(mirror, config):
                continue
            if best is None or mirror.support - 4 * mirror.violation > best.support - 4 * best.violation:
                best = mirror
    return None if best is None else _refined(best, seen, config)


def _confirmed(mirror: Mirror, config: CarveConfig) -> bool:
    return mirror.violation <= config.symmetry_max_violation and mirror.support >= config.symmetry_min_support


def _refined(mirror: Mirror, seen: SeenSpace, config: CarveConfig) -> Mirror:
    """Turn and shift a plane until reflected points lie closest to seen surface: its error doubles in reflection."""
    angle, offset = float(np.arctan2(mirror.normal_obj[1], mirror.normal_obj[0])), mirror.offset_m
    turn, shift = np.pi / ANGLES / 2, 0.75 * seen.grid.voxel_m
    limit = 2 * seen.tolerance_m
    for _ in range(REFINEMENTS):
        tried = []
        for a in angle + turn * np.array([-1, -0.5, 0, 0.5, 1]):
            normal = _upright(float(a))
            # Turning is about the middle of the object, not about the origin.
            about = offset + (normal - _upright(angle)) @ seen.points_obj.mean(axis=0)
            for d in about + shift * np.array([-1, -0.5, 0, 0.5, 1]):
                reflected = Mirror(normal, float(d), 0.0, 0.0).reflect(seen.points_obj)
                distance = seen.grid.sample(seen.distance_m, reflected)
                tried.append((float(np.minimum(distance, limit).mean()), float(a), float(d)))
        _, angle, offset = min(tried)
        turn, shift = 0.5 * turn, 0.5 * shift
    refined = _judged(_upright(angle), offset, seen)
    return refined if _confirmed(refined, config) else mirror


def _upright(angle_rad: float) -> Float64:
    return np.array([np.cos(angle_rad), np.sin(angle_rad), 0.0])


def find_level_mirror(seen: SeenSpace, support_z_m: float, config: CarveConfig) -> Mirror | None:
    """Return the level mirror plane halfway between the support and the top, if its reflection stays out of free space.

    Balls, cans and boxes have it. Surface seen from above then tells what the hidden underside looks like.
    """
    top = float(np.quantile(seen.points_obj[:, 2], 0.998))
    mirror = _judged(np.array([0.0, 0.0, 1.0]), 0.5 * (top + support_z_m), seen)
    return mirror if mirror.violation <= config.symmetry_max_violation else None


def find_axis(seen: SeenSpace, config: CarveConfig) -> Axis | None:
    """Fit a vertical axis of revolution; return it when most points lie on one profile and no ring of it is empty."""
    centre = _common_centre(seen)
    if centre is None:
        return None
    p = seen.points_obj
    radius = np.linalg.norm(p[:, :2] - centre, axis=1)
    support = float(np.mean(np.abs(radius - _profile(p[:, 2], radius, seen.grid.voxel_m)) < seen.tolerance_m))
    axis = Axis(centre, support)
    turned = axis.revolve(p, 16)
    turned = turned[seen.grid.inside(turned)]
    violation = float(np.mean(_look_up(seen.margin_m, seen.grid, turned) > seen.tolerance_m))
    if support < AXIS_MIN_SUPPORT or support - 2 * violation < AXIS_MIN_SCORE:
        return None
    return axis


def _judged(normal: Float64, offset: float, seen: SeenSpace) -> Mirror:
    p = seen.points_obj
    side = p @ normal.astype(np.float32) - np.float32(offset)
    mirror = Mirror(normal, offset, 0.0, 1.0)
    # A plane along the seen face itself maps it onto itself and proves nothing.
    if normal[2] == 0 and min(np.mean(side > 0), np.mean(side < 0)) < MIN_SIDE_SHARE:
        return mirror
    reflected = mirror.reflect(p)
    violation = float(np.mean(_look_up(seen.margin_m, seen.grid, reflected) > seen.tolerance_m))
    support = float(np.mean(_look_up(seen.distance_m, seen.grid, reflected) < 2 * seen.tolerance_m))
    return Mirror(normal, offset, support, violation)


def _look_up(volume: Float32, grid: VoxelGrid, points: Float32) -> Float32:
    return volume[grid.nearest(points)]


def _common_centre(seen: SeenSpace) -> Float64 | None:
    """Return the (2,) centre that makes radii equal at equal heights, by linear least squares over all heights.

    For points of one height `x^2 + y^2 = 2 a x + 2 b y + c_height` (Kasa 1976); the centre (a, b) is shared.
    """
    p = seen.points_obj.astype(np.float64)
    level = np.floor(p[:, 2] / seen.grid.voxel_m).astype(np.int64)
    _, level, counts = np.unique(level, return_inverse=True, return_counts=True)
    level = level.ravel()
    keep = counts[level] >= MIN_ARC_POINTS
    if keep.sum() < 4 * MIN_ARC_POINTS:
        return None
    weights = np.ones(keep.sum())
    p, level = p[keep], level[keep]
    q = (p[:, :2] ** 2).sum(axis=1)
    centre = p[:, :2].mean(axis=0)
    for _ in range(6):  # iteratively reweighted: handles and spouts lose their say
        total = np.maximum(np.bincount(level, weights), 1e-9)
        xy = p[:, :2] - (np.stack([np.bincount(level, weights * p[:, k]) for k in range(2)], 1) / total[:, None])[level]
        dq = q - (np.bincount(level, weights * q) / total)[level]
        A = (xy * weights[:, None]).T @ xy
        if np.linalg.cond(A) > 1e4:
            return None
        centre = 0.5 * np.linalg.solve(A, (xy * weights[:, None]).T @ dq)
        radius = np.linalg.norm(p[:, :2] - centre, axis=1)
        off = radius - _profile(p[:, 2], radius, seen.grid.voxel_m)
        weights = 1.0 / (1.0 + (off / seen.tolerance_m) ** 2)
    return centre if np.all(np.abs(centre) < 0.5 * seen.grid.voxel_m * max(seen.grid.shape)) else None


def _profile(z: Float32 | Float64, radius: npt.NDArray[np.floating], step_m: float) -> npt.NDArray[np.floating]:
    """Return, for each point, the median radius of all points of its height."""
    level = np.floor(z / step_m).astype(np.int64)
    order = np.lexsort((radius, level))
    _, start, counts = np.unique(level[order], return_index=True, return_counts=True)
    median = radius[order][start + counts // 2]
    profile = np.empty_like(radius)
    profile[order] = np.repeat(median, counts)
    return profile
