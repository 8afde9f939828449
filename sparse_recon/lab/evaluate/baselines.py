"""What a robot team could take instead: the usual ways from a few depth images to a shape, without any learning."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparse_recon.errors import DependencyError, ErrorCode, InputError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.fuse.blend import fine_grid
from sparse_recon.fuse.mesh import isosurface
from sparse_recon.fuse.surface_points import sample_surface
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.session.session import Observation
from sparse_recon.types import Bool, Float32, Int32, SurfaceField, TriangleMesh, UInt8

POINT_SPACING_M = 0.002
MAX_POINTS = 60_000
# Farther from every measurement than this, a point of a baseline counts as inferred.
MEASURED_WITHIN_M = 0.004
TSDF_VOXEL_M = 0.002
TSDF_TRUNCATION_M = 0.008
POISSON_DEPTH = 7
NORMAL_RADIUS_M = 0.01
CROP_M = 0.005
MIRROR_MIN_MEAN = 0.3  # length of the mean of the unit viewing directions; opposite cameras have 0


@dataclass(frozen=True, eq=False)
class MeasuredCloud:
    """Measured points of an object, world frame: points and unit normals towards the cameras, (M, 3), colours."""

    points_world: Float32
    normals_world: Float32
    colors: UInt8


def measured_cloud(seen: Observation) -> MeasuredCloud:
    """Return all measured points with normals from their neighbours in the same view, turned to its camera."""
    o3d = _open3d()
    T_world_obj = seen.views.object_frame.T_world_obj
    points, normals = [], []
    depth_views = [v for v in seen.views.views if v.frame.depth_m is not None]
    for view, points_obj in zip(depth_views, seen.evidence.points_obj, strict=True):
        points_world = transform_points(T_world_obj, points_obj.astype(np.float64))
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points_world))
        cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=NORMAL_RADIUS_M, max_nn=30))
        cloud.orient_normals_towards_camera_location(view.frame.T_world_cam[:3, 3])
        points.append(points_world)
        normals.append(np.asarray(cloud.normals))
    return MeasuredCloud(
        np.concatenate(points).astype(np.float32),
        np.concatenate(normals).astype(np.float32),
        seen.evidence.all_colors(),
    )


def observed(seen: Observation) -> Prediction:
    """Answer with the measured points and nothing else."""
    cloud = measured_cloud(seen)
    return Prediction(
        surface=None,
        points_world=cloud.points_world,
        normals_world=cloud.normals_world,
        inferred=np.zeros(len(cloud.points_world), bool),
        colors=cloud.colors,
    )


def tsdf(seen: Observation) -> Prediction:
    """Answer with the surface of Open3D's voxel block grid (Curless and Levoy 1996) of the masked depth images."""
    o3d = _open3d()
    single = o3d.core.float32
    grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight"), (single, single), ((1), (1)), TSDF_VOXEL_M, 16, 1_000)
    for view in seen.views.views:
        if view.frame.depth_m is None:
            continue
        depth_m = np.where(view.mask & (view.frame.depth_m > 0), view.frame.depth_m, np.float32(0.0))
        image = o3d.t.geometry.Image(o3d.core.Tensor(depth_m))
        K, T_cam_world = (
            o3d.core.Tensor(np.ascontiguousarray(m)) for m in (view.frame.intrinsics.K, inverse(view.frame.T_world_cam))
        )
        limits = {"depth_scale": 1.0, "depth_max": 100.0, "trunc_voxel_multiplier": TSDF_TRUNCATION_M / TSDF_VOXEL_M}
        blocks = grid.compute_unique_block_coordinates(image, K, T_cam_world, **limits)
        grid.integrate(blocks, image, K, T_cam_world, **limits)
    mesh = grid.extract_triangle_mesh(weight_threshold=0.5)
    vertices, faces = mesh.vertex.positions.numpy(), mesh.triangle.indices.numpy()
    # Blocks come in any order; sorted, the same surface is the same mesh.
    order = np.lexsort(vertices.T)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    faces = np.array([np.roll(f, -int(f.argmin())) for f in rank[faces]]) if len(faces) else faces
    return _of_mesh(seen, vertices[order], faces[np.lexsort(faces.T)] if len(faces) else faces, "the TSDF")


def hull(seen: Observation) -> Prediction:
    """Answer with the convex hull of the measured points."""
    from scipy.spatial import ConvexHull, QhullError

    points = measured_cloud(seen).points_world.astype(np.float64)
    try:
        found = ConvexHull(points)
    except QhullError as error:
        raise InputError(
            ErrorCode.MESH_INVALID, f"{len(points)} measured points have no convex hull: {error}"
        ) from None
    corners = points[found.vertices]
    index = np.full(len(points), -1)
    index[found.vertices] = np.arange(len(found.vertices))
    faces = index[found.simplices]
    a, b, c = (corners[faces[:, i]] for i in range(3))
    inwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), found.equations[:, :3]) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return _of_mesh(seen, corners, faces, "the convex hull", watertight=True)


