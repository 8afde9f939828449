"""The cameras that SparseFusion is asked for: around the object, as high and as far as those that took its pictures."""

from __future__ import annotations

import numpy as np

from sparse_recon.complete.latent.cameras import SphericalCamera, focal_of_sphere, square_lens
from sparse_recon.types import CameraIntrinsics, Float64

# By turns so much lower and higher than the others: what the authors draw heights from.
LATITUDE_RAD = 0.17
LOWEST_RAD, HIGHEST_RAD = np.deg2rad(-10.0), np.deg2rad(60.0)
# Share of a picture's side that the sphere around an object takes at most.
FILL = 0.95
# Views whose directions are farther apart than this hardly show the same surface.
OVERLAP_RAD = np.deg2rad(100.0)


def camera_ring(centres: Float64, count: int) -> list[SphericalCamera]:
    """Return `count` cameras evenly around the object, the first from the azimuth of the first given.

    Parameters
    ----------
    centres : (N, 3) of the cameras that took pictures, from the object's middle, z up, in longest sides. The ring is as
        high as they are in the mean, but not lower than `LOWEST_RAD` nor higher than `HIGHEST_RAD`.
    """
    given = [SphericalCamera.at(centre) for centre in centres]
    radius = float(np.mean([camera.radius for camera in given]))
    height = float(np.clip(mean_elevation_rad(centres), LOWEST_RAD, HIGHEST_RAD))
    return [
        SphericalCamera(
            0.5 * np.pi - (height + LATITUDE_RAD * (1 if k % 2 else -1)),
            given[0].azimuth_rad + 2 * np.pi * k / count,
            radius,
        )
        for k in range(count)
    ]


def mean_elevation_rad(centres: Float64) -> float:
    """Return how high cameras at these places (N, 3) stand above the horizon of the object's middle, in the mean."""
    return float(np.mean([SphericalCamera.at(centre).elevation_rad for centre in centres]))


def ring_lens(distance: float, object_radius: float, side: int) -> CameraIntrinsics:
    """Return the lens of a picture of `side` pixels that shows all of a sphere.

    Parameters
    ----------
    distance : of the camera from the sphere's middle, at which it looks.
    object_radius : of the sphere, in the unit of the distance.
    """
    return square_lens(side, side * float(focal_of_sphere(np.float64(distance), object_radius, np.float64(FILL))))


def least_turn_rad(centres: Float64) -> float:
    """Return the largest angle from the direction of any camera to its nearest neighbour's; 0 for a single one."""
    towards = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = np.clip(towards @ towards.T, -1.0, 1.0) - 3.0 * np.eye(len(towards))
    return float(np.arccos(cosines.max(axis=1)).max()) if len(towards) > 1 else 0.0
