"""An object on a table, or held in the air, with things around it, and cameras with all their errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.geometry.cameras import cropped, project_points
from sparse_recon.geometry.poses import inverse, look_at, pose, transform_points
from sparse_recon.lab.simulate.profiles import varied
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.sensor import SENSORS, SensorModel, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.lab.training.bake import BakedObject
from sparse_recon.lab.training.trace import Hits, Slab, trace_floor, trace_object, trace_slab
from sparse_recon.types import CameraIntrinsics, Float64, Frame

RING_VIEWS = 8
FIRST_STAMP_NS, PERIOD_NS = 1_000_000_000, 100_000_000
OBJECT_LABEL = 1
# What robots carry, by rough guess; half of it is the one kind that was measured.
REAL_CAMERAS = (
    ("d400", 0.5),
    ("azure_kinect", 0.1),
    ("l515", 0.1),
    ("orbbec", 0.1),
    ("zed", 0.1),
    ("f200", 0.05),
    ("kinect_v2", 0.05),
)
_CAMERA_STREAM = 11  # beside those of the views, whose numbers are below RING_VIEWS
# Everything that the cube and the ring around the mask can see; the cube reaches as far behind as the object is wide.
CROP_RADII = 1.9


@dataclass(frozen=True, eq=False)
class TrainingScene:
    """Where an object stands, what is around it, and the cameras of a ring around it.

    Attributes
    ----------
    support_z_m : height of the table; None for an object in the air.
    poses : true `T_world_cam` of the ring, evenly spread in azimuth but for a jitter.
    """

    baked: BakedObject
    T_world_obj: Float64
    support_z_m: float | None
    table_reach_m: float
    floor_z_m: float
    slabs: tuple[Slab, ...]
    intrinsics: CameraIntrinsics
    poses: tuple[Float64, ...]
    sensor: SensorModel
    centre_world: Float64
    radius_m: float
    seed: tuple[int, ...]


def draw_scene(baked: BakedObject, rng: np.random.Generator, seed: tuple[int, ...]) -> TrainingScene:
    """Stand an object up, put things around it and cameras before it."""
    points = _surface_points(baked)
    kind = rng.random()
    R = _about_z(rng) if kind < 0.45 else _stable(baked, points, rng) if kind < 0.88 else _any(rng)
    on_table = kind < 0.88 or rng.random() < 0.5
    turned = points @ R.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = 0.5 * (low + high)
    T_world_obj = pose(R, (-middle[0], -middle[1], -low[2]))
    centre = np.array([0.0, 0.0, 0.5 * (high - low)[2]])
    radius = 0.5 * float(np.linalg.norm(high - low))
    width, height = [(640, 480), (640, 480), (480, 360), (848, 480)][int(rng.integers(4))]
    intrinsics = depth_camera(width, height, rng.uniform(50, 69))
    return TrainingScene(
        baked=baked,
        T_world_obj=T_world_obj,
        support_z_m=0.0 if on_table else None,
        table_reach_m=float(rng.uniform(radius + 0.05, 1.0)) if rng.random() < 0.3 else 1.5,
        floor_z_m=float(rng.uniform(-0.9, -0.3)) if rng.random() < 0.5 else -50.0,
        slabs=_things_around(0.5 * (high - low), rng) if rng.random() < 0.4 else (),
        intrinsics=intrinsics,
        poses=_ring(centre, radius, intrinsics, rng),
        sensor=_draw_sensor(rng),
        centre_world=centre,
        radius_m=radius,
        seed=seed,
    )


def take(scene: TrainingScene, number: int) -> Frame:
    """Return the frame of camera `number`, cropped to the surroundings of the object."""
    T_world_cam = scene.poses[number]
    intrinsics = _crop(scene, T_world_cam)
    layers = [(OBJECT_LABEL, trace_object(scene.baked, scene.T_world_obj, intrinsics, T_world_cam))]
    layers += [(2 + k, trace_slab(slab, intrinsics, T_world_cam)) for k, slab in enumerate(scene.slabs)]
    if scene.support_z_m is not None:
        layers.append((0, trace_floor(scene.support_z_m, scene.table_reach_m, intrinsics, T_world_cam)))
    layers.append((0, trace_floor(scene.floor_z_m, 4.0, intrinsics, T_world_cam)))
    rng = np.random.default_rng((*scene.seed, number))
    view = _composed(layers, intrinsics, T_world_cam)
    return sense(view, scene.sensor, rng, stamp_ns=FIRST_STAMP_NS + number * PERIOD_NS)


def _composed(layers: list[tuple[int, Hits]], intrinsics: CameraIntrinsics, T_world_cam: Float64) -> RenderedView:
    depth = np.stack([hits.depth_m for _, hits in layers])
    nearest = depth.argmin(axis=0)[None]
    front = np.take_along_axis(depth, nearest, 0)[0]
    labels = np.array([label for label, _ in layers], np.int32)[nearest[0]]
    normals = np.take_along_axis(np.stack([hits.normals_world for _, hits in layers]), nearest[..., None], 0)[0]
    seen = np.isfinite(front)
    rgb = np.full((*front.shape, 3), 128, np.uint8)
    return RenderedView(
        rgb=rgb,
        depth_m=np.where(seen, front, np.float32(np.nan)),
        labels=np.where(seen, labels, 0).astype(np.int32),
        normals_world=np.where(seen[..., None], normals, np.float32(0)),
        intrinsics=intrinsics,
        T_world_cam=T_world_cam,
    )


def _surface_points(baked: BakedObject) -> Float64:
    """Return (N, 3) points on the surface, in the object's frame, to a fraction of a voxel."""
    near = np.abs(baked.sdf_m) < 0.75 * baked.grid.voxel_m
    points = np.asarray(baked.grid.points(np.argwhere(near).astype(np.float64)), np.float64)
    return points[:: max(1, len(points) // 4000)]


def _about_z(rng: np.random.Generator) -> Float64:
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _any(rng: np.random.Generator) -> Float64:
    from scipy.spatial.transform import Rotation

    return Rotation.random(random_state=rng).as_matrix()


def _stable(baked: BakedObject, points: Float64, rng: np.random.Generator) -> Float64:
    """Return a rotation that lays the object on a face of its hull on which it stays, large ones more often."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.transform import Rotation

    hull = ConvexHull(points)
    corner = points[hull.simplices]
    area: Float64 = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    _, face = np.unique(np.round(hull.equations[:, :3], 1) + 0.0, axis=0, return_inverse=True)
    total: Float64 = np.bincount(face.ravel(), weights=area).astype(np.float64)
    sums = np.stack([np.bincount(face.ravel(), weights=area * hull.equations[:, k]) for k in range(3)], axis=1)
    normals: Float64 = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    mass = np.asarray(baked.grid.points(np.argwhere(baked.sdf_m < 0).mean(axis=0)), np.float64)
    likely = np.argsort(-(rng.random(len(total)) ** (1 / _share(total))))  # a draw without replacement by area
    near_m = 2 * baked.grid.voxel_m
    down = next((normals[k] for k in likely if _stays(points, normals[k], mass, near_m)), normals[likely[0]])
    onto, _ = Rotation.align_vectors([[0, 0, -1.0]], [down])
    return _about_z(rng) @ onto.as_matrix()


def _share(total: Float64) -> Float64:
    return np.maximum(total / total.sum(), 1e-9)


def _stays(points: Float64, down: Float64, mass: Float64, tolerance_m: float) -> bool:
    """Whether the centre of mass is above what would touch the table."""
    from scipy.spatial import ConvexHull, QhullError

    depth = points @ down
    x = np.cross(down, np.eye(3)[np.argmin(np.abs(down))])
    plane = np.stack([x / np.linalg.norm(x), np.cross(down, x / np.linalg.norm(x))], axis=1)
    try:
        feet = ConvexHull(points[depth > depth.max() - tolerance_m] @ plane)
    except (QhullError, ValueError):
        return False
    return bool(np.all(feet.equations[:, :2] @ (mass @ plane) + feet.equations[:, 2] < 0))


def _things_around(half_size: Float64, rng: np.random.Generator) -> tuple[Slab, ...]:
    slabs = []
    reach = float(np.linalg.norm(half_size[:2]))
    for _ in range(int(rng.integers(1, 4))):
        half = np.exp(rng.uniform(np.log(0.01), np.log(0.08), 3))
        angle = rng.uniform(0, 2 * np.pi)
        away = reach + np.hypot(half[0], half[1]) + rng.uniform(0.004, 0.08)
        R = _about_z(rng)
        slabs.append(Slab(pose(R, (away * np.cos(angle), away * np.sin(angle), half[2])), half))
    return tuple(slabs)


def _ring(
    centre: Float64, radius: float, intrinsics: CameraIntrinsics, rng: np.random.Generator
) -> tuple[Float64, ...]:
    start, jitter = rng.uniform(0, 2 * np.pi), rng.choice([6.0, 20.0])
    low, high = sorted(rng.uniform(5, 80, 2)) if rng.random() < 0.5 else (15.0, 60.0)
    narrow = 2 * np.arctan(0.5 * intrinsics.height / intrinsics.fy)
    nearest = max(0.3, 1.05 * radius / np.sin(0.5 * narrow))  # the object fits into the image
    usual = rng.uniform(nearest, max(nearest + 0.05, min(1.5, nearest + 0.7)))
    poses = []
    for k in range(RING_VIEWS):
        a = start + 2 * np.pi * k / RING_VIEWS + np.deg2rad(rng.uniform(-jitter, jitter))
        e = np.deg2rad(rng.uniform(low, high))
        distance = max(usual * rng.uniform(0.8, 1.25), nearest)
        target = centre + rng.uniform(-1, 1, 3) * min(0.02, 0.2 * radius)
        poses.append(
            look_at(target + distance * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)]), target)
        )
    return tuple(poses)


def seen_by_real_camera(scene: TrainingScene, share: float) -> TrainingScene:
    """Return a scene, or with probability `share` the same one before a kind of real camera, as its seed draws."""
    rng = np.random.default_rng((*scene.seed, _CAMERA_STREAM))
    if rng.random() >= share:
        return scene
    name, _ = REAL_CAMERAS[int(rng.choice(len(REAL_CAMERAS), p=[chance for _, chance in REAL_CAMERAS]))]
    return replace(scene, sensor=replace(scene.sensor, faults=varied(SENSORS[name], rng).faults))


def _draw_sensor(rng: np.random.Generator) -> SensorModel:
    """Draw a clean camera, one of the known kinds, or a random one in their neighbourhood and beyond."""
    kind = rng.random()
    if kind < 0.15:
        return SENSORS["clean"]
    if kind < 0.55:
        known = SENSORS["realsense" if rng.random() < 0.5 else "kinect"]
        return exact(known) if rng.random() < 0.6 else known
    stereo = rng.random() < 0.5
    return replace(
        SENSORS["realsense" if stereo else "kinect"],
        axial_base_m=0.0 if stereo else rng.uniform(0.0003, 0.0016),
        axial_quadratic=0.0 if stereo else rng.uniform(0.0005, 0.003),
        disparity_sigma_px=rng.uniform(0.03, 0.15) if stereo else 0.0,
        disparity_step_px=1 / 32 if stereo and rng.random() < 0.7 else 0.0,
        correlation_px=rng.uniform(0.0, 2.5),
        edge_px=rng.uniform(0.0, 1.8),
        flying=rng.uniform(0.0, 0.5),
        grazing_deg=rng.uniform(68.0, 88.0),
        dropout=rng.choice([0.005, 0.02, 0.1, 0.25]),
        pose_sigma_m=abs(rng.normal(0, 0.0015)),
        pose_sigma_deg=abs(rng.normal(0, 0.15)),
        mask_px=int(rng.integers(0, 4)),
        color_sigma=0.0,
    )


def _crop(scene: TrainingScene, T_world_cam: Float64) -> CameraIntrinsics:
    """Return the camera of the part of the image that sees the object's surroundings."""
    reach = CROP_RADII * scene.radius_m + 0.02
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * reach / np.sqrt(3)
    corners = scene.centre_world + corners
    uv = project_points(transform_points(inverse(T_world_cam), corners), scene.intrinsics)
    width, height = scene.intrinsics.width, scene.intrinsics.height
    low = np.floor(np.nan_to_num(np.nanmin(uv, axis=0), nan=0.0)).astype(int)
    high = np.ceil(np.nan_to_num(np.nanmax(uv, axis=0), nan=1e4)).astype(int)
    left, top = np.clip(low, 0, (width - 8, height - 8))
    right, bottom = np.clip(high, (left + 8, top + 8), (width, height))
    # Every second pixel is looked at to choose frames by, so crops begin at even pixels.
    left, top = int(left) // 2 * 2, int(top) // 2 * 2
    return cropped(scene.intrinsics, left, top, int(right) - left, int(bottom) - top)
