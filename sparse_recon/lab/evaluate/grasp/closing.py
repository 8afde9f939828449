"""What the pads of a closing jaw meet, judged on the points that a source gives."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sparse_recon.lab.evaluate.grasp.geometry import GivenGeometry
from sparse_recon.lab.evaluate.grasp.gripper import PAD_HALF_X_M, PAD_HALF_Z_M
from sparse_recon.lab.evaluate.grasp.seeds import Seeds
from sparse_recon.types import Bool, Float32

PATCH_DEPTH_M = 0.002  # points this close behind the first one to be met bear as well
MIN_PATCH_POINTS = 2
MIN_WIDTH_M = 0.001
ONE_SIDED_MIN_WIDTH_M = 0.008
_CHUNK = 128
_ENOUGH = 100  # points about a seed
_ROUNDING_M2 = 1e-7
_BEYOND_M = 0.041  # what the jaw, put amid its contacts, may reach beyond where they were looked for


@dataclass(frozen=True, eq=False)
class Closing:
    """Both contacts of closing jaws, arrays (...) of one shape.

    Attributes
    ----------
    shift_m : from the seed's origin to the middle of both contacts, along the axis.
    width_m : between the contacts; 0 where a pad meets too little.
    first, second : cosine of the angle between pad and mean normal of the patch on the side of the axis, and opposite.
    offset_m : how far the middles of the patches miss each other across the axis.
    spread_m : root mean square radius of the smaller patch.
    confidence : of the less certain patch; NaN where the source claims nothing.
    """

    shift_m: Float32
    width_m: Float32
    first: Float32
    second: Float32
    offset_m: Float32
    spread_m: Float32
    confidence: Float32

    def taken(self, chosen: Bool | npt.NDArray[np.intp] | tuple[npt.NDArray[np.intp], ...]) -> Closing:
        """Return some of them."""
        return Closing(*(getattr(self, f.name)[chosen] for f in fields(self)))


def close(given: GivenGeometry, seeds: Seeds, first: Float32, count: int) -> Closing:
    """Close jaws on the known points: find the contacts from the seed, put the jaw amid them, and close it again.

    Parameters
    ----------
    first : (S, 3, 3) float32, R_world_grasp of the first approach of each seed, whose axis is y.
    count : of approaches K, evenly about that axis.

    Returns
    -------
    Closing with arrays (S, K).
    """
    parts = [
        _close(given, seeds.taken(slice(start, start + _CHUNK)), first[start : start + _CHUNK], count)
        for start in range(0, len(seeds), _CHUNK)
    ]
    if not parts:
        empty = np.zeros((0, count), np.float32)
        return Closing(*[empty] * len(fields(Closing)))
    return Closing(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Closing)))


def _close(given: GivenGeometry, seeds: Seeds, first: Float32, count: int) -> Closing:
    # Only points in the cylinder around the axis that the turned pads sweep can be met.
    along = seeds.axis @ given.points.T - np.einsum("sk,sk->s", seeds.origin, seeds.axis)[:, None]  # (S, N)
    away = (seeds.origin**2).sum(axis=1)[:, None] - 2 * seeds.origin @ given.points.T + (given.points**2).sum(axis=1)
    near = away - along**2 <= PAD_HALF_X_M**2 + PAD_HALF_Z_M**2 + _ROUNDING_M2
    near &= (along >= seeds.low_m[:, None] - _BEYOND_M) & (along <= seeds.high_m[:, None] + _BEYOND_M)
    many = int(near.sum() / len(seeds) / _ENOUGH)
    if many > 1:  # on small objects fewer are as good
        near[:, np.arange(near.shape[1]) % many != 0] = False
    near[:, 0] = True  # every seed has a segment below; a point outside the pads counts nothing
    seed, point = np.nonzero(near)
    starts = np.searchsorted(seed, np.arange(len(seeds)))
    offset, y = given.points[point] - seeds.origin[seed], along[seed, point][:, None]
    u = np.einsum("mk,mk->m", offset, first[seed, :, 2])[:, None]
    w = np.einsum("mk,mk->m", offset, first[seed, :, 0])[:, None]
    angle = np.arange(count, dtype=np.float32) * np.float32(2 * np.pi / count)
    x, z = np.cos(angle) * w - np.sin(angle) * u, np.cos(angle) * u + np.sin(angle) * w  # (M, K)
    column = (np.abs(x) <= PAD_HALF_X_M) & (np.abs(z) <= PAD_HALF_Z_M)
    sought = column & (y >= seeds.low_m[seed, None]) & (y <= seeds.high_m[seed, None])
    top, bottom = _extremes(sought, y, starts)
    shift = np.where(top > bottom, (top + bottom) / 2, 0.0)
    between = column & (np.abs(y - shift[seed]) <= seeds.opening_m[seed, None] / 2)
    top, bottom = _extremes(between, y, starts)
    facing = np.einsum("mk,mk->m", given.normals[point], seeds.axis[seed])[:, None]
    sums = _PatchSums(given, starts, point, x, z, facing)
    # The far face of a thin wall is as near, but no pad touches it.
    upper = sums.of(between & (y >= top[seed] - PATCH_DEPTH_M) & (facing >= 0))
    lower = sums.of(between & (y <= bottom[seed] + PATCH_DEPTH_M) & (facing <= 0))
    met = (upper.count >= MIN_PATCH_POINTS) & (lower.count >= MIN_PATCH_POINTS) & (top - bottom >= MIN_WIDTH_M)
    values = (
        np.where(met, (top + bottom) / 2, 0.0),
        np.where(met, top - bottom, 0.0),
        upper.facing,
        -lower.facing,
        np.hypot(upper.x - lower.x, upper.z - lower.z),
        np.minimum(upper.spread_m, lower.spread_m),
        np.minimum(upper.confidence, lower.confidence),
    )
    return Closing(*(np.asarray(v, np.float32) for v in values))


def _extremes(chosen: Bool, y: Float32, starts: npt.NDArray[np.intp]) -> tuple[Float32, Float32]:
    """Return the largest and the smallest y (S, K) of the chosen points of each seed; -inf and inf for none."""
    top = np.maximum.reduceat(np.where(chosen, y, np.float32(-np.inf)), starts, axis=0)
    bottom = np.minimum.reduceat(np.where(chosen, y, np.float32(np.inf)), starts, axis=0)
    none = ~np.isfinite(top)
    return np.where(none, np.float32(-1.0), top), np.where(none, np.float32(1.0), bottom)


@dataclass(frozen=True, eq=False)
class _Patch:
    """The points that pads bear on: how many, mean cosine, middle across the axis, radius, confidence; all (S, K)."""

    count: Float32
    facing: Float32
    x: Float32
    z: Float32
    spread_m: Float32
    confidence: Float32


@dataclass(frozen=True, eq=False)
class _PatchSums:
    """Means over the points that belong to each seed; `facing` (M, 1) is the cosine of their normal with the axis."""

    given: GivenGeometry
    starts: npt.NDArray[np.intp]
    point: npt.NDArray[np.intp]
    x: Float32
    z: Float32
    facing: Float32

    def of(self, chosen: Bool) -> _Patch:
        """Return the patches of the chosen points (M, K)."""
        count = np.add.reduceat(chosen.astype(np.float32), self.starts, axis=0)

        def mean(values: Float32) -> Float32:
            total = np.add.reduceat(np.where(chosen, values, np.float32(0.0)), self.starts, axis=0)
            return np.asarray(total / np.maximum(count, 1.0), np.float32)

        x, z = mean(self.x), mean(self.z)
        square = mean(self.x**2 + self.z**2) - x**2 - z**2
        known = self.given.confidence
        certain = np.full_like(x, np.nan) if known is None else mean(known[self.point][:, None])
        return _Patch(count, mean(self.facing), x, z, np.sqrt(np.maximum(square, 0.0)), certain)
