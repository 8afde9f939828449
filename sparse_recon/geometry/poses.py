"""Rigid transforms as (4, 4) matrices; `T_a_b` maps points of frame b into frame a."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float64


def inverse(T_a_b: Float64) -> Float64:
    """Return `T_b_a`, (4, 4), of a rigid transform."""
    R = T_a_b[:3, :3]
    T_b_a = np.eye(4)
    T_b_a[:3, :3] = R.T
    T_b_a[:3, 3] = -R.T @ T_a_b[:3, 3]
    return T_b_a


def transform_points(T_a_b: Float64, points_b: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Map (..., 3) points of frame b into frame a; the dtype is kept."""
    R = T_a_b[:3, :3].astype(points_b.dtype)
    return points_b @ R.T + T_a_b[:3, 3].astype(points_b.dtype)


def rotation_angle(T: Float64) -> float:
    """Return by how much a rotation (3, 3), or that of a (4, 4) transform, turns, radians in [0, pi]."""
    return float(np.arccos(np.clip(0.5 * (np.trace(T[:3, :3]) - 1.0), -1.0, 1.0)))


def pose(R: npt.NDArray[np.floating], t: npt.ArrayLike) -> Float64:
    """Put a (3, 3) rotation and a (3,) translation in metres into one (4, 4) transform."""
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = t
    return T


def quat_xyzw(R: Float64) -> tuple[float, float, float, float]:
    """Return the unit quaternion of a (3, 3) rotation, as SciPy does in twenty times as long.

    The largest of the four is found first, so that nothing small is divided by (Shepperd, 1978).
    """
    ((a, b, c), (d, e, f), (g, h, i)) = R.tolist()
    squares = (1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i)  # 4 x^2, 4 y^2, 4 z^2, 4 w^2
    largest = max(range(4), key=squares.__getitem__)
    x, y, z, w = (
        (squares[0], b + d, c + g, h - f),
        (b + d, squares[1], f + h, c - g),
        (c + g, f + h, squares[2], d - b),
        (h - f, c - g, d - b, squares[3]),
    )[largest]
    length = math.sqrt(x * x + y * y + z * z + w * w)
    return x / length, y / length, z / length, w / length


def look_at(
    eye_world: npt.ArrayLike, target_world: npt.ArrayLike, up_world: npt.ArrayLike = (0.0, 0.0, 1.0)
) -> Float64:
    """Return `T_world_cam` of an optical frame (z towards the target, y down) at `eye_world`; all (3,), metres."""
    eye = np.asarray(eye_world, dtype=np.float64)
    z = _unit(np.asarray(target_world, dtype=np.float64) - eye)
    up = np.asarray(up_world, dtype=np.float64)
    x = np.cross(z, up)
    if np.linalg.norm(x) < 1e-6:  # looking along the up axis: any horizontal x will do
        x = np.cross(z, np.roll(up, 1))
    x = _unit(x)
    return pose(np.stack([x, np.cross(z, x), z], axis=1), eye)


def rotation_to_up(up: npt.ArrayLike, forward: npt.ArrayLike | None = None) -> Float64:
    """Return R (3, 3) whose columns are a right-handed frame with z = `up` and x the horizontal part of `forward`."""
    z = _unit(np.asarray(up, dtype=np.float64))
    x = np.asarray(forward if forward is not None else (1.0, 0.0, 0.0), dtype=np.float64)
    x = x - (x @ z) * z
    if np.linalg.norm(x) < 1e-6:
        x = np.roll(z, 1) - (np.roll(z, 1) @ z) * z
    x = _unit(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _unit(v: Float64) -> Float64:
    return v / np.linalg.norm(v)
