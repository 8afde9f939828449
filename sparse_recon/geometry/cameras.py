"""Pinhole cameras: pixels, rays and depth. Pixel centres are at integer coordinates; optical frame of REP 103."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Bool, CameraIntrinsics, Float32


def pixel_rays(intrinsics: CameraIntrinsics, window: tuple[slice, slice] = (slice(None), slice(None))) -> Float32:
    """Return (H, W, 3) float32 directions in the optical frame with z = 1, so that `point = depth_m * ray`.

    `window` limits them to some rows and columns.
    """
    u = (np.arange(intrinsics.width, dtype=np.float32)[window[1]] - intrinsics.cx) / intrinsics.fx
    v = (np.arange(intrinsics.height, dtype=np.float32)[window[0]] - intrinsics.cy) / intrinsics.fy
    rays = np.ones((len(v), len(u), 3), dtype=np.float32)
    rays[..., 0] = u[None, :]
    rays[..., 1] = v[:, None]
    return rays


def unproject_depth(depth_m: Float32, intrinsics: CameraIntrinsics, mask: Bool | None = None) -> Float32:
    """Turn a depth image into points in the optical frame.

    Parameters
    ----------
    depth_m : (H, W) float32, metres along z; NaN or <= 0 is invalid (REP 117, REP 118).
    intrinsics : of the depth image.
    mask : (H, W) bool, pixels wanted; None for all.

    Returns
    -------
    (N, 3) float32 points, metres, x right, y down, z forward (REP 103); valid pixels in row order.
    """
    valid = depth_m > 0
    if mask is not None:
        valid &= mask
    v, u = np.nonzero(valid)
    z = depth_m[v, u]
    x = (u.astype(np.float32) - np.float32(intrinsics.cx)) / np.float32(intrinsics.fx)
    y = (v.astype(np.float32) - np.float32(intrinsics.cy)) / np.float32(intrinsics.fy)
    return np.stack([x * z, y * z, z], axis=1)


def project_points(points_cam: npt.NDArray[np.floating], intrinsics: CameraIntrinsics) -> npt.NDArray[np.floating]:
    """Project (..., 3) points of the optical frame to (..., 2) pixel coordinates; NaN behind the camera."""
    z = points_cam[..., 2]
    safe = np.where(z > 1e-6, z, np.nan)
    u = intrinsics.fx * points_cam[..., 0] / safe + intrinsics.cx
    v = intrinsics.fy * points_cam[..., 1] / safe + intrinsics.cy
    return np.stack([u, v], axis=-1)


def window_of_points(points_cam: npt.NDArray[np.floating], intrinsics: CameraIntrinsics) -> tuple[slice, slice] | None:
    """Return the rows and columns that can show a convex body of these corners (N, 3), or None where none can."""
    if np.all(points_cam[:, 2] <= 0):
        return None
    if np.any(points_cam[:, 2] <= 0):  # the camera is inside or beside it
        return slice(0, intrinsics.height), slice(0, intrinsics.width)
    uv = project_points(points_cam, intrinsics)
    left, top = np.maximum(np.floor(uv.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(uv.max(axis=0)).astype(int) + 1, (intrinsics.width, intrinsics.height))
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def cropped(intrinsics: CameraIntrinsics, left: int, top: int, width: int, height: int) -> CameraIntrinsics:
    """Return the camera of the pixel rectangle whose first pixel is (left, top)."""
    K = intrinsics.K.copy()
    K[0, 2] -= left
    K[1, 2] -= top
    return CameraIntrinsics(width, height, K)


def every_nth_pixel(intrinsics: CameraIntrinsics, n: int) -> CameraIntrinsics:
    """Return the camera of `image[::n, ::n]`."""
    K = intrinsics.K.copy()
    K[:2] /= n  # counted from pixel (0, 0), so the principal point scales without a shift
    return CameraIntrinsics(-(-intrinsics.width // n), -(-intrinsics.height // n), K)


def scaled(intrinsics: CameraIntrinsics, width: int, height: int) -> CameraIntrinsics:
    """Return the camera of the same image resized to `width` x `height` pixels."""
    sx, sy = width / intrinsics.width, height / intrinsics.height
    K = intrinsics.K.copy()
    # Pixel centres are at integers, so the image's left edge is at -0.5.
    K[0] *= sx
    K[1] *= sy
    K[0, 2] = (intrinsics.cx + 0.5) * sx - 0.5
    K[1, 2] = (intrinsics.cy + 0.5) * sy - 0.5
    return CameraIntrinsics(width, height, K)
