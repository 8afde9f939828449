"""Instances of several frames become things of the scene; true labels of the simulator stand for the network's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import around, block, two_objects

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.instances import InstanceFinder, ThingRegion, _rounded
from sparse_recon.observe.object_score import object_score
from sparse_recon.observe.scene_cloud import SceneCloud
from sparse_recon.observe.segment import SupportPlane, cluster_scene, survey
from sparse_recon.observe.segmenter.decoding import Instances
from sparse_recon.requests import RejectionReason

CONFIG = SegmentConfig()
UP = np.array([0.0, 0.0, 1.0])


def without_labels(frames):
    return tuple(replace(f, labels=None) for f in frames)


def off_the_grid(frames):
    """Move the world a little: surfaces on borders of voxels are in one or the other as processors round."""
    shift = pose(np.eye(3), (0.0013, 0.0017, 0.0011))
    return tuple(replace(f, T_world_cam=shift @ f.T_world_cam) for f in frames)


def told(frames, labels_of, config=CONFIG, thing=1.0):
    """Return the scene told apart by `labels_of`, which gives the label image of a frame by its stamp."""
    bare = without_labels(frames)
    scene = survey(bare, SceneCloud(CONFIG.voxel_size_m, DepthConfig()), UP, config, 0)

    def segment(frame, plane):
        labels = labels_of(frame.stamp_ns)
        count = int(labels.max())
        return Instances(labels, thing * (labels > 0).astype(np.float32), np.ones(count, np.float32))

    finder = InstanceFinder(segment, CONFIG.voxel_size_m)
    told_apart, solid = finder.told_apart(scene, cluster_scene(scene, config, 0), bare, config)
    return told_apart, solid, bare


def touching_blocks(views=3):
    scene = scene_of([block(), block()], [pose(np.eye(3), (-0.05, 0, 0)), pose(np.eye(3), (0.05, 0, 0))])
    return record(
        scene, around(views, first_deg=-60.0, turn_deg=90.0), sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240), with_labels=True,
    )  # fmt: skip


def test_things_that_touch_are_two_whatever_their_numbers_in_each_frame():
    made = touching_blocks()
    labels = {
        f.stamp_ns: f.labels if i % 2 else np.where(f.labels > 0, 3 - f.labels, 0) for i, f in enumerate(made.frames)
    }
    scene, _, _ = told(made.frames, lambda stamp: labels[stamp].astype(np.int32))
    assert scene.label.max() == 1
    middles = sorted(scene.points_world[scene.label == k, 0].mean() for k in (0, 1))
    assert middles == pytest.approx([-0.05, 0.05], abs=0.02)
    assert len(np.unique(cluster_scene(scene, CONFIG, 0).label)) > 1  # gaps alone see one


def test_what_no_frame_calls_a_thing_is_none_though_it_stands_out():
    made = two_objects(views=3, with_labels=True)
    labels = {f.stamp_ns: np.where(f.labels == 1, 1, 0).astype(np.int32) for f in made.frames}
    scene, _, _ = told(made.frames, lambda stamp: labels[stamp])
    assert scene.label.max() == 0
    assert scene.points_world[scene.label == 0, 0].mean() < 0


def test_frames_without_any_thing_show_none():
    made = two_objects(views=2, with_labels=True)
    scene, solid, _ = told(made.frames, lambda stamp: np.zeros_like(made.frames[0].labels))
    assert scene.label.max() < 0 and not any(s.pixels.any() for s in solid.values())
    assert {item.reason for item in scene.refused} == {RejectionReason.NO_OBJECT}


def test_what_no_frame_calls_a_thing_is_told_with_its_score():
    made = two_objects(views=3, with_labels=True)
    labels = {f.stamp_ns: np.where(f.labels == 1, 1, 0).astype(np.int32) for f in made.frames}
    scene, _, _ = told(made.frames, lambda stamp: labels[stamp])
    (block,) = (item for item in scene.refused if scene.count[item.members].sum() > 1000)
    assert block.reason is RejectionReason.NO_OBJECT and block.figure < block.limit == CONFIG.min_score
    assert scene.points_world[block.members, 0].mean() == pytest.approx(0.08, abs=0.02)


def test_the_score_falls_with_what_frames_say_of_the_pixels():
    made = two_objects(views=2, with_labels=True)
    labels = {f.stamp_ns: f.labels.astype(np.int32) for f in made.frames}
    everything = replace(CONFIG, min_score=0.0)
    sure, doubtful = (told(made.frames, labels.get, everything, thing)[0].cues for thing in (1.0, 0.6))
    assert [round(c.objectness, 1) for c in sure] == [1.0, 1.0]
    assert all(object_score(a) > object_score(b) for a, b in zip(sure, doubtful, strict=True))


def test_what_stands_on_another_is_one_but_for_its_size():
    scene = scene_of([block(), block()], [pose(np.eye(3), (0, 0, z)) for z in (0.0, 0.08)])
    made = record(
        scene, around(2, distance_m=0.7), sensor=exact(SENSORS["clean"]), intrinsics=depth_camera(320, 240),
        with_labels=True,
    )  # fmt: skip
    frames = off_the_grid(made.frames)
    labels = {f.stamp_ns: f.labels.astype(np.int32) for f in frames}
    assert told(frames, labels.get)[0].label.max() == 0
    apart, _, _ = told(frames, labels.get, replace(CONFIG, max_size_m=0.13))
    middles = sorted(float(apart.points_world[apart.label == k, 2].mean()) for k in range(apart.label.max() + 1))
    assert middles == pytest.approx([0.05, 0.13], abs=0.02)


def test_the_plane_under_a_thing_that_frames_call_its_own_belongs_to_it():
    made = two_objects(views=3, with_labels=True)
    labels = {}
    for f in made.frames:
        grown = f.labels.copy()
        grown[:, :20] = np.where(grown[:, :20] == 0, 0, grown[:, :20])
        labels[f.stamp_ns] = grown.astype(np.int32)
    flat = {s: np.where(image > 0, image, 0) for s, image in labels.items()}
    plain, _, _ = told(made.frames, lambda stamp: flat[stamp])
    low = plain.points_world[plain.label >= 0, 2].min()
    assert low < CONFIG.plane_tolerance_m  # gaps alone leave the lowest millimetres to the table


def test_pixels_that_are_no_thing_are_in_no_mask():
    made = two_objects(views=2, with_labels=True)
    frames = {f.stamp_ns: f for f in made.frames}
    eroded = {}
    for stamp, f in frames.items():
        image = f.labels.copy()
        image[:, : image.shape[1] // 2] = 0
        eroded[stamp] = image.astype(np.int32)
    scene, solid, bare = told(made.frames, lambda stamp: eroded[stamp])
    region = ThingRegion(scene, 0, 2 * CONFIG.voxel_size_m, solid, CONFIG.plane_tolerance_m)
    for f in bare:
        assert not region.mask(f)[:, : f.rgb.shape[1] // 2].any()
        coarse = replace(f, rgb=f.rgb[::2, ::2], depth_m=f.depth_m[::2, ::2], intrinsics=depth_camera(160, 120))
        assert region.mask(coarse).shape == (120, 160)


def test_a_frame_is_looked_at_once():
    made = two_objects(views=2, with_labels=True)
    seen = []

    def labels_of(stamp):
        seen.append(stamp)
        return next(f.labels for f in made.frames if f.stamp_ns == stamp).astype(np.int32)

    bare = without_labels(made.frames)
    scene = survey(bare, SceneCloud(CONFIG.voxel_size_m, DepthConfig()), UP, CONFIG, 0)
    clustered = cluster_scene(scene, CONFIG, 0)
    finder = InstanceFinder(
        lambda f, plane: Instances(
            labels_of(f.stamp_ns), (labels_of(f.stamp_ns) > 0).astype(np.float32), np.ones(2, np.float32)
        ),
        CONFIG.voxel_size_m,
    )
    first, _ = finder.told_apart(scene, clustered, bare, CONFIG)
    looks = len(seen)
    second, _ = finder.told_apart(scene, clustered, bare, CONFIG)
    assert len(seen) == looks and np.array_equal(first.label, second.label)


def test_planes_that_hardly_differ_are_one_and_lie_where_the_frame_looks():
    frame = two_objects(views=1).frames[0]
    up = np.array([0.001, 0.0, 1.0])
    for tilt, height_m in ((up, 0.0002), (np.array([0.0, -0.0012, 1.0]), -0.0003)):
        plane = SupportPlane(tilt / np.linalg.norm(tilt), height_m)
        rounded = _rounded(plane, frame)
        assert rounded.up_world.tolist() == [0.0, 0.0, 1.0] and abs(rounded.height_m) < 0.0021
    steep = SupportPlane(np.array([0.6, 0.0, 0.8]), 0.3)
    rounded = _rounded(steep, frame)
    ahead = frame.T_world_cam[:3, 3] + frame.T_world_cam[:3, 2]
    assert abs(rounded.heights(ahead) - steep.heights(ahead)) < 0.002


def test_a_thing_that_one_frame_cuts_in_two_is_one_where_the_others_see_one():
    frames = off_the_grid(two_objects(views=4, with_labels=True).frames)
    labels = {f.stamp_ns: f.labels.astype(np.int32) for f in frames}
    cut = frames[-1].labels.astype(np.int32)
    rows = np.nonzero((cut == 2).any(axis=1))[0]
    cut[rows[len(rows) // 2] :][cut[rows[len(rows) // 2] :] == 2] = 3
    labels[frames[-1].stamp_ns] = cut
    scene, _, _ = told(frames, lambda stamp: labels[stamp])
    assert scene.label.max() == 1


def stacked(shift_m: float):
    """Return frames of a block on another one, beside it by a shift, as the truth labels them: 1 below, 2 above."""
    low, high = block((0.1, 0.08, 0.05)), block((0.06, 0.06, 0.05))
    z_m = 0.05 if shift_m < 0.05 else 0.0
    scene = scene_of([low, high], [pose(np.eye(3), (0, 0, 0)), pose(np.eye(3), (shift_m, 0, z_m))])
    return record(
        scene,
        around(3, first_deg=-60.0, turn_deg=90.0),
        sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240),
        with_labels=True,
    )


@pytest.mark.parametrize(("shift_m", "things"), [(0.0, 1), (0.02, 1), (0.085, 2)])
def test_what_stands_above_each_other_is_one_and_beside_each_other_two(shift_m, things):
    made = stacked(shift_m)
    labels = {f.stamp_ns: f.labels.astype(np.int32) for f in made.frames}
    scene, _, _ = told(made.frames, lambda stamp: labels[stamp])
    assert scene.label.max() + 1 == things


def test_what_carries_several_beside_each_other_is_no_part_of_them():
    scene = scene_of(
        [block((0.3, 0.12, 0.02)), block((0.06, 0.06, 0.06)), block((0.05, 0.06, 0.08))],
        [pose(np.eye(3), (x, 0, z)) for x, z in ((0.0, 0.0), (-0.09, 0.02), (0.09, 0.02))],
    )
    made = record(
        scene, around(3, first_deg=-60.0, turn_deg=90.0, distance_m=0.7), sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240), with_labels=True,
    )  # fmt: skip
    labels = {f.stamp_ns: f.labels.astype(np.int32) for f in made.frames}
    apart, _, _ = told(made.frames, labels.get)
    middles = sorted(float(apart.points_world[apart.label == k, 0].mean()) for k in range(apart.label.max() + 1))
    assert middles == pytest.approx([-0.09, 0.0, 0.09], abs=0.03)


def test_shreds_between_which_the_same_surface_is_no_thing_are_none():
    made = two_objects(views=3, with_labels=True)
    labels = {}
    for f in made.frames:
        shred = (np.indices(f.labels.shape) // 8 % 3 == 0).all(axis=0)  # a ninth of the block, in spots
        labels[f.stamp_ns] = np.where(f.labels == 1, 1, np.where((f.labels == 2) & shred, 2, 0)).astype(np.int32)
    scene, _, _ = told(made.frames, labels.get)
    assert scene.label.max() == 0
    (shreds,) = (item for item in scene.refused if item.reason is RejectionReason.SCATTERED)
    assert shreds.figure < shreds.limit == 0.5
    assert scene.points_world[shreds.members, 0].mean() == pytest.approx(0.08, abs=0.03)
