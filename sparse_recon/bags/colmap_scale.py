"""Whether depth images measure what the points of a COLMAP model say, or how many times that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.bags.colmap_model import ColmapImage, ColmapModel
from sparse_recon.geometry.poses import transform_points
from sparse_recon.types import Float32, Float64

_IMAGES, _MIN_POINTS = 12, 20  # that are looked at, and that tell something
_SAME = 0.03  # depth cameras and georegistered models are off by less
_SPREAD = 1.25  # upper over lower quartile of the factor, where it is one for all


@dataclass(frozen=True)
class Scale:
    """Depth over that of the model's points.

    Attributes
    ----------
    factor : median of depth over that of the model, in its unit.
    expected : the factor that was assumed: metres a unit.
    low, high : quartiles of the factor.
    points : that were compared.
    """

    factor: float
    expected: float
    low: float
    high: float
    points: int

    @property
    def one_factor(self) -> bool:
        """Whether all points have it."""
        return self.high <= _SPREAD * self.low

    @property
    def fits(self) -> bool:
        """Whether depth and points agree."""
        return self.one_factor and abs(self.factor / self.expected - 1.0) <= _SAME

    @property
    def text(self) -> str:
        """What was found, for people."""
        low, median, high = (value / self.expected for value in (self.low, self.factor, self.high))
        found = f"depth images measure {median:.4g} times the depth of the model's points"
        spread = f"{self.points} points, half of them within {low:.3g} to {high:.3g}"
        return f"{found} ({spread}{'' if self.one_factor else ': there is no one factor'})"


def measured_scale(
    model: ColmapModel,
    images: Sequence[ColmapImage],
    depth_of: Callable[[ColmapImage], Float32 | None],
    expected: float,
) -> Scale | None:
    """Compare depth images with the model's points where images saw them.

    Parameters
    ----------
    depth_of : returns (H, W) float32 metres of the raw image, in any resolution, NaN invalid.
    expected : metres a unit of the model.

    Returns
    -------
    None where too few points are seen to tell.
    """
    if not len(model.point_ids):
        return None
    step = max(1, -(-len(images) // _IMAGES))
    factors = [_factors(model, image, depth_of) for image in images[::step]]
    found = np.concatenate(factors) if factors else np.zeros(0)
    if len(found) < _MIN_POINTS:
        return None
    low, median, high = np.percentile(found, [25.0, 50.0, 75.0])
    return Scale(float(median), expected, float(low), float(high), len(found))


def _factors(model: ColmapModel, image: ColmapImage, depth_of: Callable[[ColmapImage], Float32 | None]) -> Float64:
    camera = model.cameras.get(image.camera_id)
    place = np.minimum(np.searchsorted(model.point_ids, image.point_ids), len(model.point_ids) - 1)
    known = model.point_ids[place] == image.point_ids
    if camera is None or camera.width < 1 or camera.height < 1 or not known.any():
        return np.zeros(0)
    depth_m = depth_of(image)
    if depth_m is None:
        return np.zeros(0)
    z = transform_points(image.T_cam_world, model.points_world[place[known]])[:, 2]
    size = np.array(depth_m.shape[::-1])
    at = image.pixels[known] * size / (camera.width, camera.height)
    with np.errstate(invalid="ignore"):
        inside = np.all((at >= 0) & (at < size), axis=1) & (z > 0)
    u, v = at[inside].astype(np.int64).T
    factors: Float64 = depth_m[v, u].astype(np.float64) / z[inside]
    return factors[np.isfinite(factors)]
