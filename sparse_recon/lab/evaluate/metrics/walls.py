"""Thin walls, as of bowls and pans, whose two sides must both be there; their volume says nothing of that."""

from __future__ import annotations

import numpy as np

from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery, area_vectors
from sparse_recon.lab.evaluate.metrics.surface import Surface
from sparse_recon.types import Bool, Float32

# A wall is thinner than this share of the diameter; an object is a shell where so much of its surface is wall.
THIN, SHELL = 0.04, 0.5
# Surface is the same side of a wall where normals are nearer than 60 degrees.
SAME_SIDE = 0.5
_START_M = 1e-5
_NEIGHBOURS = 32


def opposite_sides(true: Surface, query: MeshQuery, diameter_m: float) -> tuple[Bool, Float32]:
    """Return which samples of the true surface are on a wall, (N,) bool, and the points (N, 3) behind them.

    The opposite side is where a ray into the solid, against the normal, comes out.
    """
    assert true.normals_world is not None
    inwards = -true.normals_world.astype(np.float64)
    start = true.points_world + _START_M * inwards
    thickness_m = query.first_hit(start, inwards)
    wall = thickness_m < THIN * diameter_m
    behind = start + np.where(wall, thickness_m, 0.0)[:, None] * inwards
    return wall, behind.astype(np.float32)


def both_sides(answer: Surface, true: Surface, query: MeshQuery, diameter_m: float, within_m: float) -> float:
    """Return the share, in [0, 1], of the walls of a shell both of whose sides an answer has; NaN if it is none.

    A side is there where the answer has surface within `within_m` that faces the same way.
    """
    wall, behind = opposite_sides(true, query, diameter_m)
    if len(wall) == 0 or wall.mean() < SHELL or answer.normals_world is None:
        return float("nan")
    assert true.normals_world is not None
    normals = true.normals_world[wall]
    near = _has(answer, true.points_world[wall], normals, within_m)
    return float((near & _has(answer, behind[wall], -normals, within_m)).mean())


def _has(answer: Surface, points_world: Float32, normals: Float32, within_m: float) -> Bool:
    """Return at which points (N, 3) the answer has surface that faces the way of normals (N, 3).

    Where the nearest surface is the other side of its wall, the samples around are asked, each for the piece of plane
    about it that is its share of the surface.
    """
    if len(answer.points_world) == 0:
        return np.zeros(len(points_world), bool)
    assert answer.normals_world is not None
    nearest_m, nearest_normals = answer.nearest(points_world)
    at_once = (nearest_m < within_m) & (np.einsum("nd,nd->n", nearest_normals, normals) > SAME_SIDE)
    count = min(_NEIGHBOURS, len(answer.points_world))
    piece_m = _piece_m(answer)
    reach_m = np.hypot(within_m, piece_m)
    distance_m, index = answer.tree.query(points_world, k=count, distance_upper_bound=reach_m, workers=1)
    distance_m, index = distance_m.reshape(len(points_world), count), index.reshape(len(points_world), count)
    there = np.isfinite(distance_m)
    index = np.where(there, index, 0)
    plane = answer.normals_world[index]
    off_m = np.abs(np.einsum("nkd,nkd->nk", points_world[:, None] - answer.points_world[index], plane))
    with np.errstate(invalid="ignore"):
        near = (distance_m < within_m) | ((off_m < within_m) & (distance_m**2 - off_m**2 < piece_m**2))
    facing = np.einsum("nkd,nd->nk", plane, normals)
    return np.asarray(at_once | (there & near & (facing > SAME_SIDE)).any(axis=1))


def _piece_m(answer: Surface) -> float:
    """Return the radius of the pieces of plane about samples, metres; any place is in six of them on average."""
    if answer.mesh is None:
        return 0.0
    area_m2 = float(np.linalg.norm(area_vectors(answer.mesh), axis=1).sum())
    return float(np.sqrt(6 / np.pi * area_m2 / len(answer.points_world)))
