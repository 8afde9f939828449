"""Where a jaw might close: pairs of points that face away from each other, and single points along their normals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sparse_recon.lab.evaluate.grasp.geometry import GivenGeometry
from sparse_recon.lab.evaluate.grasp.gripper import MAX_OPENING_M, TIP_THICKNESS_M
from sparse_recon.types import Bool, Float32

MIN_WIDTH_M = 0.002
SIDE_ROOM_M = 0.002  # of each pad from the object before closing
NARROW_ROOM_M = 0.010  # ... in a jaw that is opened no further than needed
THIN_OPENING_M = 0.030  # for walls, rims and handles
MAX_SEEDS = 800  # of each kind
_CELL_M, _AXIS_CELL = 0.008, 0.4  # seeds that agree in this grid of place and axis are one
_LEVER_M = 0.04


@dataclass(frozen=True, eq=False)
class Seeds:
    """Places and axes along which a jaw may close; S of them.

    Attributes
    ----------
    origin : (S, 3) float32, world.
    axis : (S, 3) float32, unit, from the second contact to the first.
    low_m, high_m : (S,) where along the axis, from the origin, the contacts are looked for.
    opening_m : (S,) of the jaw before it closes.
    """

    origin: Float32
    axis: Float32
    low_m: Float32
    high_m: Float32
    opening_m: Float32

    def __len__(self) -> int:
        return len(self.opening_m)

    def taken(self, chosen: Bool | slice | npt.NDArray[np.intp]) -> Seeds:
        """Return some of them."""
        return Seeds(*(getattr(self, f.name)[chosen] for f in fields(self)))


def cone_cosine(friction: float) -> float:
    """Return the cosine of the half angle of a friction cone."""
    return float(1.0 / np.hypot(1.0, friction))


def antipodal_pairs(
    points: Float32, normals: Float32, *, friction: float, max_width_m: float = MAX_OPENING_M
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32]:
    """Return indices of all pairs of (N, 3) points whose line lies in both friction cones, and its worse cosine.

    Outward unit normals are compared with the line away from the other point, so that the jaw closes from outside.
    """
    least = np.float32(cone_cosine(friction))
    points = points - points.mean(axis=0)
    square, own = (points**2).sum(axis=1), np.einsum("nk,nk->n", points, normals)
    first, second, cosine = [], [], []
    for start in range(0, len(points), 512):
        rows = slice(start, start + 512)
        width = np.sqrt(np.maximum(square[rows, None] + square - 2 * points[rows] @ points.T, 1e-12))
        one = (own[rows, None] - normals[rows] @ points.T) / width
        other = (own - points[rows] @ normals.T) / width
        worse = np.minimum(one, other)
        i, j = np.nonzero((width >= MIN_WIDTH_M) & (width <= max_width_m) & (worse >= least))
        once = i + start < j
        first.append(i[once] + start)
        second.append(j[once])
        cosine.append(worse[i, j][once])
    return np.concatenate(first), np.concatenate(second), np.concatenate(cosine)


def pair_seeds(given: GivenGeometry, table_z_m: float, friction: float, seed: int) -> Seeds:
    """Return the best antipodal pairs of each neighbourhood, with a fully open jaw and with a narrow one."""
    points = given.points
    widest = MAX_OPENING_M - 2 * SIDE_ROOM_M
    i, j, cosine = antipodal_pairs(points, given.normals, friction=friction, max_width_m=widest)
    line = points[i] - points[j]
    width = np.linalg.norm(line, axis=1).astype(np.float32)
    axis: Float32 = line / width[:, None]
    middle: Float32 = (points[i] + points[j]) / np.float32(2.0)
    room = np.flatnonzero(_above_table(middle, axis, width / 2, table_z_m))
    middle, axis, width = middle[room], axis[room], width[room]
    kept = _thinned(middle, axis, (cosine[room] - cone_cosine(friction)) * com_factor(given, middle, axis), seed)
    middle, axis, width = middle[kept], axis[kept], width[kept]
    narrow = np.minimum(width + 2 * NARROW_ROOM_M, MAX_OPENING_M)
    return joined(
        Seeds(middle, axis, -opening / 2, opening / 2, opening)
        for opening in (np.full_like(width, MAX_OPENING_M), narrow)
    )


def point_seeds(given: GivenGeometry, table_z_m: float, seed: int) -> Seeds:
    """Return points with their normals as axes, for a fully open jaw and for one that reaches round a wall or rim."""
    room = _above_table(given.points, given.normals, np.float32(0.0), table_z_m)
    origin, axis = given.points[room], given.normals[room]
    kept = _thinned(origin, axis, com_factor(given, origin, axis), seed)
    origin, axis = origin[kept], axis[kept]
    return joined(
        Seeds(
            origin,
            axis,
            np.full(len(kept), SIDE_ROOM_M - opening, np.float32),
            np.full(len(kept), SIDE_ROOM_M, np.float32),
            np.full(len(kept), opening, np.float32),
        )
        for opening in (MAX_OPENING_M, THIN_OPENING_M)
    )


def com_factor(given: GivenGeometry, middle: Float32, axis: Float32) -> Float32:
    """Return 1 for a closing axis through the centre of mass, less with the lever of the weight about it."""
    arm = given.centre_of_mass.astype(np.float32) - middle
    lever = np.linalg.norm(np.cross(arm, axis), axis=-1)
    return np.asarray(1.0 / (1.0 + (lever / _LEVER_M) ** 2), np.float32)


def _above_table(
    origin: Float32, axis: Float32, half_m: npt.NDArray[np.floating] | np.float32, table_z_m: float
) -> Bool:
    """Return for which seeds a finger has room below the lower contact, which is at least `half_m` from the origin.

    Most pairs of a flat object are its top and bottom, between which and the table no finger goes.
    """
    below_m = np.abs(axis[:, 2]) * (half_m + SIDE_ROOM_M + TIP_THICKNESS_M)
    return np.asarray(origin[:, 2] - below_m > table_z_m)


def _thinned(origin: Float32, axis: Float32, score: Float32, seed: int) -> npt.NDArray[np.intp]:
    """Return the indices of the best of each cell of place and axis, best first; ties in a seeded order."""
    order = np.random.default_rng(seed).permutation(len(score))
    order = order[np.argsort(-score[order], kind="stable")]
    upward = np.where(axis[:, 2:] < 0, -axis, axis)
    place = np.floor((origin - origin.min(axis=0, initial=0.0)) / _CELL_M).astype(np.int64)
    turn = np.floor(upward / _AXIS_CELL).astype(np.int64) + 3
    cell = ((place[:, 0] * 1024 + place[:, 1]) * 1024 + place[:, 2]) * 512 + turn @ (64, 8, 1)
    kept = np.sort(np.unique(cell[order], return_index=True)[1])
    return order[kept][:MAX_SEEDS]


def joined(parts: Iterable[Seeds]) -> Seeds:
    """Return several sets of seeds as one."""
    several = list(parts)
    return Seeds(*(np.concatenate([getattr(p, f.name) for p in several]).astype(np.float32) for f in fields(Seeds)))
