"""Cameras that Zero-1-to-3 was trained with, and those that it is asked for."""

from __future__ import annotations

import numpy as np

from sparse_recon.complete.latent.cameras import SphericalCamera, TrainedCameras

# Distances of its training in longest sides of the object (paper, section 3.1); it was hardly trained below the table.
TRAINED = TrainedCameras("zero123", 1.5, 2.2, np.deg2rad(-15.0))


def camera_ring(source: SphericalCamera, count: int) -> list[SphericalCamera]:
    """Return `count` cameras around the object: evenly turned away from `source`, by turns lower and higher, one above.

    Each keeps the radius of `source`, which the model is surest of. The last looks down from 75 degrees onto the far
    side if there are more than three.
    """
    above = 1 if count > 3 else 0
    around = count - above
    cameras = [
        SphericalCamera(
            0.5 * np.pi - np.deg2rad((35.0, 5.0)[k % 2]),
            source.azimuth_rad + 2 * np.pi * (k + 1) / (around + 1),
            source.radius,
        )
        for k in range(around)
    ]
    if above:
        cameras.append(SphericalCamera(np.deg2rad(15.0), source.azimuth_rad + np.pi, source.radius))
    return cameras
