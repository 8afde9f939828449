"""Several surfaces beside one truth: what they cover together, how far they lie apart, and how well they forecast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.lab.evaluate.metrics.volume import spread_points
from sparse_recon.types import Bool, Float32, Float64, TriangleMesh

# Reference points of the energy score fill the true box and so much of its size around it.
MARGIN = 0.1


def hidden_solid(true: Surface, query: MeshQuery, seen: Bool, count: int, seed: int) -> Float32:
    """Return points (N, 3) spread evenly through the part of the true solid that is nearest to surface nobody saw.

    Parameters
    ----------
    true, query : the true surface, with its mesh, and what it answers.
    seen : (M,) bool, which samples of `true` a camera saw.
    count : of points in the box around the solid; N of them are in the hidden part.
    """
    assert true.mesh is not None
    points, _ = spread_points((true.mesh,), count, seed)
    points = points[query.inside(points)[0]]
    if len(points) == 0:
        return points
    return np.asarray(points[~seen[true.tree.query(points, workers=1)[1]]])


def outside_all(points_world: Float32, solids: Sequence[MeshQuery]) -> float:
    """Return the share of (N, 3) points, in [0, 1], that lie outside all solids; NaN of no points."""
    if len(points_world) == 0:
        return float("nan")
    outside = np.ones(len(points_world), bool)
    for solid in solids:
        outside[outside] = ~solid.inside(points_world[outside])[0]
    return float(outside.mean())


def mean_pairwise_chamfer_m(surfaces: Sequence[Surface]) -> float:
    """Return the mean Chamfer distance, metres, over all pairs of surfaces; NaN where there are fewer than two."""
    found = [surface_distances(a, b).chamfer_m for a, b in combinations(surfaces, 2)]
    return float(np.mean(found)) if found else float("nan")


def reference_points(true: TriangleMesh, count: int, seed: int) -> Float32:
    """Return about `count` points (N, 3) in and around the box of the true surface."""
    corners = true.vertices_world[np.unique(true.faces)].astype(np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = MARGIN * (high - low)
    box = TriangleMesh(
        np.stack([low - margin, high + margin, low]).astype(np.float32), np.array([[0, 1, 2]], dtype=np.int32)
    )
    return spread_points((box,), count, seed)[0]


def signed_distances_m(solid: MeshQuery, points_world: Float32, limit_m: float) -> Float64:
    """Return the signed distances (N,) metres of points from a solid, negative inside, clipped to a limit."""
    distance_m, _ = solid.closest(points_world)
    inside, _ = solid.inside(points_world)
    return np.clip(np.where(inside, -distance_m, distance_m), -limit_m, limit_m)


def energy_score_m(draws_m: Float64, weights: Float64, true_m: Float64) -> float:
    """Return how badly draws forecast the truth, metres; the truth alone scores 0.

    The energy score E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007), which no one betters on average by claiming
    anything but what he believes. X and X' are different draws, so that few of them are not punished for being few
    (Ferro 2014). |.| is the root mean square over the points. A single draw scores its distance from the truth.

    Parameters
    ----------
    draws_m : (K, N) signed distances of reference points from each draw.
    weights : (K,) of sum 1.
    true_m : (N,) those from the truth.

    Raises
    ------
    InputError
        USAGE if shapes do not fit.
    """
    if draws_m.ndim != 2 or weights.shape != draws_m.shape[:1] or true_m.shape != draws_m.shape[1:]:
        raise InputError(
            ErrorCode.USAGE,
            f"draws must be (K, N), weights (K,) and the truth (N,), got {draws_m.shape}, {weights.shape} and "
            f"{true_m.shape}",
        )
    off_m = float(weights @ _rms(draws_m - true_m))
    pairs = [(weights[i] * weights[j], _rms(draws_m[i] - draws_m[j])) for i, j in combinations(range(len(weights)), 2)]
    total = sum(weight for weight, _ in pairs)
    apart_m = sum(weight * float(distance) for weight, distance in pairs) / total if total > 0 else 0.0
    return off_m - 0.5 * apart_m


def _rms(values: Float64) -> Float64:
    return np.sqrt(np.mean(np.square(values), axis=-1))
