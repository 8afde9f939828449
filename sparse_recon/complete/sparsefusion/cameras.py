"""Cameras as SparseFusion knows them: PyTorch3D's rows and square pictures from 1 to -1, lengths in scene units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.geometry.poses import inverse
from sparse_recon.types import CameraIntrinsics, Float64

# Optical frames look along +z with x right and y down; PyTorch3D's along +z with x left and y up.
_TURN = np.diag([-1.0, -1.0, 1.0])
# Rays are looked at so far before and behind the mean distance of the cameras from the scene's origin (CO3D, v2).
REACH = 5.0
# Longest side of an object in scene units. Those of CO3D are scaled so that points of a scene deviate by about one.
OBJECT_UNITS = 4.0
# Rays begin no nearer than this share of the mean distance: cameras may stand nearer than those of CO3D do.
LEAST_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class NdcCameras:
    """N cameras as PyTorch3D has them: rows are transformed, `p_cam = p @ R + T`.

    Attributes
    ----------
    R : (N, 3, 3).
    T : (N, 3), scene units.
    focal, principal : (N, 2), in halves of a picture's shorter side; the principal point from its middle, left and up.
    """

    R: Float64
    T: Float64
    focal: Float64
    principal: Float64

    def __len__(self) -> int:
        return len(self.R)

    def __getitem__(self, rows: slice | Sequence[int]) -> NdcCameras:
        return NdcCameras(self.R[rows], self.T[rows], self.focal[rows], self.principal[rows])

    def centres(self) -> Float64:
        """Return (N, 3)."""
        return -np.einsum("nj,nij->ni", self.T, self.R)

    def matrices(self) -> Float64:
        """Return (N, 4, 4), which rows (x, y, z, 1) are multiplied with from the left."""
        M = np.tile(np.eye(4), (len(self), 1, 1))
        M[:, :3, :3], M[:, 3, :3] = self.R, self.T
        return M

    def relative_to(self, query: NdcCameras) -> NdcCameras:
        """Return the same cameras where another one, alone, stands at the origin and looks along +z."""
        M = np.linalg.inv(query.matrices()[0]) @ self.matrices()
        return NdcCameras(M[:, :3, :3], M[:, 3, :3], self.focal, self.principal)

    def T_scene_cam(self, unit_m: float = 1.0) -> Float64:
        """Return (N, 4, 4), optical frames in the scene, metres if `unit_m` is the size of a scene unit."""
        T_cam_scene = np.tile(np.eye(4), (len(self), 1, 1))
        T_cam_scene[:, :3, :3] = _TURN @ np.swapaxes(self.R, 1, 2)
        T_cam_scene[:, :3, 3] = unit_m * self.T @ _TURN
        return np.stack([inverse(T) for T in T_cam_scene])

    def pixels(self, width: int, height: int) -> list[CameraIntrinsics]:
        """Return the pinhole cameras of pictures of this size, pixel centres at integers."""
        half = 0.5 * min(width, height)
        found = []
        for (fx, fy), (px, py) in zip(self.focal * half, self.principal * half, strict=True):
            K = np.array([[fx, 0, 0.5 * width - px - 0.5], [0, fy, 0.5 * height - py - 0.5], [0, 0, 1.0]])
            found.append(CameraIntrinsics(width, height, K))
        return found


def ndc_cameras(
    T_scene_cam: Float64 | Sequence[Float64], intrinsics: Sequence[CameraIntrinsics], unit_m: float = 1.0
) -> NdcCameras:
    """Return cameras from optical frames.

    Parameters
    ----------
    T_scene_cam : (N, 4, 4), x right, y down, z forward, metres.
    intrinsics : of their pictures, undistorted, pixel centres at integers.
    unit_m : size of a scene unit in metres.
    """
    T_cam_scene = np.stack([inverse(np.asarray(T, np.float64)) for T in T_scene_cam])
    halves = np.array([0.5 * min(lens.width, lens.height) for lens in intrinsics])[:, None]
    middles = np.array([[0.5 * lens.width, 0.5 * lens.height] for lens in intrinsics])
    focal = np.array([[lens.fx, lens.fy] for lens in intrinsics]) / halves
    # PyTorch3D counts pixels from the border of the picture.
    principal = (middles - np.array([[lens.cx + 0.5, lens.cy + 0.5] for lens in intrinsics])) / halves
    R = np.swapaxes(_TURN @ T_cam_scene[:, :3, :3], 1, 2)
    return NdcCameras(R, T_cam_scene[:, :3, 3] @ _TURN / unit_m, focal, principal)


def depth_range(cameras: NdcCameras) -> tuple[float, float]:
    """Return the nearest and farthest depth of the points on rays, scene units, the scene's origin in the object."""
    middle = float(np.linalg.norm(cameras.centres(), axis=1).mean())
    return max(middle - REACH, LEAST_SHARE * middle), middle + REACH
