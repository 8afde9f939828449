"""One similarity for a set of generated views: scale, turn and shift at which their outlines fit measured points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.latent.outlines import Outlines
from sparse_recon.geometry.poses import pose
from sparse_recon.types import Float64

# How far the set may be off: turn in radians, shift in longest sides, logarithm of scale. By construction it is placed
# with the picture's own pose and the carved size; the rest is what the network drew otherwise.
PRIOR = np.array([0.1, 0.1, 0.1, 0.03, 0.03, 0.03, 0.2])
LIMITS = np.array([0.35, 0.35, 0.35, 0.2, 0.2, 0.2, 0.4])
# No point lies outside of what the outlines allow (all but one, so that none alone sets the scale), and few lie on it:
# under flat tops and in hollows they allow more than there is. The set is placed so that this share of the measured
# points lies outside.
OUTSIDE = 0.1
# Farther outside a point is a stray, and pulls less and less; nearer to the outline than `SOFT` all pull alike less.
STRAY, SOFT = 0.06, 0.005
# How many points count as independent, and the deviation of one, in longest sides: two pixels of a picture.
INDEPENDENT, SIGMA = 20.0, 0.01
POINTS, MIN_POINTS = 1500, 50
ITERATIONS = 25


@dataclass(frozen=True)
class Similarity:
    """From the space of a generated set to that of the object, both in longest sides.

    Attributes
    ----------
    T : (4, 4), without the scale, which comes first: p_obj = T @ (scale * p_set).
    residual_before, residual : how far measured points lie outside of the outlines' solid, or in excess inside of it,
        without and with it: the distance that all but a tenth keep, longest sides; NaN where too few were measured.
    """

    T: Float64
    scale: float
    residual_before: float
    residual: float

    @property
    def turn_rad(self) -> float:
        return float(np.arccos(np.clip((np.trace(self.T[:3, :3]) - 1) / 2, -1, 1)))


def fitted_similarity(
    outlines: Outlines, points_obj: Float64, seed: int, checkpoint: Callable[[], None] = lambda: None
) -> Similarity:
    """Fit a similarity by damped Gauss-Newton, held by a prior on how far a set can be off.

    The loss is that of a quantile (Koenker and Bassett 1978): nine times as much for a point outside of what all
    outlines allow as for one inside. The identity is returned where too little was measured, or where the fit runs into
    its limits.

    Parameters
    ----------
    outlines : of the set, in its own space.
    points_obj : (N, 3) measured, in longest sides, from the object's middle.
    seed : of the points that are taken, if there are many.
    checkpoint : called in each iteration; may raise.
    """
    points = points_obj[np.isfinite(points_obj).all(axis=1)]
    if len(points) < MIN_POINTS:
        return Similarity(np.eye(4), 1.0, float("nan"), float("nan"))
    if len(points) > POINTS:
        points = points[np.random.default_rng(seed).choice(len(points), POINTS, replace=False)]

    def within_at(x: Float64) -> Float64:
        return outlines.depth_within(_into_set(points, x))

    x, damping = np.zeros(7), 1e-3
    within = within_at(x)
    before, cost = _residual(within), _cost(within, x)
    for _ in range(ITERATIONS):
        checkpoint()
        J = np.stack([(within_at(x + step) - within) / 2e-3 for step in 2e-3 * np.eye(7)], axis=1)
        weight = INDEPENDENT / len(points) * _weight(within)
        H = (J * weight[:, None]).T @ J + np.diag(1 / PRIOR**2)
        step = np.linalg.solve(H + damping * np.diag(np.diag(H)), J.T @ (weight * within) + x / PRIOR**2)
        moved = within_at(x - step)
        if (new_cost := _cost(moved, x - step)) < cost:
            done = cost - new_cost < 1e-4 * cost
            x, within, cost, damping = x - step, moved, new_cost, damping / 3
            if done:
                break
        elif (damping := 10 * damping) > 1e4:
            break
    if (np.abs(x) > LIMITS).any():
        return Similarity(np.eye(4), 1.0, before, before)
    return Similarity(pose(_rotation(x[:3]), x[3:6]), float(np.exp(x[6])), before, _residual(within))


def _into_set(points_obj: Float64, x: Float64) -> Float64:
    """Return points (N, 3) in the space of the set, by turn, shift and logarithm of scale (7,)."""
    return np.asarray((points_obj - x[3:6]) @ _rotation(x[:3]) / np.exp(x[6]))


def _rotation(vector: Float64) -> Float64:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def _weight(within: Float64) -> Float64:
    """Return (N,) weights of squares that stand for the loss at each distance; strays pull less than in the loss."""
    outside = (1 - OUTSIDE) / (1 + (within / STRAY) ** 2) ** 2
    return np.asarray(np.where(within < 0, outside, OUTSIDE) / (np.abs(within) + SOFT) / SIGMA)


def _cost(within: Float64, x: Float64) -> float:
    distance = np.abs(within)
    # Grows as the distance and levels off beyond `STRAY`.
    outside = (1 - OUTSIDE) * STRAY * np.arctan(distance / STRAY)
    loss = np.where(within < 0, outside, OUTSIDE * distance)
    return float(INDEPENDENT * np.mean(loss) / SIGMA + 0.5 * np.sum((x / PRIOR) ** 2))


def _residual(within: Float64) -> float:
    return float(abs(np.quantile(within, OUTSIDE)))
