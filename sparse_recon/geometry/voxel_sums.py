"""Points summed up by voxel, so that clouds can be joined without their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float32, Float64


@dataclass(frozen=True, eq=False)
class VoxelSums:
    """How many points each occupied voxel holds, and their sum.

    Attributes
    ----------
    cells : (K, 3) int64, index of the voxel along each axis; sorted, each once.
    count : (K,) int64.
    total : (K, 3) float64, sum of the points, metres.
    """

    cells: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    total: Float64

    @classmethod
    def of(cls, points: Float32, voxel_size_m: float) -> VoxelSums:
        """Sum up (N, 3) points, none of them NaN."""
        wide = points.astype(np.float64)
        return _summed(np.floor(wide / voxel_size_m).astype(np.int64), np.ones(len(points), np.int64), wide)

    @classmethod
    def joined(cls, parts: Sequence[VoxelSums]) -> VoxelSums:
        """Return the sums over several clouds with voxels of one size."""
        if not parts:
            return cls.of(np.zeros((0, 3), np.float32), 1.0)
        return _summed(
            np.concatenate([part.cells for part in parts]),
            np.concatenate([part.count for part in parts]),
            np.concatenate([part.total for part in parts]),
        )

    def coarser(self, times: int) -> VoxelSums:
        """Return the sums in voxels so many times as large."""
        return _summed(self.cells // times, self.count, self.total)

    def means(self) -> Float32:
        """Return the mean point (K, 3) of each voxel."""
        return (self.total / self.count[:, None]).astype(np.float32)


def _summed(cells: npt.NDArray[np.int64], count: npt.NDArray[np.int64], total: Float64) -> VoxelSums:
    if len(cells) == 0:
        return VoxelSums(cells.reshape(0, 3), count, total.reshape(0, 3))
    low = cells.min(axis=0)
    size = cells.max(axis=0) - low + 1
    key = ((cells[:, 0] - low[0]) * size[1] + cells[:, 1] - low[1]) * size[2] + cells[:, 2] - low[2]
    _, first, voxel = np.unique(key, return_index=True, return_inverse=True)
    voxel = voxel.ravel()
    sums: Float64 = np.stack([np.bincount(voxel, weights=total[:, k]) for k in range(3)], axis=1).astype(np.float64)
    return VoxelSums(cells[first], np.bincount(voxel, weights=count).astype(np.int64), sums)
