"""Where the cameras of a training set stand: policies as data, one for each way of drawing views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.latent.cameras import SphericalCamera

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
    """

    count: int
    azimuth: str
    elevation_deg: tuple[float, float]
    radius: tuple[float, float] = (DISTANCE, DISTANCE)
    by_area: bool = False
    turn_deg: float = 360.0

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
        radius = rng.uniform(*self.radius, self.count)
        return [
            SphericalCamera(float(0.5 * np.pi - e), float(a), float(r))
            for e, a, r in zip(elevation, azimuth, radius, strict=True)
        ]

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


POLICIES: dict[str, CameraPolicy] = {
    # Zero-1-to-3 (paper, section 3.1): 12 random views of the whole sphere, 1.5 to 2.2 units away.
    "sphere": CameraPolicy(CameraGroup(12, "random", (-90.0, 90.0), (1.5, 2.2), by_area=True)),
    # The same without views from below, which no robot has of what stands on a table.
    "upper": CameraPolicy(CameraGroup(12, "random", (-15.0, 80.0), (1.5, 2.2), by_area=True)),
    # SyncDreamer (paper, section 4.1): 16 targets at 30 degrees, 16 inputs at the same azimuths.
    "ring16": CameraPolicy(CameraGroup(16, "even", (30.0, 30.0)), CameraGroup(16, "even", (-10.0, 40.0))),
    # A camera that moves once around, rising and sinking: for models of video.
    "path": CameraPolicy(CameraGroup(32, "path", (5.0, 45.0))),
    # Few views without an order: for models that take several.
    "unposed": CameraPolicy(CameraGroup(8, "random", (0.0, 60.0), (1.5, 2.2))),
}
