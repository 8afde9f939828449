"""Which part of the true surface the cameras saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.types import Bool, Float32, Float64, Frame

# A surface seen more obliquely is not seen: from here on one pixel spans eleven times its width on the surface.
GRAZING_DEG = 85.0


def seen_by(
    points_world: Float32, normals_world: Float32, views: Sequence[Frame | RenderedView], tolerance_m: float
) -> Bool:
    """Return which points of the true surface some camera saw, (N,) bool.

    A point is seen where its outside faces the camera, no more obliquely than 85 deg, and nothing, be it the object
    itself or another one, stands before it in the image by more than `tolerance_m`. Depth is compared along the ray
    of the nearest pixel with the plane through the point, so that the tolerance may be small on slanted surface.

    Parameters
    ----------
    points_world : (N, 3) float32 metres, on the true surface.
    normals_world : (N, 3) float32 outward unit normals.
    views : ideal depth images with true poses; NaN where a ray meets nothing, which hides nothing.
    """
    seen = np.zeros(len(points_world), bool)
    for view in views:
        if view.depth_m is not None and len(points_world):
            seen |= _seen_by_one(points_world, normals_world, view, view.depth_m, tolerance_m)
    return seen


def _seen_by_one(
    points_world: Float32, normals_world: Float32, view: Frame | RenderedView, depth_m: Float32, tolerance_m: float
) -> Bool:
    T_cam_world: Float64 = inverse(view.T_world_cam)
    points = transform_points(T_cam_world, points_world.astype(np.float64))
    normals = normals_world.astype(np.float64) @ T_cam_world[:3, :3].T
    camera = view.intrinsics
    uv = np.rint(np.nan_to_num(project_points(points, camera), nan=-1.0))
    size = np.array((camera.width, camera.height))
    towards = -np.einsum("nd,nd->n", normals, points) / np.linalg.norm(points, axis=1)
    candidate = np.nonzero(np.all((uv >= 0) & (uv < size), axis=1) & (towards > np.cos(np.deg2rad(GRAZING_DEG))))[0]
    u, v = uv[candidate].T.astype(np.int64)
    pixel_ray = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(len(u))], axis=1)
    plane = np.einsum("nd,nd->n", normals[candidate], points[candidate])
    facing = np.minimum(np.einsum("nd,nd->n", normals[candidate], pixel_ray), -1e-6)
    expected_m = plane / facing
    measured_m = np.nan_to_num(depth_m[v, u], nan=np.inf, posinf=np.inf)
    seen = np.zeros(len(points), bool)
    seen[candidate] = measured_m > expected_m - tolerance_m
    return seen
