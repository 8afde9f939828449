"""Objects and planes found in simulated scenes whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scenes import around, ball, block, recording, two_objects
from scipy.spatial.transform import Rotation

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.config.session_config import load_config
from sparse_recon.geometry.poses import look_at, pose, transform_points
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS
from sparse_recon.lab.simulate.shapes import Shape, load_manifold, painted_shape
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.scene_cloud import SceneCloud
from sparse_recon.observe.segment import cluster_box, cluster_scene, find_support_plane, survey
from sparse_recon.types import OrientedBox

CONFIG = SegmentConfig()
UP = np.array([0.0, 0.0, 1.0])


def scene_cloud() -> SceneCloud:
    return SceneCloud(SegmentConfig().voxel_size_m, DepthConfig())


def clustered(frames, up_world, config, seed):
    return cluster_scene(survey(frames, scene_cloud(), up_world, config, seed), config, seed)


def turned(frames, T_new_world):
    return tuple(replace(f, T_world_cam=T_new_world @ f.T_world_cam) for f in frames)


def centres(scene) -> list[np.ndarray]:
    return [scene.points_world[scene.label == k].mean(axis=0) for k in range(int(scene.label.max()) + 1)]


def test_two_objects_on_a_table_are_two():
    scene = clustered(two_objects().frames, UP, CONFIG, 0)
    x = sorted(c[0] for c in centres(scene))
    assert len(x) == 2
    np.testing.assert_allclose(x, [-0.08, 0.08], atol=0.01)


def test_table_is_the_support_plane():
    plane = clustered(two_objects().frames, UP, CONFIG, 0).plane
    assert plane.up_world @ UP > 0.9999 and abs(plane.height_m) < 0.001
    np.testing.assert_allclose(plane.heights(np.float32([[0, 0, 0.1], [0.2, 0, -0.05]])), [0.1, -0.05], atol=0.002)


@pytest.mark.parametrize("angles_deg", [(90, 0, 0), (0, 140, 30), (-60, 20, 200)])
def test_support_plane_is_found_in_a_world_of_unknown_up(angles_deg):
    T = pose(Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix(), (0.5, -1.0, 2.0))
    scene = clustered(turned(two_objects().frames, T), None, CONFIG, 0)
    assert scene.plane.up_world @ (T[:3, :3] @ UP) > 0.9999
    assert len(centres(scene)) == 2


def test_same_points_and_seed_give_the_same_plane_and_objects():
    first, second = (clustered(two_objects().frames, None, CONFIG, 3) for _ in range(2))
    assert np.array_equal(first.label, second.label)
    assert np.array_equal(first.plane.up_world, second.plane.up_world)


def test_the_table_and_not_the_larger_floor_carries_the_objects():
    table = two_objects().frames
    rng = np.random.default_rng(0)
    points, _ = scene_cloud().points(table)
    floor = np.column_stack([rng.uniform(-1.5, 1.5, (len(points), 2)), rng.normal(-0.7, 0.002, len(points))])
    plane = find_support_plane(np.concatenate([points, floor.astype(np.float32)]), UP, 20.0, CONFIG, rng)
    assert abs(plane.height_m) < 0.002


def test_a_steep_plane_is_no_support():
    rng = np.random.default_rng(0)
    wall = np.column_stack([rng.normal(0, 0.001, 3000), rng.uniform(-1, 1, (3000, 2))]).astype(np.float32)
    assert find_support_plane(wall, UP, 20.0, CONFIG, rng) is None


def test_few_points_have_no_plane_and_no_frames_no_scene():
    assert find_support_plane(np.zeros((10, 3), np.float32), UP, 20.0, CONFIG, np.random.default_rng(0)) is None
    blind = [replace(f, depth_m=None) for f in two_objects().frames]
    assert len(clustered(blind, UP, CONFIG, 0).points_world) == 0


def test_thinning_keeps_points_in_place_and_counts_pixels():
    frame = two_objects().frames[0]
    points, count = scene_cloud().points([frame])
    assert count.sum() == pytest.approx(np.count_nonzero(frame.depth_m > 0), rel=0.03)
    assert points[:, 2].min() > -0.005 and len(np.unique(np.floor(points / 0.005), axis=0)) > 0.95 * len(points)


def test_box_takes_what_is_in_it_without_the_table():
    box = OrientedBox(pose(np.eye(3), (0.08, 0.0, 0.03)), np.array([0.14, 0.14, 0.14]))
    frames = two_objects().frames
    scene = cluster_box(survey(frames, scene_cloud(), UP, CONFIG, 0), box, CONFIG)
    own = scene.points_world[scene.label == 0]
    assert own[:, 2].min() > 0.0 and own[:, 0].min() > 0.02
    np.testing.assert_allclose(np.ptp(own, axis=0), (0.1, 0.06, 0.08), atol=0.012)


def test_box_leaves_out_the_corner_of_a_neighbour():
    # The box holds the block and reaches 2 cm into the ball.
    box = OrientedBox(pose(np.eye(3), (0.045, 0.0, 0.05)), np.array([0.21, 0.14, 0.14]))
    frames = two_objects().frames
    scene = cluster_box(survey(frames, scene_cloud(), UP, CONFIG, 0), box, CONFIG)
    assert scene.points_world[scene.label == 0][:, 0].min() > 0.02


def test_turned_box_is_taken_as_turned():
    R = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    thin = OrientedBox(pose(R, (0.08, 0.0, 0.04)), np.array([0.2, 0.02, 0.2]))
    scene = cluster_box(survey(two_objects().frames, scene_cloud(), UP, CONFIG, 0), thin, CONFIG)
    own = scene.points_world[(scene.label == 0)]
    across = (own - (0.08, 0.0, 0.04)) @ R[:, 1]
    assert len(own) > 20 and np.abs(across).max() <= 0.01 + 1e-6


def test_what_hangs_in_the_air_is_no_object():
    shapes = [ball(), ball(0.02)]
    scene = scene_of(shapes, [pose(np.eye(3), (0, 0, 0)), pose(np.eye(3), (0.1, 0, 0.25))])
    frames = record(scene, around(3, distance_m=0.7), sensor=SENSORS["clean"], intrinsics=depth_camera(320, 240)).frames
    found = centres(clustered(frames, UP, CONFIG, 0))
    assert len(found) == 1 and np.linalg.norm(found[0][:2]) < 0.02


def container() -> Shape:
    """A crate without lid and front, 44 x 30 cm and 26 cm high: larger than the objects accepted below."""
    boards = [
        ((0.44, 0.30, 0.004), (0, 0, 0.002)),
        ((0.004, 0.30, 0.26), (-0.22, 0, 0.13)),
        ((0.004, 0.30, 0.26), (0.22, 0, 0.13)),
        ((0.44, 0.004, 0.26), (0, 0.15, 0.13)),
    ]
    crate = trimesh.util.concatenate([trimesh.creation.box(size, pose(np.eye(3), centre)) for size, centre in boards])
    vertices = np.asarray(crate.vertices)
    return Shape("crate", vertices, np.asarray(crate.faces, np.int32), np.full((len(vertices), 3), 150, np.uint8))


def test_things_in_a_crate_are_objects_and_the_crate_is_not():
    inside = [pose(np.eye(3), (x, -0.02, 0.004)) for x in (-0.1, 0.1)]
    scene = scene_of([ball(), block(), container()], [*inside, pose(np.eye(3), (0, 0, 0))])
    cameras = [look_at((x, -0.75, 0.45), (0, 0, 0.1)) for x in (-0.3, 0.0, 0.3)]
    frames = record(scene, cameras, sensor=SENSORS["clean"], intrinsics=depth_camera(320, 240)).frames
    config = load_config({"segment.max_size_m": 0.4}).segment
    found = clustered(frames, UP, config, 0)
    x = sorted(float(c[0]) for c in centres(found))
    assert len(x) == 2
    np.testing.assert_allclose(x, [-0.1, 0.1], atol=0.02)


def test_objects_are_numbered_from_the_largest():
    scene = clustered(two_objects().frames, UP, CONFIG, 0)
    pixels = [scene.count[scene.label == k].sum() for k in range(2)]
    assert pixels[0] > pixels[1]


@pytest.mark.parametrize("sensor", ["kinect", "realsense"])
def test_noise_makes_no_objects(sensor):
    scene = clustered(recording("block", 3, sensor).frames, UP, CONFIG, 0)
    assert len(centres(scene)) == 1


def test_frame_of_the_world_does_not_matter():
    T = pose(np.eye(3), (10.0, -5.0, 1.0))
    here = clustered(two_objects().frames, UP, CONFIG, 0)
    there = clustered(turned(two_objects().frames, T), UP, CONFIG, 0)
    moved = transform_points(T, np.array(centres(here)))
    np.testing.assert_allclose(np.array(centres(there)), moved, atol=0.006)  # points fall into other voxels


def straight_down(angle_deg: float = 0.0):
    """Two views of two objects from above, with one table edge up in the images or another."""
    scene = scene_of([ball(), block()], [pose(np.eye(3), (-0.08, 0, 0)), pose(np.eye(3), (0.08, 0, 0))])
    R = Rotation.from_euler("z", angle_deg, degrees=True).as_matrix()
    looks = [look_at((0.02 * k, 0.03, 0.75), (0.02 * k, 0.03, 0.0), R @ (0.0, 1.0, 0.0)) for k in range(2)]
    return record(scene, looks, sensor=SENSORS["clean"], intrinsics=depth_camera(320, 240)).frames


@pytest.mark.parametrize("angle_deg", [0.0, 90.0, 200.0])
def test_a_camera_that_looks_straight_down_has_up_towards_it(angle_deg):
    scene = clustered(straight_down(angle_deg), None, CONFIG, 0)
    assert scene.plane is not None and scene.plane.up_world[2] > 0.99
    assert len(centres(scene)) == 2


def upside_down(frame):
    """Return what a camera sees from the same place when it is mounted upside down."""
    height, width = frame.depth_m.shape
    K = frame.intrinsics.K.copy()
    K[:2, 2] = (width - 1, height - 1) - K[:2, 2]
    turned = replace(frame.intrinsics, K=K)
    images = {name: getattr(frame, name)[::-1, ::-1].copy() for name in ("rgb", "depth_m", "labels")}
    T_world_cam = frame.T_world_cam @ pose(np.diag([-1.0, -1.0, 1.0]), (0.0, 0.0, 0.0))
    return replace(frame, **images, intrinsics=turned, T_world_cam=T_world_cam)


def test_a_table_is_never_seen_from_below_whatever_is_said_of_up():
    frames = [upside_down(f) for f in recording("mug", 2).frames]
    assert clustered(frames, UP, CONFIG, 0).plane.up_world[2] > 0.99
    assert clustered(frames, -UP, CONFIG, 0).plane is None
    guessed = clustered(frames, None, CONFIG, 0).plane
    assert guessed is None or guessed.up_world[2] > 0.99


@pytest.mark.parametrize("pitch_deg", [10.0, 30.0, 50.0, 70.0, 85.0])
def test_up_is_found_for_every_pitch_though_there_is_a_wall_behind(pitch_deg):
    wall = painted_shape(
        "wall", load_manifold().cube((2.0, 0.05, 1.4), True), lambda p: np.full((len(p), 3), 90, np.uint8)
    )
    scene = scene_of([block(), wall], [pose(np.eye(3), (0, 0, 0)), pose(np.eye(3), (0.0, 0.6, 0.7))])
    down = np.deg2rad(pitch_deg)
    eye = (0.0, 0.1 - 0.75 * np.cos(down), 0.05 + 0.75 * np.sin(down))
    frame = record(scene, [look_at(eye, (0.0, 0.1, 0.05), (0.0, 0.0, 1.0))], sensor=SENSORS["clean"]).frames
    found = clustered(frame, None, CONFIG, 0)
    assert found.plane is not None and found.plane.up_world[2] > 0.99
