"""Parts of point-to-plane registration (Chen and Medioni 1992) of depth images with projective association."""

from __future__ import annotations

import numpy as np

from sparse_recon.geometry.poses import pose
from sparse_recon.types import Float32, Float64

# Directions with fewer points than this count less.
MIN_GROUP = 20
# Normals are taken from pixels so far away on either side: noise is as large as the pixels are wide.
NORMAL_REACH = 3


def evened(normal: Float64) -> Float64:
    """Return weights (K,) that make all directions (K, 3) count the same: a table must not outweigh what stands on it.

    Normal-space sampling (Rusinkiewicz and Levoy 2001).
    """
    group = np.rint(2.0 * normal).astype(int) @ (25, 5, 1) + 62  # components are -2 to 2
    weight: Float64 = 1.0 / np.maximum(np.bincount(group), MIN_GROUP)[group]
    return weight / weight.max()


def turned_about(centre: Float64, step: Float64) -> Float64:
    """Return the (4, 4) motion that turns by a rotation vector about a point and then shifts; `step` is (6,)."""
    from scipy.spatial.transform import Rotation

    R = Rotation.from_rotvec(step[:3]).as_matrix()
    return pose(R, centre - R @ centre + step[3:])


def grid_normals(points: Float32) -> Float32:
    """Return unit normals (h, w, 3) of a grid of points by central differences; NaN where a neighbour is missing."""
    normals = np.full(points.shape, np.nan, np.float32)
    n, inner = NORMAL_REACH, slice(NORMAL_REACH, -NORMAL_REACH)
    along = points[inner, 2 * n :] - points[inner, : -2 * n]
    across = points[2 * n :, inner] - points[: -2 * n, inner]
    normal = np.cross(along, across)
    with np.errstate(invalid="ignore", divide="ignore"):
        normals[inner, inner] = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    return normals