def carved_hull(seen: Observation) -> Prediction:
    """Answer with all space that no camera saw to be empty: what a careful planner assumes without a model."""
    unknown = SurfaceField(seen.bounds.lower_m, np.zeros_like(seen.bounds.lower_m))
    config = seen.evidence.config
    grid = fine_grid(unknown, seen.evidence.grid, seen.evidence.all_points_obj(), config)
    bounds = Bounds.of(Evidence.of(seen.views, grid, config))
    vertices, faces = isosurface(bounds.lower_m, grid)
    vertices_world = transform_points(seen.views.object_frame.T_world_obj, vertices.astype(np.float64))
    return _of_mesh(seen, vertices_world, faces, "the carved hull", watertight=True)


def poisson(seen: Observation) -> Prediction:
    """Answer with screened Poisson reconstruction (Kazhdan and Hoppe 2013) of the measured points.

    What balloons out of the box around the points is cut off: without it the surface is far worse.
    """
    cloud = measured_cloud(seen)
    return _poisson(seen, cloud.points_world, cloud.normals_world)


def mirror(seen: Observation) -> Prediction:
    """Answer with measured points and their mirror image behind the outline, joined by screened Poisson.

    The mirror is the upright plane square to the mean viewing direction, through the farthest measured points along it
    (Bohg et al. 2011, without their search); mirrored points in space seen to be empty are dropped. Where the cameras
    stand all around there is no behind, and nothing is mirrored.
    """
    cloud = measured_cloud(seen)
    cameras = np.array([v.frame.T_world_cam[:3, 3] for v in seen.views.views])
    centre = cloud.points_world.mean(axis=0)
    towards = (centre - cameras)[:, :2]
    mean = (towards / np.linalg.norm(towards, axis=1, keepdims=True)).mean(axis=0)
    if np.linalg.norm(mean) < MIRROR_MIN_MEAN:
        return _poisson(seen, cloud.points_world, cloud.normals_world)
    axis = np.append(mean / np.linalg.norm(mean), 0.0).astype(np.float32)
    along = cloud.points_world @ axis
    behind = cloud.points_world + 2 * (np.quantile(along, 0.98) - along)[:, None] * axis
    normals = cloud.normals_world - 2 * (cloud.normals_world @ axis)[:, None] * axis
    possible = ~_seen_empty(seen, behind)
    points = np.concatenate([cloud.points_world, behind[possible]])
    return _poisson(seen, points, np.concatenate([cloud.normals_world, normals[possible]]))


BASELINES: dict[str, Callable[[Observation], Prediction]] = {
    "observed": observed,
    "tsdf": tsdf,
    "hull": hull,
    "carved_hull": carved_hull,
    "poisson": poisson,
    "mirror": mirror,
}


def predict(name: str, seen: Observation, observing_s: float) -> Prediction:
    """Return the answer of a baseline, timed; `observing_s` is what finding and collecting the views took."""
    started = time.perf_counter()
    prediction = BASELINES[name](seen)
    return replace(prediction, timings_s={"observe": observing_s, name: time.perf_counter() - started})


def _poisson(seen: Observation, points_world: Float32, normals_world: Float32) -> Prediction:
    o3d = _open3d()
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points_world.astype(np.float64)))
    cloud.normals = o3d.utility.Vector3dVector(normals_world.astype(np.float64))
    # More threads than one change the last bits from run to run.
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=POISSON_DEPTH, n_threads=1)
    mesh = mesh.crop(
        o3d.geometry.AxisAlignedBoundingBox(cloud.get_min_bound() - CROP_M, cloud.get_max_bound() + CROP_M)
    )
    return _of_mesh(seen, np.asarray(mesh.vertices), np.asarray(mesh.triangles), "Poisson reconstruction")


def _of_mesh(seen: Observation, vertices_world: Any, faces: Any, what: str, watertight: bool = False) -> Prediction:
    if len(faces) == 0:
        raise InputError(ErrorCode.MESH_INVALID, f"{what} found no surface; add a view")
    vertices: Float32 = np.asarray(vertices_world, np.float32)
    triangles: Int32 = np.asarray(faces, np.int32)
    points, normals = sample_surface(vertices, triangles, POINT_SPACING_M, MAX_POINTS, np.random.default_rng(0))
    return Prediction(
        surface=TriangleMesh(vertices, triangles, watertight),
        points_world=points,
        normals_world=normals,
        inferred=_far_from_measured(seen, points),
    )


def _far_from_measured(seen: Observation, points_world: Float32) -> Bool:
    from scipy.spatial import cKDTree

    measured = transform_points(seen.views.object_frame.T_world_obj, seen.evidence.all_points_obj().astype(np.float64))
    distance_m, _ = cKDTree(measured).query(points_world, distance_upper_bound=MEASURED_WITHIN_M)
    return np.asarray(~np.isfinite(distance_m))


def _seen_empty(seen: Observation, points_world: Float32) -> Bool:
    points_obj = transform_points(inverse(seen.views.object_frame.T_world_obj), points_world.astype(np.float64))
    grid = seen.bounds.grid
    return np.asarray(grid.sample(seen.bounds.lower_m, points_obj.astype(np.float32)) > 0.5 * grid.voxel_m)


def _open3d() -> Any:
    try:
        import open3d as o3d
    except ImportError as error:
        raise DependencyError("open3d", "the baselines of an evaluation", "pip install open3d") from error
    return o3d
