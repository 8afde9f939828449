"""Antipodal grasps on given geometry: seeds, twelve approaches around each, contacts, ranking, collisions.

A parallel jaw holds an object between two patches when the line between them lies in both friction cones (Nguyen 1988).
Meshes and bare points are treated alike: both are points with normals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from sparse_recon.lab.evaluate.grasp.clearance import backed_off, reachable
from sparse_recon.lab.evaluate.grasp.closing import ONE_SIDED_MIN_WIDTH_M, Closing, close
from sparse_recon.lab.evaluate.grasp.geometry import GivenGeometry
from sparse_recon.lab.evaluate.grasp.gripper import MAX_OPENING_M
from sparse_recon.lab.evaluate.grasp.seeds import (
    SIDE_ROOM_M,
    Seeds,
    com_factor,
    cone_cosine,
    joined,
    pair_seeds,
    point_seeds,
)
from sparse_recon.types import Bool, Float32, Float64

FRICTION = 0.5  # of the cones in which the planner wants the line between the contacts
APPROACHES = 12
WANTED = 20
_BLOCK, _MAX_CHECKED = 256, 12_800
_RERANKED = 512  # hands that hypotheses are asked about
_ONE_SIDED = 0.5  # factor for a contact that nobody saw
_EASY_ROOM_M = 0.008
_PAD_RADIUS_M = 0.005  # root mean square, of a patch that fills the pad along one edge
_MISS_M = 0.0125


@dataclass(frozen=True, eq=False)
class Grasp:
    """A pose of the hand and what speaks for it.

    Attributes
    ----------
    T_world_grasp : (4, 4), the frame of `gripper`: origin between the pads, z approach, y from pad to pad.
    width_m : between the contacts, as planned.
    opening_m : of the jaw on the way there.
    score : in [0, 1], of the ranking; with hypotheses its lower bound over them, in [-1, 1].
    contact_confidence : claimed probability that the less certain contact is right; NaN where nothing is claimed.
    contacts_world : (2, 3) the planned contacts.
    """

    T_world_grasp: Float64
    width_m: float
    opening_m: float
    score: float
    contact_confidence: float
    contacts_world: Float64


@dataclass(frozen=True, eq=False)
class _Candidates:
    """G hands, best first: rotation (G, 3, 3), origin and middle of the contacts (G, 3), and numbers (G,)."""

    rotation: Float32
    origin: Float32
    middle: Float32
    width_m: Float32
    opening_m: Float32
    score: Float32
    confidence: Float32

    def taken(self, chosen: npt.NDArray[np.intp] | slice) -> _Candidates:
        """Return some of them."""
        return _Candidates(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def grasp(self, k: int) -> Grasp:
        T_world_grasp = np.eye(4)
        U, _, Vt = np.linalg.svd(self.rotation[k].astype(np.float64))
        T_world_grasp[:3, :3] = U @ Vt  # orthonormal in double precision
        T_world_grasp[:3, 3] = self.origin[k]
        half = 0.5 * float(self.width_m[k]) * T_world_grasp[:3, 1]
        middle = self.middle[k].astype(np.float64)
        contacts = np.stack([middle + half, middle - half])
        width, opening, score, confidence = (
            float(a[k]) for a in (self.width_m, self.opening_m, self.score, self.confidence)
        )
        return Grasp(T_world_grasp, width, opening, score, confidence, contacts)


def sample_grasps(
    given: GivenGeometry, table_z_m: float, *, seed: int = 0, wanted: int = WANTED, friction: float = FRICTION
) -> tuple[Grasp, ...]:
    """Return up to `wanted` grasps that are free of collision, best first; none where there is none.

    Parameters
    ----------
    given : what is known of the object, world frame, z up. With hypotheses the best grasps are ranked by what holds in
        all of them, see `_held_by_hypotheses`.
    table_z_m : height of the table.
    seed : of the order in which seeds of equal rank are tried.
    """
    candidates = _candidates(given, table_z_m, friction, seed)
    if given.hypotheses:
        candidates = _held_by_hypotheses(given.hypotheses, candidates, friction)
    return tuple(_free(given, candidates, wanted))


def approaches(axis: Float32) -> Float32:
    """Return (S, 12, 3, 3) R_world_grasp evenly around (S, 3) unit axes y, the first one the steepest from above."""
    down = np.array([0.0, 0.0, -1.0], np.float32) + axis * axis[:, 2:]
    upright = np.linalg.norm(down, axis=1, keepdims=True) < 1e-3
    first = np.where(upright, np.cross(axis, np.array([1.0, 0.0, 0.0], np.float32)), down)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(axis, first)
    angle = np.arange(APPROACHES) * (2 * np.pi / APPROACHES)
    cos, sin = np.cos(angle)[None, :, None], np.sin(angle)[None, :, None]
    z = cos * first[:, None] + sin * second[:, None]
    y = np.broadcast_to(axis[:, None], z.shape)
    return np.stack([np.cross(y, z), y, z], axis=-1).astype(np.float32)


def _candidates(given: GivenGeometry, table_z_m: float, friction: float, seed: int) -> _Candidates:
    """Return the hands that clear the table and hold the object, best first."""
    seeds = joined((pair_seeds(given, table_z_m, friction, seed), point_seeds(given, table_z_m, seed)))
    rotation = approaches(seeds.axis)
    closing = close(given, seeds, rotation[:, 0], APPROACHES)
    fits = (closing.width_m > 0) & (closing.width_m <= seeds.opening_m[:, None] - 2 * SIDE_ROOM_M)
    both = np.minimum(closing.first, closing.second) >= cone_cosine(friction)
    # Half of an object is seen: its far side is taken to be where its points end.
    one = (closing.first >= cone_cosine(friction)) & (closing.width_m >= ONE_SIDED_MIN_WIDTH_M) & (not given.closed)
    chosen = np.nonzero(fits & (both | one))
    closing, rotation, one_sided, seed_of = closing.taken(chosen), rotation[chosen], ~both[chosen], chosen[0]
    middle = seeds.origin[seed_of] + closing.shift_m[:, None] * seeds.axis[seed_of]
    opening = seeds.opening_m[seed_of]
    back, clear = backed_off(rotation, middle, opening, table_z_m)
    score = _scores(given, middle, rotation[:, :, 1], closing, one_sided, friction)
    order = np.flatnonzero(clear)
    order = order[np.argsort(-score[order], kind="stable")]
    origin = middle - back[:, None] * rotation[:, :, 2]
    columns = (rotation, origin, middle, closing.width_m, opening, score, closing.confidence)
    return _Candidates(*(np.asarray(a[order], np.float32) for a in columns))


def _held_by_hypotheses(hypotheses: Sequence[GivenGeometry], candidates: _Candidates, friction: float) -> _Candidates:
    """Rank the best hands by their lower confidence bound: mean less one standard deviation of their scores.

    Each hand closes on each hypothesis; one that does not hold it scores 0 there. The other hands follow as they were.
    """
    best, rest = candidates.taken(slice(0, _RERANKED)), candidates.taken(slice(_RERANKED, None))
    if not len(best.score):
        return candidates
    half: Float32 = np.asarray(best.opening_m / 2, np.float32)
    seeds = Seeds(best.origin, best.rotation[:, :, 1], -half, half, best.opening_m)
    scores = np.stack([_score_of(one, seeds, best.rotation, friction) for one in hypotheses])  # (K, G)
    weights = np.array([one.weight for one in hypotheses], np.float64)
    weights /= weights.sum()
    mean = weights @ scores
    bound = (mean - np.sqrt(weights @ (scores - mean) ** 2)).astype(np.float32)
    order = np.argsort(-bound, kind="stable")
    best = replace(best.taken(order), score=bound[order])
    rest = replace(rest, score=np.minimum(rest.score, bound.min()))
    return _Candidates(*(np.concatenate([getattr(best, f.name), getattr(rest, f.name)]) for f in fields(_Candidates)))


def _score_of(given: GivenGeometry, seeds: Seeds, rotation: Float32, friction: float) -> npt.NDArray[np.floating]:
    """Return the scores (G,) of given hands on one geometry; 0 where they do not hold it."""
    closing = close(given, seeds, rotation, 1).taken((np.arange(len(seeds)), np.zeros(len(seeds), np.intp)))
    # The hand stands where it stands: what reaches beyond its open jaw is hit by a finger.
    held = (closing.width_m > 0) & (np.abs(closing.shift_m) + closing.width_m / 2 <= seeds.opening_m / 2)
    held &= np.minimum(closing.first, closing.second) >= cone_cosine(friction)
    middle = seeds.origin + closing.shift_m[:, None] * seeds.axis
    score = _scores(given, middle, seeds.axis, closing, np.zeros(len(seeds), bool), friction)
    return np.where(held, score, 0.0)


def _scores(
    given: GivenGeometry, middle: Float32, axis: Float32, closing: Closing, one_sided: Bool, friction: float
) -> npt.NDArray[np.floating]:
    """Rank by how square the pads lie, how wide they bear, the lever of the weight, room to close, and confidence."""
    least = cone_cosine(friction)
    worse = np.where(one_sided, closing.first, np.minimum(closing.first, closing.second))
    square = np.clip((worse - least) / (1.0 - least), 0.0, 1.0)
    facing = np.clip(1.0 - closing.offset_m / _MISS_M, 0.0, 1.0)
    bearing = np.clip(closing.spread_m / _PAD_RADIUS_M, 0.0, 1.0)
    room = np.clip((MAX_OPENING_M - closing.width_m) / 2 / _EASY_ROOM_M, 0.0, 1.0)
    score = (0.1 + 0.9 * square) * (0.2 + 0.8 * facing) * (0.4 + 0.6 * bearing) * (0.3 + 0.7 * room)
    score *= com_factor(given, middle, axis) * np.where(one_sided, _ONE_SIDED, 1.0)
    return score * np.where(np.isnan(closing.confidence), 1.0, closing.confidence)


def _free(given: GivenGeometry, candidates: _Candidates, wanted: int) -> Iterator[Grasp]:
    """Yield the best grasps that the hand reaches without touching anything."""
    found = 0
    for start in range(0, min(len(candidates.score), _MAX_CHECKED), _BLOCK):
        block = slice(start, start + _BLOCK)
        hands = (a[block] for a in (candidates.rotation, candidates.origin, candidates.opening_m))
        for k in np.flatnonzero(reachable(given.obstacles, *hands))[: wanted - found]:
            yield candidates.grasp(start + int(k))
            found += 1
        if found == wanted:
            return
