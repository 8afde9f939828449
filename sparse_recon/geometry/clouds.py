"""Point clouds as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.geometry.voxel_sums import VoxelSums
from sparse_recon.types import Bool, Float32, Float64, OrientedBox


def voxel_means(points: Float32, voxel_size_m: float) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Return the mean point (K, 3) of each occupied voxel, and how many points it holds (K,)."""
    sums = VoxelSums.of(points, voxel_size_m)
    return sums.means(), sums.count


def keys_of_points(points: Float32, voxel_size_m: float) -> npt.NDArray[np.int64]:
    """Return the key (N,) of the voxel that each of (N, 3) points is in; equal voxels have equal keys in every cloud.

    21 bits an axis: a kilometre at millimetre voxels.
    """
    index = np.floor(points.astype(np.float64) / voxel_size_m).astype(np.int64) + (1 << 20)
    return (index[:, 0] << 42) | (index[:, 1] << 21) | index[:, 2]


def voxel_keys(points: Float32, voxel_size_m: float) -> npt.NDArray[np.int64]:
    """Return the sorted unique keys of the voxels that hold (N, 3) points; see `keys_of_points`."""
    return np.unique(keys_of_points(points, voxel_size_m))


def inside_box(points_world: npt.NDArray[np.floating], box: OrientedBox) -> Bool:
    """Return which of (..., 3) points lie in a box, (...) bool."""
    points_box = transform_points(inverse(box.T_world_box), points_world)
    return np.all(np.abs(points_box) <= 0.5 * box.size_m, axis=-1)


# A stray point must not count towards an extent.
EXTENT_QUANTILE = 0.003


def robust_extent(points: Float64) -> tuple[Float64, Float64]:
    """Return the (3,) lower and upper corner of (N, 3) points without the outermost 0.3 % along each axis."""
    return np.quantile(points, EXTENT_QUANTILE, axis=0), np.quantile(points, 1 - EXTENT_QUANTILE, axis=0)
