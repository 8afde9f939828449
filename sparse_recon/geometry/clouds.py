"""Point clouds as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float32


def voxel_means(points: Float32, voxel_size_m: float) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Return the mean point (K, 3) of each occupied voxel, and how many points it holds (K,)."""
    if len(points) == 0:
        return points.astype(np.float32), np.zeros(0, np.int64)
    cells = np.floor(points.astype(np.float64) / voxel_size_m).astype(np.int64)
    cells -= cells.min(axis=0)
    size = cells.max(axis=0) + 1
    key = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(inverse.ravel(), weights=points[:, k]) / count for k in range(3)], axis=1)
    return mean.astype(np.float32), count
