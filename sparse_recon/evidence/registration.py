"""Views whose poses are a little wrong are brought together, so that one object comes out and not two nearly alike.

All views are moved at once, each by what the others make likely. Where they say nothing, as of a turn of a ball, a view
stays where its pose has it, and so does their mean: errors of poses are taken for independent and normal, and the most
likely ones given the depth images are found (maximum a posteriori) by Gauss-Newton steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.config.geometry_config import RegistrationConfig
from sparse_recon.evidence.point_to_plane import turned_about
from sparse_recon.evidence.surface_pairs import ViewSurface, disagreement, robust_mean_m
from sparse_recon.geometry.poses import inverse, pose, rotation_angle, transform_points
from sparse_recon.types import Float64, ObjectFrame, ObjectView, ObjectViews

ITERATIONS, LAST_STEP = 10, 1e-5
# Points farther apart are no pair, at first and at last.
REACH_M = (0.025, 0.010)
HUBER_M = 0.003
# What fewer points of one pair of views say is worth less.
PAIR_POINTS = 60
# Standard deviations of the errors of poses, about the camera.
POSE_SIGMA_M, POSE_SIGMA_RAD = 0.004, np.deg2rad(0.4)
# Pairs of views that are compared; of more views than that allows each is compared with its nearest ones.
MAX_PAIRS = 32
# Views are left as they are unless their moves are so many times (squared) the standard deviation that depth and poses
# leave them, and a clear disagreement falls to this share; more than so much of the distance of two points does not
# count, metres. Views from opposite sides share little surface: exact ones may look as if they were off by millimetres.
SIGNIFICANT, MIN_DISAGREEMENT_M, CLEARLY_LESS, MOST_M = 12.0, 0.001, 0.6, 0.008
# Moves that are smaller are not worth a word.
MIN_MOVE_M = 0.0015
# Digits of a correction: the last bits of sums depend on the number of threads, and node and replay must agree.
ROUNDED = 7
# Surroundings so near to the support plane are support.
SUPPORT_M, MIN_SUPPORT_POINTS = 0.012, 50


@dataclass(frozen=True)
class Move:
    """By how much a view was moved at the object, metres, and turned, radians."""

    shift_m: float
    turn_rad: float


@dataclass(frozen=True, eq=False)
class Registered:
    """Views as they fit.

    Attributes
    ----------
    moves : of each view; zero for those that stayed.
    """

    views: ObjectViews
    moves: tuple[Move, ...]

    @property
    def pose_error_m(self) -> float:
        """Standard deviation, in any direction, of where the object is after the moves, metres; 0 where none was made.

        Views are moved to where their mean is. Of N independent errors of poses the mean has the standard deviation of
        the moves over sqrt(N - 1), shared among three directions.
        """
        shifts_m = [m.shift_m for m in self.moves if m.shift_m > 0]
        return float(np.sqrt(np.mean(np.square(shifts_m)) / 3 / max(len(shifts_m) - 1, 1))) if shifts_m else 0.0

    @property
    def sentence(self) -> str:
        """Say what was moved, for people; empty where nothing was."""
        moved = [m for m in self.moves if m.shift_m > 0 or m.turn_rad > 0]
        if not moved:
            return ""
        return (
            f"{len(moved)} of {len(self.moves)} views were brought together by up to "
            f"{1e3 * max(m.shift_m for m in moved):.1f} mm and "
            f"{np.rad2deg(max(m.turn_rad for m in moved)):.1f} deg: their camera poses are off by about as much"
        )


def brought_together(
    views: ObjectViews, config: RegistrationConfig, checkpoint: Callable[[], None] = lambda: None
) -> Registered:
    """Move views that nearly fit to where they fit.

    Parameters
    ----------
    config : a view that would have to be moved against the others by more than its bounds stays as it is.
    checkpoint : called between the steps; may raise to cancel.

    Returns
    -------
    The views with corrected `T_world_cam` and the height of the support as they then measured it; or `views` itself
    where poses are right to within the noise, or moving does not clearly help.
    """
    still = Registered(views, (Move(0.0, 0.0),) * len(views.views))
    numbers = [k for k, v in enumerate(views.views) if v.frame.depth_m is not None and v.mask.any()]
    if not config.enabled or len(numbers) < 2:
        return still
    surfaces = [ViewSurface.of(views.views[k], views.object_frame) for k in numbers]
    fitting = list(range(len(numbers)))
    while len(fitting) > 1:
        pairs = _pairs([surfaces[k] for k in fitting], fitting)
        T, significance = _corrections(surfaces, pairs, checkpoint)
        worst = _farthest(T, fitting, config)
        if worst is None:
            break
        fitting.remove(worst)
    else:
        return still
    before, after = (_disagreement_m(surfaces, pairs, C) for C in ([np.eye(4)] * len(T), T))
    radius_m = 0.5 * views.object_frame.half_side_m
    largest_m = max(np.linalg.norm(T[k][:3, 3]) + radius_m * rotation_angle(T[k]) for k in fitting)
    unclear = before < MIN_DISAGREEMENT_M or after > CLEARLY_LESS * before
    if largest_m < MIN_MOVE_M or significance < SIGNIFICANT or unclear:
        return still
    moves, moved = list(still.moves), list(views.views)
    for k in fitting:
        number = numbers[k]
        moves[number] = Move(float(np.linalg.norm(T[k][:3, 3])), rotation_angle(T[k]))
        moved[number] = _corrected(views.views[number], T[k], views.object_frame)
    support_z_m = _support_z_m(views.object_frame, [surfaces[k] for k in fitting], [T[k] for k in fitting])
    object_frame = replace(views.object_frame, support_z_m=support_z_m)
    return Registered(replace(views, views=tuple(moved), object_frame=object_frame), tuple(moves))


def _pairs(surfaces: Sequence[ViewSurface], names: Sequence[int]) -> list[tuple[int, int]]:
    """Return which views are compared, by name, in both directions."""
    eyes = np.array([inverse(s.T_cam_obj)[:3, 3] for s in surfaces])
    eyes /= np.linalg.norm(eyes, axis=1, keepdims=True)
    each = max(1, MAX_PAIRS // (2 * len(surfaces)))
    chosen: set[tuple[int, int]] = set()
    for i, row in enumerate(eyes @ eyes.T):
        nearest = [j for j in np.argsort(-row, kind="stable") if j != i][: max(each, 2)]
        chosen.update((names[i], names[j]) for j in nearest)
        chosen.update((names[j], names[i]) for j in nearest)
    return sorted(chosen)


def _corrections(
    surfaces: Sequence[ViewSurface], pairs: Sequence[tuple[int, int]], checkpoint: Callable[[], None]
) -> tuple[list[Float64], float]:
    """Return the likeliest corrections (4, 4) of views in the object frame, and how significant they are together.

    Significance is the square of all corrections in their standard deviations (Mahalanobis): that of exact poses, which
    noise of depth alone moves, is rarely more than the six degrees of freedom of a view.
    """
    T = [np.eye(4) for _ in surfaces]
    share = len(surfaces) / max(len(pairs), 1)  # the error of a view is one, in however many pairs
    for reach_m in np.geomspace(*REACH_M, ITERATIONS):
        checkpoint()
        H, g = np.zeros((len(T), 6, len(T), 6)), np.zeros((len(T), 6))
        for k, surface in enumerate(surfaces):
            J, r = _prior(surface, T[k])
            H[k, :, k] += J.T @ J
            g[k] += J.T @ r
        for a, b in pairs:
            found = disagreement(surfaces[a], T[a], surfaces[b], T[b], reach_m)
            if len(found.residual_m) == 0:
                continue
            w = found.weight / np.maximum(1.0, np.abs(found.residual_m) / HUBER_M)
            worth = share * min(1.0, len(w) / PAIR_POINTS) / (surfaces[a].sigma_m ** 2 + surfaces[b].sigma_m ** 2)
            w *= worth / found.weight.sum()
            A = np.concatenate([np.cross(found.points, found.directions), found.directions], axis=1)
            block, slope = (A * w[:, None]).T @ A, (A * w[:, None]).T @ found.residual_m
            H[a, :, a] += block
            H[b, :, b] += block
            H[a, :, b] -= block
            H[b, :, a] -= block
            g[a] += slope
            g[b] -= slope
        step = np.linalg.solve(H.reshape(6 * len(T), -1), -g.reshape(-1)).reshape(-1, 6).astype(np.float64)
        T = [turned_about(np.zeros(3), s) @ C for s, C in zip(step, T, strict=True)]
        if np.abs(step).max() < LAST_STEP:
            break
    from scipy.spatial.transform import Rotation

    x = np.round(np.concatenate([np.concatenate([_rotation_vector(C), C[:3, 3]]) for C in T]), ROUNDED)
    T = [pose(Rotation.from_rotvec(v[:3]).as_matrix(), v[3:]) for v in x.reshape(-1, 6)]
    return T, float(x @ H.reshape(len(x), -1) @ x)


def _prior(surface: ViewSurface, T: Float64) -> tuple[Float64, Float64]:
    """Return how a step changes the move of a camera, (6, 6), and this, (6,), in standard deviations."""
    eye = inverse(surface.T_cam_obj)[:3, 3]
    at = transform_points(T, eye)
    J = np.zeros((6, 6))
    J[:3, :3] = np.eye(3) / POSE_SIGMA_RAD
    J[3:, :3] = np.cross(np.eye(3), at).T / POSE_SIGMA_M  # d(w x at) / dw
    J[3:, 3:] = np.eye(3) / POSE_SIGMA_M
    return J, np.concatenate([_rotation_vector(T) / POSE_SIGMA_RAD, (at - eye) / POSE_SIGMA_M])


def _rotation_vector(T: Float64) -> Float64:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(T[:3, :3]).as_rotvec())


def _farthest(T: Sequence[Float64], fitting: Sequence[int], config: RegistrationConfig) -> int | None:
    """Return the view that is moved most against the mean of the others, where that is more than is accepted."""
    apart = []
    for a in fitting:
        others = [T[b] for b in fitting if b != a]
        shift_m = float(np.linalg.norm(T[a][:3, 3] - np.mean([C[:3, 3] for C in others], axis=0)))
        turn_deg = float(np.rad2deg(rotation_angle(np.mean([C[:3, :3] for C in others], axis=0).T @ T[a][:3, :3])))
        apart.append(max(shift_m / config.max_shift_m, turn_deg / config.max_turn_deg))
    return None if max(apart) <= 1.0 else fitting[int(np.argmax(apart))]


def _disagreement_m(surfaces: Sequence[ViewSurface], pairs: Sequence[tuple[int, int]], T: Sequence[Float64]) -> float:
    """Return by how much views disagree on average when moved by their corrections, metres."""
    found = (disagreement(surfaces[a], T[a], surfaces[b], T[b], REACH_M[0]) for a, b in pairs)
    return float(np.mean([robust_mean_m(f, MOST_M) for f in found]))


def _corrected(view: ObjectView, T: Float64, object_frame: ObjectFrame) -> ObjectView:
    T_world = object_frame.T_world_obj @ T @ inverse(object_frame.T_world_obj)
    return replace(view, frame=replace(view.frame, T_world_cam=T_world @ view.frame.T_world_cam))


def _support_z_m(object_frame: ObjectFrame, surfaces: Sequence[ViewSurface], T: Sequence[Float64]) -> float | None:
    """Return the height of the support as the moved views measured it around the object."""
    support_z_m = object_frame.support_z_m
    if support_z_m is None:
        return None
    heights = []
    for surface, correction in zip(surfaces, T, strict=True):
        points = transform_points(correction, surface.points[surface.own_count :])
        near = np.abs(points[:, 2] - support_z_m) < SUPPORT_M
        if near.sum() >= MIN_SUPPORT_POINTS:
            heights.append(float(np.median(points[near, 2])))
    return float(np.round(np.mean(heights), ROUNDED)) if heights else support_z_m
