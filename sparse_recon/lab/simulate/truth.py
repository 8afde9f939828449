"""What the simulator knows of a completion: how far it lies from the true surface, and whether it fills seen space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter
from scipy.spatial import cKDTree

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.scene import Scene, SceneObject, surface_samples
from sparse_recon.types import Bool, Float32, Frame

TRUTH_SAMPLES = 20_000
SEEN_WINDOW_PX = 7


@dataclass(frozen=True)
class SurfaceDistance:
    """Mean nearest distances in metres: `to_truth_m` of the cloud's points, `from_truth_m` of the true surface."""

    to_truth_m: float
    from_truth_m: float

    @property
    def chamfer_m(self) -> float:
        """Chamfer distance: the mean of both directions."""
        return (self.to_truth_m + self.from_truth_m) / 2


def surface_distance(points_world: npt.NDArray[np.floating], true_object: SceneObject) -> SurfaceDistance:
    """Compare (N, 3) points, metres, with the true surface, sampled evenly at 20 000 points.

    No alignment is done: points and truth are both in the world frame.

    Raises
    ------
    InputError
        If there are no points.
    """
    if len(points_world) == 0:
        raise InputError(ErrorCode.USAGE, f"no points to compare with the truth of {true_object.name}")
    truth = surface_samples(true_object.mesh_world, TRUTH_SAMPLES)
    to_truth, _ = cKDTree(truth).query(points_world)
    from_truth, _ = cKDTree(points_world).query(truth)
    return SurfaceDistance(float(to_truth.mean()), float(from_truth.mean()))


def nearest_object(scene: Scene, centre_world: npt.ArrayLike) -> SceneObject:
    """Return the object whose box centre is nearest to a point (3,), metres."""
    centres = [(o.vertices_world.min(axis=0) + o.vertices_world.max(axis=0)) / 2 for o in scene.objects]
    return scene.objects[int(np.argmin(np.linalg.norm(np.array(centres) - np.asarray(centre_world), axis=1)))]


def seen_empty(
    points_world: Float32,
    frames: Sequence[Frame | RenderedView],
    tolerance_m: float,
    window_px: int = SEEN_WINDOW_PX,
) -> Bool:
    """Return which of (N, 3) points, metres, stand in space that some frame clearly measured to be empty, (N,) bool.

    A point does when all pixels of the window around it were measured, and the nearest of them lies more than
    `tolerance_m` behind it. Plain images judge here, not the evidence that a completion was made from; the window, an
    odd number, is by default as wide as outlines wander and pixels fly.
    """
    empty = np.zeros(len(points_world), bool)
    for frame in frames:
        if frame.depth_m is None:
            continue
        # An invalid pixel counts as measured at the camera: nothing can be in front of it.
        nearest_m = minimum_filter(np.nan_to_num(frame.depth_m, nan=0.0), window_px)
        points_cam = transform_points(inverse(frame.T_world_cam), points_world)
        uv = np.rint(np.nan_to_num(project_points(points_cam, frame.intrinsics), nan=-1.0)).astype(np.int64)
        size = np.array((frame.intrinsics.width, frame.intrinsics.height))
        rim = window_px // 2
        inside = np.all((uv >= rim) & (uv < size - rim), axis=1) & (points_cam[:, 2] > 0)
        u, v = uv[inside].T
        empty[inside] |= nearest_m[v, u] > points_cam[inside, 2] + tolerance_m
    return empty
