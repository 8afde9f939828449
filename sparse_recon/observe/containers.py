"""Clusters too large to be an object: boxes, drawers, shelves. Their walls are taken away; what is left is inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.clusters import density_clusters
from sparse_recon.types import Bool, Float32, Float64

RANSAC_ITERATIONS, RANSAC_POINTS = 600, 3000
MAX_WALLS = 10
# A wall holds this share of the cluster and spans this share of the largest object in two directions.
WALL_SHARE, WALL_SPAN = 0.03, (0.4, 0.2)
# Cardboard is not flat, and poses are not exact: walls are this many plane tolerances thick.
WALL_TOLERANCES = 2.0
LEVEL_COSINE = 0.985
# Things in a container stand closer, and strays of its floor lie between them.
CONTENT_GAP, CONTENT_POINTS = 0.67, 10
# What stays this near to walls with most of its points is a piece of wall.
SKIN_TOLERANCES, SKIN_SHARE = 5.0, 0.8


def contained_objects(
    points_world: Float32,
    height_m: Float32,
    up_world: Float64,
    config: SegmentConfig,
    generator: np.random.Generator,
    checkpoint: Callable[[], None] = lambda: None,
) -> tuple[npt.NDArray[np.integer], Bool, list[npt.NDArray[np.intp]]]:
    """Return the number of the thing that each of (N, 3) points of a container belongs to, -1 for walls and strays.

    The second array (N,) says which points are of walls, as thick as these may be; the list has the indices of what
    stands on nothing.

    `height_m` (N,) is above the support plane of the container itself; things stand on that or on a level wall.
    `checkpoint` is called between the long steps and may raise to cancel.
    """
    inside = np.ones(len(points_world), bool)
    from_wall = np.full(len(points_world), np.inf, np.float32)
    floors = [height_m]  # heights of all points above each
    for _ in range(MAX_WALLS):
        if inside.sum() < max(3, WALL_SHARE * len(points_world)):
            break
        checkpoint()
        normal, offset = _largest_plane(points_world[inside], config.plane_tolerance_m, generator)
        height = (points_world @ (normal if normal @ up_world > 0 else -normal).astype(np.float32)).astype(np.float32)
        height -= np.float32(offset if normal @ up_world > 0 else -offset)
        near = inside & (np.abs(height) <= WALL_TOLERANCES * config.plane_tolerance_m)
        wall = _large_patches(points_world, near, config)
        if wall.sum() < WALL_SHARE * len(points_world):
            break
        inside &= ~wall
        from_wall = np.minimum(from_wall, np.abs(height))
        if abs(normal @ up_world) > LEVEL_COSINE:
            floors.append(height)
    number = np.full(len(points_world), -1, np.int64)
    number[inside] = density_clusters(points_world[inside], CONTENT_GAP * config.cluster_gap_m, CONTENT_POINTS)
    hanging = []
    for k in range(int(number.max(initial=-1)) + 1):
        own = np.nonzero(number == k)[0]
        if np.mean(from_wall[own] <= SKIN_TOLERANCES * config.plane_tolerance_m) > SKIN_SHARE:
            number[own] = -1
        elif not any(is_on_plane(height[own], config.cluster_gap_m) for height in floors):
            number[own] = -1
            hanging.append(own)
    return number, from_wall <= WALL_TOLERANCES * config.plane_tolerance_m, hanging


def is_on_plane(height_m: Float32, gap_m: float) -> bool:
    """Whether something at these heights above a floor can stand on it: not below, nor higher up than it is tall."""
    low, allowed = standing_heights(height_m, gap_m)
    return bool(-gap_m < low < allowed)


def standing_heights(height_m: Float32, gap_m: float) -> tuple[float, float]:
    """Return how high something begins above a floor, and how high it may, metres."""
    low, high = np.quantile(height_m, (0.02, 0.98))
    return float(low), float(max(high - low, 2.0 * gap_m))


def _largest_plane(points_world: Float32, tolerance_m: float, generator: np.random.Generator) -> tuple[Float64, float]:
    """Return unit normal and offset of the plane that most points lie on (RANSAC, Fischler and Bolles 1981)."""
    sample = points_world[generator.choice(len(points_world), min(RANSAC_POINTS, len(points_world)), replace=False)]
    corner = sample[generator.integers(0, len(sample), (RANSAC_ITERATIONS, 3))]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=1)
    normal = normal / np.maximum(length, np.float32(1e-12))[:, None]
    on = np.abs(normal @ sample.T - np.einsum("hd,hd->h", normal, corner[:, 0])[:, None]) <= tolerance_m
    best = on[int(np.argmax(np.where(length > 1e-9, on.sum(axis=1), -1)))]
    centre = sample[best].mean(axis=0, dtype=np.float64)
    flat = np.linalg.svd(sample[best] - centre, full_matrices=False)[2][2]
    return flat, float(flat @ centre)


def _large_patches(points_world: Float32, on_plane: Bool, config: SegmentConfig) -> Bool:
    """Return which points on a plane are in connected pieces as large as a wall."""
    wall = np.zeros(len(points_world), bool)
    members = np.nonzero(on_plane)[0]
    patch = density_clusters(points_world[members], config.cluster_gap_m)
    for k in range(int(patch.max(initial=-1)) + 1):
        piece = members[patch == k]
        flat = points_world[piece] - points_world[piece].mean(axis=0)
        span = np.sort(np.ptp(flat @ np.linalg.svd(flat, full_matrices=False)[2].T, axis=0))[::-1]
        wall[piece] = span[0] > WALL_SPAN[0] * config.max_size_m and span[1] > WALL_SPAN[1] * config.max_size_m
    return wall
