"""Cameras as models of one object know them: on spheres around an object of size one, looking at its centre, z up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Float32, Float64

# Lens of 35 mm on a sensor of 32 mm; pixel centres at integers, so that the middle of 256 pixels is at 127.5.
IMAGE_SIDE = 256
FOCAL_PX = IMAGE_SIDE * 35.0 / 32.0
WIDEST_RAD = np.deg2rad(60.0)


@dataclass(frozen=True)
class SphericalCamera:
    """A camera that looks at the object's centre.

    Attributes
    ----------
    polar_rad : angle from +z: 0 above, pi / 2 level.
    azimuth_rad : angle from +x about +z.
    radius : distance from the centre, in longest sides of the object.
    """

    polar_rad: float
    azimuth_rad: float
    radius: float

    @classmethod
    def at(cls, centre: Sequence[float] | Float64) -> SphericalCamera:
        """Return the camera at a place (3,), relative to the object's centre; above, its azimuth is 0."""
        x, y, z = (float(v) for v in centre)
        across = float(np.hypot(x, y))
        return cls(float(np.arctan2(across, z)), float(np.arctan2(y, x)), float(np.sqrt(x * x + y * y + z * z)))

    @property
    def elevation_rad(self) -> float:
        return 0.5 * np.pi - self.polar_rad

    def centre(self) -> Float64:
        """Return the place (3,) of the camera, relative to the object's centre."""
        sin = np.sin(self.polar_rad)
        return self.radius * np.array(
            [sin * np.cos(self.azimuth_rad), sin * np.sin(self.azimuth_rad), np.cos(self.polar_rad)]
        )

    def T_obj_cam(self, unit_m: float = 1.0) -> Float64:
        """Return (4, 4), the optical frame (x right, y down, z forward) relative to the object's centre."""
        return look_at(unit_m * self.centre(), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class TrainedCameras:
    """The cameras of the pictures that a model was trained on.

    Attributes
    ----------
    model : its name, for sentences to people.
    min_radius, max_radius : distances from the centre, in longest sides of the object.
    min_elevation_rad, max_elevation_rad : heights over the horizon of the object's centre.
    """

    model: str
    min_radius: float
    max_radius: float
    min_elevation_rad: float = -0.5 * np.pi
    max_elevation_rad: float = 0.5 * np.pi


def square_lens(side: int, focal_px: float) -> CameraIntrinsics:
    """Return the lens of a picture of `side` pixels whose optical axis goes through its middle."""
    middle = 0.5 * side - 0.5
    return CameraIntrinsics(side, side, np.array([[focal_px, 0, middle], [0, focal_px, middle], [0, 0, 1.0]]))


def focal_of_sphere(distance: Float64, radius: float, fill: Float64) -> Float64:
    """Return the focal length (N,), in sides of a picture, by which a sphere at a distance (N,) takes a share of it.

    Wherever the camera stands in or almost in the sphere, half of the lens's angle is `WIDEST_RAD`.

    Parameters
    ----------
    radius : of the sphere, in the unit of the distances.
    fill : (N,) shares of the picture's side.
    """
    half_rad = np.arcsin(np.minimum(radius / np.asarray(distance), np.sin(WIDEST_RAD)))
    return np.asarray(0.5 * fill / np.tan(half_rad), np.float64)


def pose_vector(source: SphericalCamera, target: SphericalCamera) -> Float32:
    """Return (4,): difference of polar angle, sine and cosine of that of azimuth, difference of radius.

    Plain differences, as Zero-1-to-3 released them; no rotations are composed.
    """
    turn = (target.azimuth_rad - source.azimuth_rad) % (2 * np.pi)
    polar = target.polar_rad - source.polar_rad
    return np.array([polar, np.sin(turn), np.cos(turn), target.radius - source.radius], np.float32)


def pose_vectors(source: SphericalCamera, targets: Sequence[SphericalCamera]) -> Float32:
    """Return (B, 4), the `pose_vector` of each target."""
    return np.stack([pose_vector(source, target) for target in targets])


def model_intrinsics(side: int = IMAGE_SIDE) -> CameraIntrinsics:
    """Return the pinhole camera that all images of these models are taken with, for an image of `side` pixels."""
    return square_lens(side, FOCAL_PX * side / IMAGE_SIDE)
