"""Axis-aligned voxel grids in an object frame; index order x, y, z; values live in voxel centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float32, Float64


@dataclass(frozen=True)
class VoxelGrid:
    """A block of cubic voxels.

    Attributes
    ----------
    shape : voxels along x, y, z.
    low_m : (x, y, z) of the block's lower corner in the object frame.
    voxel_m : edge of a voxel.
    """

    shape: tuple[int, int, int]
    low_m: tuple[float, float, float]
    voxel_m: float

    @classmethod
    def cube(cls, n: int, half_side_m: float) -> VoxelGrid:
        """Return `n` voxels along each edge of the cube around the origin."""
        return cls((n, n, n), (-half_side_m,) * 3, 2.0 * half_side_m / n)

    @classmethod
    def around(cls, low_m: Float64, high_m: Float64, voxel_m: float) -> VoxelGrid:
        """Return the smallest block of `voxel_m` voxels that holds the box between two (3,) corners."""
        shape = np.maximum(np.ceil((high_m - low_m) / voxel_m - 1e-6).astype(int), 4)
        low = 0.5 * (low_m + high_m) - 0.5 * shape * voxel_m
        return cls(tuple(map(int, shape)), tuple(map(float, low)), float(voxel_m))  # type: ignore[arg-type]

    def axes(self) -> tuple[Float32, Float32, Float32]:
        """Return the coordinates of voxel centres along x, y and z, metres."""
        x, y, z = (
            ((np.arange(n) + 0.5) * self.voxel_m + low).astype(np.float32)
            for n, low in zip(self.shape, self.low_m, strict=True)
        )
        return x, y, z

    def centres(self) -> Float32:
        """Return (X, Y, Z, 3) voxel centres in the object frame, metres."""
        return np.stack(np.meshgrid(*self.axes(), indexing="ij"), axis=-1)

    def index(self, points_obj: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return (..., 3) continuous voxel indices of points; integers are voxel centres."""
        return (points_obj - np.asarray(self.low_m, points_obj.dtype)) / self.voxel_m - 0.5

    def points(self, index: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the points, metres in the object frame, of (..., 3) continuous voxel indices."""
        return (index + 0.5) * self.voxel_m + np.asarray(self.low_m)

    def nearest(self, points_obj: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.intp], ...]:
        """Return the (x, y, z) indices of the voxels that hold (N, 3) points; points outside go to the border."""
        index = np.clip(np.rint(self.index(points_obj)), 0, np.array(self.shape) - 1).astype(np.intp)
        return tuple(np.moveaxis(index, -1, 0))

    def inside(self, points_obj: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Return which of (..., 3) points lie in the block."""
        index = self.index(points_obj)
        return np.all((index >= -0.5) & (index <= np.array(self.shape) - 0.5), axis=-1)

    def sample(self, volume: Float32, points_obj: npt.NDArray[np.floating]) -> Float32:
        """Interpolate a volume trilinearly at (M, 3) points; the border value holds outside the outer voxel centres."""
        index = np.clip(self.index(points_obj), 0, np.array(self.shape) - 1 - 1e-3).astype(np.float32)
        low = index.astype(np.intp)
        f = index - low
        x, y, z = np.moveaxis(low, -1, 0)
        fx, fy, fz = np.moveaxis(f, -1, 0)
        low_z = volume[x, y, z] * (1 - fz) + volume[x, y, z + 1] * fz
        low_z2 = volume[x, y + 1, z] * (1 - fz) + volume[x, y + 1, z + 1] * fz
        high_z = volume[x + 1, y, z] * (1 - fz) + volume[x + 1, y, z + 1] * fz
        high_z2 = volume[x + 1, y + 1, z] * (1 - fz) + volume[x + 1, y + 1, z + 1] * fz
        low_y = low_z * (1 - fy) + low_z2 * fy
        high_y = high_z * (1 - fy) + high_z2 * fy
        return low_y * (1 - fx) + high_y * fx

    def resample(self, volume: Float32, target: VoxelGrid) -> Float32:
        """Interpolate a volume of this grid at the voxel centres of another grid of the same frame, trilinearly."""
        for axis, coordinates in enumerate(target.axes()):
            index = (coordinates - self.low_m[axis]) / self.voxel_m - 0.5
            index = np.clip(index, 0, self.shape[axis] - 1 - 1e-3).astype(np.float32)
            low = index.astype(np.intp)
            f = (index - low).reshape([-1 if a == axis else 1 for a in range(3)])
            volume = volume.take(low, axis) * (1 - f) + volume.take(low + 1, axis) * f
        return volume


def solid_distances(inside: npt.NDArray[np.bool_], voxel_m: float, *, threads: int = 0) -> npt.NDArray[np.floating]:
    """Return the signed distance, (X, Y, Z) metres, of voxel centres from the rim of a solid's voxels, negative inside.

    `threads` is 0 for all cores.
    """
    import edt

    half = 0.5 * voxel_m
    inward, outward = (edt.edt(part, parallel=threads) * voxel_m for part in (inside, ~inside))
    return np.where(inside, half - inward, outward - half)
