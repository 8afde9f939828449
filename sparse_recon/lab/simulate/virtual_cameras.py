"""Where simulated cameras stand: seeded rings that look at a point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Float64

Range = tuple[float, float]


def depth_camera(width: int = 640, height: int = 480, horizontal_fov_deg: float = 55.0) -> CameraIntrinsics:
    """Return a pinhole camera with the field of view of a common RGB-D camera's colour image."""
    f = (width / 2) / np.tan(np.deg2rad(horizontal_fov_deg) / 2)
    return CameraIntrinsics(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]]))


def camera_ring(
    count: int,
    rng: np.random.Generator,
    target_world: npt.ArrayLike,
    *,
    distance_m: Range = (0.6, 0.75),
    elevation_deg: Range = (28.0, 48.0),
    azimuth_deg: Range = (0.0, 360.0),
    jitter_deg: float = 6.0,
    target_jitter_m: float = 0.01,
) -> tuple[Float64, ...]:
    """Return `count` poses `T_world_cam` (4, 4), evenly spread in azimuth and drawn from `rng` in the rest.

    Parameters
    ----------
    target_world : (3,) metres, the point that the cameras look at, give or take `target_jitter_m`.
    distance_m, elevation_deg : ranges, from the target and above the horizontal.
    azimuth_deg : first and last azimuth about z; a full turn is divided without repeating its start.
    jitter_deg : largest deviation from the even spread.

    Raises
    ------
    InputError
        If `count` < 1, a range falls, a distance is not positive, or an elevation lies beyond +-90 deg.
    """
    ranges = {"distance_m": distance_m, "elevation_deg": elevation_deg, "azimuth_deg": azimuth_deg}
    for name, (low, high) in ranges.items():
        if low > high:
            raise InputError(ErrorCode.USAGE, f"{name} must be (low, high), got {(low, high)}")
    if count < 1 or distance_m[0] <= 0 or max(abs(e) for e in elevation_deg) > 90:
        raise InputError(
            ErrorCode.USAGE,
            f"a ring needs count >= 1, distance > 0 m and elevation within +-90 deg, got {count}, {distance_m} m "
            f"and {elevation_deg} deg",
        )
    start, end = azimuth_deg
    whole_turn = end - start >= 360.0 - 1e-6  # of floats: 0.1 + 360 - 0.1 is less than 360
    azimuths = np.deg2rad(np.linspace(start, end, count, endpoint=not whole_turn))
    poses = []
    for azimuth in azimuths:
        a = azimuth + np.deg2rad(rng.uniform(-jitter_deg, jitter_deg))
        e = np.deg2rad(rng.uniform(*elevation_deg))
        target = np.asarray(target_world, dtype=np.float64) + rng.uniform(-1, 1, 3) * target_jitter_m
        ray = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        poses.append(look_at(target + rng.uniform(*distance_m) * ray, target))
    return tuple(poses)
