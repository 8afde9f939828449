"""Training samples: the evidence that a session would hand its completer, and the true distances to learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import RLock

import numpy as np
import numpy.typing as npt
import torch

from sparse_recon.complete.carve import carve
from sparse_recon.complete.compact.volumes import GRID, evidence_volumes, quantised_distance
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import EvidenceError
from sparse_recon.evidence import Bounds, Evidence, brought_together, without_outliers
from sparse_recon.geometry.clouds import voxel_means
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.simulate.sensor import SENSORS
from sparse_recon.lab.training.bake import bake
from sparse_recon.lab.training.objects import ProceduralObject, draw_object
from sparse_recon.lab.training.scenes import (
    OBJECT_LABEL,
    RING_VIEWS,
    TrainingScene,
    draw_scene,
    seen_by_real_camera,
    take,
)
from sparse_recon.observe.catalog import REGION_REACH_VOXELS
from sparse_recon.observe.frame_store import FrameStore
from sparse_recon.observe.regions import LabelRegion
from sparse_recon.observe.segment import SupportPlane, largest_clusters
from sparse_recon.observe.views import collect_views
from sparse_recon.types import Float32, Frame, ObjectViews

VIEW_COUNTS, VIEW_SHARES = (1, 2, 3, 4, 5, 6, 8), (0.45, 0.2, 0.15, 0.09, 0.05, 0.03, 0.03)
COLOUR_ONLY_SHARE = 0.06
PLANE_SIGMA_M, PLANE_SIGMA_RAD = 0.0007, 0.004
# Objects that stand out of their cube are of no use: the cube is then wrong, not the completion.
MAX_OUTSIDE = 0.02


@dataclass(frozen=True, eq=False)
class Sample:
    """One object seen from some sides.

    Attributes
    ----------
    volumes : (7, N, N, N) int8, as the network is given them (`complete.compact.volumes`).
    target : (N, N, N) int8, true signed distance in the same steps.
    scalars : (5,) float32.
    family : of the object.
    number : of the object in its stream.
    """

    volumes: npt.NDArray[np.int8]
    target: npt.NDArray[np.int8]
    scalars: Float32
    family: str
    number: int


def samples_of(
    seed: int,
    number: int,
    count: int,
    draw: Callable[[np.random.Generator], ProceduralObject] = draw_object,
    config: SessionConfig | None = None,
    noise: bool = True,
    real_cameras: float = 0.0,
) -> Iterator[Sample]:
    """Yield up to `count` samples of object `number` of a stream, seen from different sides.

    The same seed and number give the same samples. An object that is too thin, or unseen, gives fewer. `draw` makes
    the object. Without `noise` cameras and poses are exact; all else stays,
    as it does for the share `real_cameras` of the objects, which kinds of real cameras see.
    """
    config = config or SessionConfig()
    rng = np.random.default_rng((seed, number))
    made = draw(rng)
    baked = bake(made)
    if baked is None:
        return
    scene = draw_scene(baked, rng, (seed, number))
    if not noise:
        scene = replace(scene, sensor=SENSORS["clean"])
    elif real_cameras > 0:
        scene = seen_by_real_camera(scene, real_cameras)
    frame_of = lru_cache(maxsize=RING_VIEWS)(lambda k: take(scene, k))
    for _ in range(count):
        numbers = _choose_views(rng)
        colour_only = (
            int(rng.integers(1, len(numbers))) if len(numbers) > 1 and rng.random() < COLOUR_ONLY_SHARE else -1
        )
        frames = [frame_of(k) for k in numbers]
        frames = [replace(f, depth_m=None) if i == colour_only else f for i, f in enumerate(frames)]
        try:
            views = object_views(scene, frames, rng, config)
        except EvidenceError:
            continue
        sample = sample_of(scene, views, rng, config)
        if sample is not None:
            yield replace(sample, family=made.family, number=number)


def _choose_views(rng: np.random.Generator) -> list[int]:
    """Return cameras of the ring: every so many-th, as robots drive around things, or any."""
    count = int(rng.choice(VIEW_COUNTS, p=VIEW_SHARES))
    start = int(rng.integers(RING_VIEWS))
    if rng.random() < 0.5:
        step = RING_VIEWS // count
        return [(start + k * step) % RING_VIEWS for k in range(count)]
    if rng.random() < 0.6:
        return [(start + k) % RING_VIEWS for k in range(count)]
    return rng.permutation(RING_VIEWS)[:count].tolist()


def object_views(
    scene: TrainingScene, frames: Sequence[Frame], rng: np.random.Generator, config: SessionConfig
) -> ObjectViews:
    """Do with frames what a session does with a labelled object."""
    store = FrameStore(config, RLock())
    for frame in frames:
        store.add(frame)
    kept = store.frames()
    labels = {(f.camera, f.stamp_ns): {OBJECT_LABEL} for f in kept}
    plane = _plane(scene, rng)
    cloud = np.concatenate([np.zeros((0, 3), np.float32), *(LabelRegion(labels).points_world(f) for f in kept)])
    points, count = voxel_means(cloud, config.segment.voxel_size_m)
    above = np.ones(len(points), bool)
    if plane is not None:
        above = plane.heights(points) > 0.5 * config.segment.plane_tolerance_m
    body = largest_clusters(points, count, above, config.segment) == 0
    region = LabelRegion(labels, points[body], REGION_REACH_VOXELS * config.segment.voxel_size_m)
    up = np.array([0.0, 0.0, 1.0])
    return collect_views("object", kept, region, plane, up, config, config.keyframes.max_views)


def _plane(scene: TrainingScene, rng: np.random.Generator) -> SupportPlane | None:
    if scene.support_z_m is None:
        return None
    tilt = rng.normal(0, PLANE_SIGMA_RAD, 2)
    up = np.array([*tilt, 1.0])
    return SupportPlane(up / np.linalg.norm(up), scene.support_z_m + rng.normal(0, PLANE_SIGMA_M))


def sample_of(
    scene: TrainingScene, views: ObjectViews, rng: np.random.Generator, config: SessionConfig
) -> Sample | None:
    """Return the input of a completer for an object, with the truth; None where that would teach nothing."""
    views, _ = without_outliers(brought_together(views, config.registration).views)
    grid = VoxelGrid.cube(GRID, views.object_frame.half_side_m)
    evidence = Evidence.of(views, grid, config.evidence)
    if len(evidence.all_points_obj()) == 0:
        return None
    target = true_distances(scene, views, grid)
    if _outside_share(scene, views, grid) > MAX_OUTSIDE:
        return None
    bounds = Bounds.of(evidence)
    inputs = evidence_volumes(evidence, bounds, carve(evidence, bounds, config.carve, rng))
    return Sample(inputs.volumes, quantised_distance(target / np.float32(grid.voxel_m)), inputs.scalars, "", 0)


def true_distances(scene: TrainingScene, views: ObjectViews, grid: VoxelGrid) -> Float32:
    """Return the object's true signed distance, metres, at the voxels of its cube."""
    T_obj_cube = inverse(scene.T_world_obj) @ views.object_frame.T_world_obj
    points = transform_points(T_obj_cube, grid.centres().reshape(-1, 3)).astype(np.float32)
    return scene.baked.distance(torch.from_numpy(points)).numpy().reshape(grid.shape)


def _outside_share(scene: TrainingScene, views: ObjectViews, grid: VoxelGrid) -> float:
    solid = np.argwhere(scene.baked.sdf_m < 0)
    solid = solid[:: max(1, len(solid) // 3000)]
    T_cube_obj = inverse(views.object_frame.T_world_obj) @ scene.T_world_obj
    points = transform_points(T_cube_obj, scene.baked.grid.points(solid.astype(np.float64)))
    return float(1 - grid.inside(points).mean())
