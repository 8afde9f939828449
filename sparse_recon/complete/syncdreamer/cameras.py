"""The sixteen cameras of SyncDreamer: evenly around the object, 30 degrees high, looking at its centre, z up."""

from __future__ import annotations

import numpy as np

from sparse_recon.complete.latent.cameras import FOCAL_PX, IMAGE_SIDE, SphericalCamera, TrainedCameras
from sparse_recon.types import Float32, Float64

# As the authors rendered their training views; distances in longest sides of the object.
ELEVATION_RAD = np.deg2rad(30.0)
DISTANCE = 1.5
# Its input pictures were taken from the same distance.
TRAINED = TrainedCameras("syncdreamer", DISTANCE, DISTANCE, np.deg2rad(-10.0), np.deg2rad(40.0))


def azimuths(count: int = 16) -> Float64:
    """Return (V,) radians in [-pi, pi), relative to the input picture's, which is the first."""
    return np.asarray((2 * np.pi * np.arange(count) / count + np.pi) % (2 * np.pi) - np.pi)


def T_cam_obj(azimuth_rad: float, elevation_rad: float = ELEVATION_RAD, distance: float = DISTANCE) -> Float64:
    """Return (4, 4), the object's centre frame (z up) in the optical frame: x right, y down, z forward."""
    sin_a, cos_a = np.sin(azimuth_rad), np.cos(azimuth_rad)
    sin_e, cos_e = np.sin(elevation_rad), np.cos(elevation_rad)
    T = np.eye(4)
    T[0, :3] = -sin_a, cos_a, 0.0
    T[1, :3] = sin_e * cos_a, sin_e * sin_a, -cos_e
    T[2, :3] = np.cross(T[0, :3], T[1, :3])
    T[2, 3] = distance
    return T


def view_poses(count: int = 16) -> Float32:
    """Return the extrinsics (V, 3, 4) of all views, object to optical frame."""
    return np.stack([T_cam_obj(a)[:3] for a in azimuths(count)]).astype(np.float32)


def view_cameras(source_azimuth_rad: float, count: int = 16) -> list[SphericalCamera]:
    """Return the cameras of all views of an object whose input picture was taken from an azimuth."""
    return [SphericalCamera(0.5 * np.pi - ELEVATION_RAD, source_azimuth_rad + a, DISTANCE) for a in azimuths(count)]


def network_intrinsics(side: int) -> Float32:
    """Return (3, 3) for a picture or map of `side` pixels as the networks project with it.

    Its principal point is half of the side, at integer pixel centres: half a pixel off the middle of a picture, as
    released. Pictures themselves are taken with `complete.latent.cameras.model_intrinsics`.
    """
    focal = FOCAL_PX * side / IMAGE_SIDE
    return np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]], np.float32)


def view_tokens(elevation_rad: float, count: int = 16) -> Float32:
    """Return (V, 4) that tell each view from the input picture: difference of elevation, sine, cosine of azimuth, 0.

    Elevations are differenced with the sign of Zero-1-to-3's polar angles.
    """
    turn = azimuths(count) - azimuths(count)[0]
    lower = np.full(count, elevation_rad - ELEVATION_RAD)
    return np.stack([lower, np.sin(turn), np.cos(turn), np.zeros(count)], axis=1).astype(np.float32)
