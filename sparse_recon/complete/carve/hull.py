"""The convex solid that the seen surface and its shadow on the support plane span."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sparse_recon.geometry.clouds import voxel_means
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Float32, Float64

if TYPE_CHECKING:
    from scipy.spatial import ConvexHull

# The hull is cut by its largest faces and by planes that touch it all round: a few hundred, however many it has.
FACE_PLANES, TOUCHING_PLANES = 160, 200
MIN_THICKNESS_VOXELS = 1.5
PLANES_AT_ONCE = 16


def hull_sdf(
    points_obj: Float32, support_z_m: float | None, grid: VoxelGrid, checkpoint: Callable[[], None] = lambda: None
) -> Float32:
    """Return the signed distance, (X, Y, Z) float32 metres, of the hull of the points and their feet on the plane.

    Inside it is exact; outside it is the distance to the farthest face plane, a lower bound. The surface seen from
    above continues down to what carries it: most household objects stand on a face.
    `checkpoint` is called every few planes and may raise to cancel.
    """
    points, _ = voxel_means(points_obj, 0.5 * grid.voxel_m)
    if support_z_m is not None:
        feet = points.copy()
        feet[:, 2] = np.minimum(feet[:, 2], np.float32(support_z_m))
        points = np.concatenate([points, feet])
    checkpoint()
    planes = _hull_planes(points, grid.voxel_m)
    x, y, z = grid.axes()
    sdf, plane = np.full(grid.shape, -np.inf, np.float32), np.empty(grid.shape, np.float32)
    for k, (nx, ny, nz, offset) in enumerate(planes):
        if k % PLANES_AT_ONCE == 0:
            checkpoint()
        np.add((nx * x + offset)[:, None, None], (ny * y)[:, None] + nz * z, out=plane)
        np.maximum(sdf, plane, out=sdf)
    return sdf


def _hull_planes(points: Float32, voxel_m: float) -> Float32:
    """Return the (K, 4) face planes of the hull, outward unit normal and offset; sheets get some thickness."""
    from scipy.spatial import ConvexHull

    corners = points.astype(np.float64)
    spread = corners - corners.mean(axis=0)
    thinnest = spread @ np.linalg.svd(spread, full_matrices=False)[2][2] if len(points) > 3 else np.zeros(1)
    if np.ptp(thinnest) < MIN_THICKNESS_VOXELS * voxel_m:  # a sheet would fall between the voxels
        cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.5
        corners = (corners[:, None] + cube * MIN_THICKNESS_VOXELS * voxel_m).reshape(-1, 3)
    hull = ConvexHull(corners)
    return np.concatenate([_widest_faces(hull, voxel_m), _touching_planes(hull)]).astype(np.float32)


def _widest_faces(hull: ConvexHull, voxel_m: float) -> Float64:
    """Return the planes (K, 4) of the largest faces; coplanar triangles share one."""
    corner = hull.points[hull.simplices]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    rounded = np.round(hull.equations / (1.0, 1.0, 1.0, voxel_m), 2)
    _, first, face = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    total = np.bincount(face.ravel(), weights=area)
    return hull.equations[first[np.argsort(-total, kind="stable")[:FACE_PLANES]]]


def _touching_planes(hull: ConvexHull) -> Float64:
    """Return planes (K, 4) that touch the hull from evenly spread directions: round hulls have no large faces."""
    i = np.arange(TOUCHING_PLANES) + 0.5
    z, turn = 1 - 2 * i / TOUCHING_PLANES, i * np.pi * (1 + np.sqrt(5.0))
    r = np.sqrt(1 - z**2)
    direction = np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)
    reach = (hull.points[hull.vertices] @ direction.T).max(axis=0)
    return np.concatenate([direction, -reach[:, None]], axis=1)
