"""How far a cloud lies from the surface that the simulator knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.simulate.scene import Scene, SceneObject, surface_samples

TRUTH_SAMPLES = 20_000


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
