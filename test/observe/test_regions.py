"""Pixels of objects, by labels whose numbers may differ and by clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import two_objects

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, look_at, pose, transform_points
from sparse_recon.observe.label_segments import LabelSegments
from sparse_recon.observe.regions import ClusterRegion, LabelRegion, window_of_box
from sparse_recon.observe.scene_cloud import SceneCloud
from sparse_recon.observe.segment import cluster_scene, survey

UP = np.array([0.0, 0.0, 1.0])
VOXEL_M = 0.005


def scene_cloud() -> SceneCloud:
    return SceneCloud(SegmentConfig().voxel_size_m, DepthConfig())


def clustered(frames, up_world, config, seed):
    return cluster_scene(survey(frames, scene_cloud(), up_world, config, seed), config, seed)


def renumbered(frame, numbers: dict[int, int]):
    labels = frame.labels.copy()
    for old, new in numbers.items():
        labels[frame.labels == old] = new
    return replace(frame, labels=labels)


def key(frame):
    return frame.camera, frame.stamp_ns


def associate_labels(frames, voxel_size_m):
    return [group.labels for group in LabelSegments(voxel_size_m).groups(frames)]


def share(a, b) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def test_labels_of_all_frames_are_two_objects():
    frames = two_objects(with_labels=True).frames
    objects = associate_labels(frames, VOXEL_M)
    assert len(objects) == 2
    assert {frozenset(o[key(f)]) for f in frames for o in objects} == {frozenset({1}), frozenset({2})}


def test_labels_are_associated_though_every_frame_numbers_anew():
    frames = list(two_objects(with_labels=True).frames)
    numbers = [{1: 1, 2: 2}, {1: 2, 2: 1}, {1: 7, 2: 3}, {1: 3, 2: 9}]
    shuffled = [renumbered(f, n) for f, n in zip(frames, numbers, strict=True)]
    objects = associate_labels(shuffled, VOXEL_M)
    assert len(objects) == 2
    balls = next(o for o in objects if o[key(frames[0])] == {1})
    assert balls == {key(f): {n[1]} for f, n in zip(frames, numbers, strict=True)}


@pytest.mark.parametrize("shift_m", [(0, 0, 0), (0.3, 0, 0), (-0.3, -0.4, -0.5)])
def test_two_sides_are_one_object_by_the_space_that_they_share(shift_m):
    there = pose(np.eye(3), shift_m)  # space on either side of the world's axes
    frames = [replace(f, T_world_cam=there @ f.T_world_cam) for f in two_objects(with_labels=True).frames[:2]]
    sides = [frames[0], renumbered(frames[1], {1: 7, 2: 5})]
    objects = associate_labels(sides, 0.0005)  # so fine that no voxel is seen twice, not even on top
    assert [tuple(o[key(f)] for f in frames) for o in objects] in ([({2}, {5}), ({1}, {7})], [({1}, {7}), ({2}, {5})])


def test_two_labels_of_one_frame_never_become_one_object():
    # The ball's label also covers the near half of the block in one frame: their space overlaps.
    first, *rest = two_objects(with_labels=True).frames
    columns = np.nonzero((first.labels == 2).any(axis=0))[0]
    wide = first.labels.copy()
    wide[:, : int(np.median(columns))][first.labels[:, : int(np.median(columns))] == 2] = 1
    objects = associate_labels([replace(first, labels=wide), *rest], VOXEL_M)
    assert all(len(labels) == 1 for o in objects for labels in o.values())
    assert len(objects) == 2


def test_frame_without_depth_joins_by_number():
    frames = list(two_objects(with_labels=True).frames)
    frames[2] = replace(frames[2], depth_m=None)
    objects = associate_labels(frames, VOXEL_M)
    assert len(objects) == 2
    assert all(o[key(frames[2])] == o[key(frames[0])] for o in objects)


def test_frame_without_depth_is_no_bridge_between_objects():
    frames = list(two_objects(with_labels=True).frames)
    frames[1] = renumbered(frames[1], {1: 2, 2: 1})
    frames[2] = replace(frames[2], depth_m=None)
    objects = associate_labels(frames, VOXEL_M)
    assert len(objects) == 2  # number 1 is the ball in one frame and the block in another
    assert sorted(len(o) for o in objects) == [4, 4]


def test_label_that_was_never_measured_is_an_object_of_its_own():
    frames = list(two_objects(with_labels=True).frames)
    frames[0] = replace(renumbered(frames[0], {2: 8}), depth_m=None)
    assert {key(frames[0]): {8}} in associate_labels(frames, VOXEL_M)


def test_label_region_masks_its_labels_and_nothing_in_other_frames():
    frames = two_objects(with_labels=True).frames
    region = LabelRegion({key(frames[0]): {1}})
    assert np.array_equal(region.mask(frames[0]), frames[0].labels == 1)
    assert not region.mask(frames[1]).any()
    assert len(region.points_world(frames[0])) == np.count_nonzero((frames[0].labels == 1) & (frames[0].depth_m > 0))
    assert len(region.points_world(replace(frames[0], depth_m=None))) == 0


def test_cluster_region_masks_the_object_as_the_truth_does():
    recording = two_objects(with_labels=True)
    scene = clustered(recording.frames, UP, SegmentConfig(), 0)
    for number in range(2):
        region = ClusterRegion(scene, number, 2 * VOXEL_M)
        x = scene.points_world[scene.label == number][:, 0].mean()
        label = 1 if x < 0 else 2
        for frame in recording.frames:
            mask, truth = region.mask(frame), frame.labels == label
            assert share(mask, truth) > 0.85  # the last 6 mm above the table count as table
            assert np.count_nonzero(mask & (frame.labels == 3 - label)) == 0


def test_occluding_object_is_not_in_the_mask():
    recording = two_objects(with_labels=True)
    scene = clustered(recording.frames, UP, SegmentConfig(), 0)
    ball = next(k for k in range(2) if scene.points_world[scene.label == k][:, 0].mean() < 0)
    frame = recording.frames[0]
    depth = frame.depth_m.copy()
    rows, columns = np.nonzero(frame.labels == 1)
    board = np.zeros_like(frame.labels, bool)
    board[:, : int(np.median(columns))] = True
    depth[board] = 0.3
    mask = ClusterRegion(scene, ball, 2 * VOXEL_M).mask(replace(frame, depth_m=depth))
    assert not mask[board].any()
    assert 0.3 < mask.sum() / len(rows) < 0.7


def test_camera_that_looks_away_sees_nothing():
    recording = two_objects(with_labels=True)
    scene = clustered(recording.frames, UP, SegmentConfig(), 0)
    away = replace(recording.frames[0], T_world_cam=look_at((0.5, 0, 0.3), (2.0, 0, 0.3)))
    assert not ClusterRegion(scene, 0, 2 * VOXEL_M).mask(away).any()


def test_window_of_a_box_holds_its_pixels():
    frame = two_objects(with_labels=True).frames[0]
    window = window_of_box(frame, np.float32([-0.12, -0.04, 0.0]), np.float32([-0.04, 0.04, 0.08]))
    outside = frame.labels == 1
    outside[window] = False
    assert not outside.any()
    assert frame.labels[window].size < 0.3 * frame.labels.size


def test_window_of_a_box_is_no_larger_than_its_projection():
    frame = two_objects(with_labels=True).frames[0]
    low, high = np.float32([-0.12, -0.04, 0.0]), np.float32([-0.04, 0.04, 0.08])
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    uv = project_points(transform_points(inverse(frame.T_world_cam), corners.astype(float)), frame.intrinsics)
    (left, top), (right, bottom) = np.floor(uv.min(axis=0)), np.ceil(uv.max(axis=0)) + 1
    assert window_of_box(frame, low, high) == (slice(top, bottom), slice(left, right))


def test_window_of_a_box_around_the_camera_is_the_whole_image():
    frame = two_objects(with_labels=True).frames[0]
    eye = frame.T_world_cam[:3, 3].astype(np.float32)
    window = window_of_box(frame, eye - 0.1, eye + 0.1)
    assert frame.labels[window].shape == frame.labels.shape


def test_box_behind_the_camera_has_no_window():
    frame = two_objects(with_labels=True).frames[0]
    behind = (frame.T_world_cam[:3, 3] - 0.5 * frame.T_world_cam[:3, 2]).astype(np.float32)
    assert window_of_box(frame, behind - 0.05, behind + 0.05) is None
