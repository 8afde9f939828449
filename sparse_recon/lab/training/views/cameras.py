"""Where the cameras of a training set stand: policies as data, one for each way of drawing views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.latent.cameras import FOCAL_PX, IMAGE_SIDE, SphericalCamera, focal_of_sphere
from sparse_recon.types import Float32, Float64

# Lens and distance as published for Zero-1-to-3 and SyncDreamer: longest side of the object 1, distance 1.5 units.
DISTANCE = 1.5


@dataclass(frozen=True)
class CameraGroup:
    """Cameras that look at the object's centre, z up.

    Attributes
    ----------
    count : of cameras.
    azimuth : `random`, `even` (from +x, as published), or `path` (even over `turn_deg` from a random start).
    elevation_deg : lowest and highest; random ones are uniform in it, on a path they rise and fall once.
    radius : lowest and highest distance from the centre, in longest sides of the object.
    by_area : random elevations are uniform over the sphere's surface instead of over the angle.
    turn_deg : azimuth that a path spans.
    spread : where above 0, the cameras of one object are about equally far away: a distance is drawn for it, uniform in
        its logarithm, and theirs deviate by this share.
    fill : where given, each camera has a lens of its own, by which the sphere around the object takes a share of the
        picture's side that is drawn between these; else all have the lens of the published models.
    """

    count: int
    azimuth: str
    elevation_deg: tuple[float, float]
    radius: tuple[float, float] = (DISTANCE, DISTANCE)
    by_area: bool = False
    turn_deg: float = 360.0
    spread: float = 0.0
    fill: tuple[float, float] | None = None

    def draw(self, rng: np.random.Generator) -> list[SphericalCamera]:
        """Draw the cameras."""
        azimuth = self._azimuths(rng)
        low, high = np.deg2rad(self.elevation_deg)
        if self.azimuth == "path":
            elevation = low + (high - low) * 0.5 * (1 - np.cos(2 * np.pi * np.arange(self.count) / self.count))
        elif self.by_area:
            elevation = np.arcsin(rng.uniform(np.sin(low), np.sin(high), self.count))
        else:
            elevation = rng.uniform(low, high, self.count)
        radius = self._distances(rng)
        return [
            SphericalCamera(float(0.5 * np.pi - e), float(a), float(r))
            for e, a, r in zip(elevation, azimuth, radius, strict=True)
        ]

    def lenses(self, cameras: Sequence[SphericalCamera], object_radius: float, rng: np.random.Generator) -> Float32:
        """Return the focal length (N,) of each camera, in sides of its picture.

        Parameters
        ----------
        object_radius : of the sphere around the object's centre that holds it, in longest sides.
        """
        if self.fill is None:
            return np.full(len(cameras), FOCAL_PX / IMAGE_SIDE, np.float32)
        distances = np.array([camera.radius for camera in cameras])
        return focal_of_sphere(distances, object_radius, rng.uniform(*self.fill, len(cameras))).astype(np.float32)

    def _distances(self, rng: np.random.Generator) -> Float64:
        if not self.spread:
            return rng.uniform(*self.radius, self.count)
        low, high = self.radius
        middle = np.exp(rng.uniform(np.log(low), np.log(high)))
        return np.clip(middle * np.exp(rng.normal(0.0, self.spread, self.count)), low, high)

    def _azimuths(self, rng: np.random.Generator) -> np.ndarray:
        if self.azimuth == "random":
            return rng.uniform(0, 2 * np.pi, self.count)
        if self.azimuth == "even":
            return 2 * np.pi * np.arange(self.count) / self.count
        return rng.uniform(0, 2 * np.pi) + np.deg2rad(self.turn_deg) * np.arange(self.count) / self.count


@dataclass(frozen=True)
class CameraPolicy:
    """The views of one object.

    Attributes
    ----------
    targets : views to be drawn.
    inputs : views to be shown; none where any view may be either.
    """

    targets: CameraGroup
    inputs: CameraGroup | None = None

    @property
    def count(self) -> int:
        """Number of views, targets first."""
        return self.targets.count + (self.inputs.count if self.inputs else 0)

    def draw(self, rng: np.random.Generator) -> list[SphericalCamera]:
        """Draw the cameras of one object, targets first."""
        return self.targets.draw(rng) + (self.inputs.draw(rng) if self.inputs else [])

    def lenses(self, cameras: Sequence[SphericalCamera], object_radius: float, rng: np.random.Generator) -> Float32:
        """See `CameraGroup.lenses`; of the drawn cameras of one object, targets first."""
        count = self.targets.count
        inputs = [self.inputs.lenses(cameras[count:], object_radius, rng)] if self.inputs else []
        return np.concatenate([self.targets.lenses(cameras[:count], object_radius, rng), *inputs])


POLICIES: dict[str, CameraPolicy] = {
    # Zero-1-to-3 (paper, section 3.1): 12 random views of the whole sphere, 1.5 to 2.2 units away.
    "sphere": CameraPolicy(CameraGroup(12, "random", (-90.0, 90.0), (1.5, 2.2), by_area=True)),
    # The same without views from below, which no robot has of what stands on a table.
    "upper": CameraPolicy(CameraGroup(12, "random", (-15.0, 80.0), (1.5, 2.2), by_area=True)),
    # SyncDreamer (paper, section 4.1): 16 targets at 30 degrees, 16 inputs at the same azimuths.
    "ring16": CameraPolicy(CameraGroup(16, "even", (30.0, 30.0)), CameraGroup(16, "even", (-10.0, 40.0))),
    # SparseFusion: views of which some are shown and others are asked for, from where a robot's cameras may be, with
    # pictures that are cut around the object.
    "posed": CameraPolicy(CameraGroup(12, "random", (-10.0, 65.0), (1.5, 8.0), spread=0.15, fill=(0.7, 1.05))),
    # A camera that moves once around, rising and sinking: for models of video.
    "path": CameraPolicy(CameraGroup(32, "path", (5.0, 45.0))),
    # Few views without an order: for models that take several.
    "unposed": CameraPolicy(CameraGroup(8, "random", (0.0, 60.0), (1.5, 2.2))),
}
