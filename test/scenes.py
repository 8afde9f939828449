"""Small simulated scenes that several tests look at."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.recording import Recording, record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, SensorModel, exact
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.lab.simulate.virtual_cameras import depth_camera


def ball(radius_m: float = 0.04) -> Shape:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius_m)
    vertices = np.asarray(mesh.vertices) + np.array([0, 0, radius_m])
    return Shape("ball", vertices, np.asarray(mesh.faces, np.int32), np.full((len(vertices), 3), 180, np.uint8))


def block(size_m: tuple[float, float, float] = (0.1, 0.06, 0.08)) -> Shape:
    import trimesh

    mesh = trimesh.creation.box(size_m).subdivide().subdivide()
    vertices = np.asarray(mesh.vertices) + np.array([0, 0, 0.5 * size_m[2]])
    return Shape("block", vertices, np.asarray(mesh.faces, np.int32), np.full((len(vertices), 3), 120, np.uint8))


def mug() -> Shape:
    return make_shape("mug", np.random.default_rng(5))


def around(
    count: int, *, distance_m: float = 0.55, elevation_deg: float = 35.0, first_deg: float = 20.0, turn_deg=360.0
):
    """Return `count` poses `T_world_cam` on a ring about (0, 0, 4 cm)."""
    target, e = np.array([0, 0, 0.04]), np.deg2rad(elevation_deg)
    azimuths = np.deg2rad(first_deg) + np.deg2rad(turn_deg) * np.arange(count) / count
    return tuple(
        look_at(target + distance_m * np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)]), target)
        for a in azimuths
    )


@lru_cache(maxsize=4)
def two_objects(views: int = 4, with_labels: bool = False, gap_m: float = 0.16) -> Recording:
    """Return a seeded recording, 320x240 with exact poses, of a ball (label 1, at -x) beside a block (label 2)."""
    half = 0.5 * gap_m
    scene = scene_of([ball(), block()], [pose(np.eye(3), (-half, 0, 0)), pose(np.eye(3), (half, 0, 0))])
    return record(
        scene,
        around(views, distance_m=0.65, first_deg=70.0),
        sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240),
        with_labels=with_labels,
    )


@lru_cache(maxsize=16)
def recording(
    kind: str = "ball", views: int = 2, sensor: str = "clean", with_labels: bool = True, turn_deg: float = 360.0
) -> Recording:
    """Return a seeded recording of one shape in the middle of the table, 320x240; poses are exact."""
    shape = {"ball": ball, "block": block, "mug": mug}[kind]()
    scene = scene_of([shape], [pose(np.eye(3), (0, 0, 0))])
    model: SensorModel = exact(SENSORS[sensor])
    return record(
        scene,
        around(views, turn_deg=turn_deg),
        sensor=model,
        intrinsics=depth_camera(320, 240),
        with_labels=with_labels,
    )
