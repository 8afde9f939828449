"""Which frames are searched, and what a camera that stands still makes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scenes import around, ball, block

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import load_config
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.catalog import ObjectCatalog
from sparse_recon.observe.scene_cloud import SceneCloud
from sparse_recon.observe.still import is_something_new, new_surface, stands_still
from sparse_recon.types import Frame


@lru_cache(maxsize=32)
def view(seed: int, radius_m: float | None = None, first_deg: float = -60.0) -> Frame:
    """A block, and perhaps a ball, seen by a noisy camera."""
    shapes = [block(), *([] if radius_m is None else [ball(radius_m)])]
    poses = [pose(np.eye(3), (0.0, 0.0, 0.0)), pose(np.eye(3), (-0.12, 0.1, 0.0))]
    frame = record(
        scene_of(shapes, poses[: len(shapes)]),
        around(1, distance_m=0.7, first_deg=first_deg),
        sensor=exact(SENSORS["realsense"]),
        intrinsics=depth_camera(640, 480),
        with_labels=False,
        seed=seed,
    ).frames[0]
    return replace(frame, stamp_ns=1_000_000_000 * (seed + 1))


def new(newer: Frame, older: Frame, between: Frame | None = None) -> bool:
    def surface(frame: Frame):
        assert frame.depth_m is not None and older.depth_m is not None
        return new_surface(frame.depth_m, older.depth_m, depth_sigma(frame.depth_m, DepthConfig()))

    return is_something_new(surface(newer), None if between is None else surface(between))


def cloud() -> SceneCloud:
    return SceneCloud(0.005, DepthConfig())


def test_noise_shows_nothing_new():
    assert not any(new(view(seed), view(0), view(seed - 1)) for seed in range(2, 12))


@pytest.mark.parametrize("radius_m", [0.012, 0.015, 0.03])
def test_a_thing_that_can_be_found_is_new_with_its_second_frame(radius_m):
    assert all(new(view(seed, radius_m), view(0), view(seed + 1, radius_m)) for seed in range(1, 4))


def test_a_thing_of_the_size_of_a_hand_is_new_at_once():
    assert all(new(view(seed, 0.03), view(0)) for seed in range(1, 4))


def test_depth_where_there_was_none_is_new_and_a_hole_is_not():
    whole = view(0)
    assert whole.depth_m is not None
    rows, columns = (np.sort(i)[len(i) // 2] for i in np.nonzero(whole.depth_m > 0))
    depth_m = whole.depth_m.copy()
    depth_m[rows - 10 : rows + 10, columns - 10 : columns + 10] = np.nan
    holed = replace(whole, depth_m=depth_m)
    assert new(whole, holed) and not new(holed, whole)


def test_a_turned_another_and_a_rescaled_camera_do_not_stand_still():
    frame = view(0)
    c, s = np.cos(0.002), np.sin(0.002)
    turned = pose(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), (0, 0, 0))
    assert stands_still(frame, view(1))
    assert not stands_still(frame, replace(frame, T_world_cam=frame.T_world_cam @ turned))
    assert not stands_still(frame, replace(frame, T_world_cam=pose(np.eye(3), (0.002, 0, 0)) @ frame.T_world_cam))
    assert not stands_still(frame, replace(frame, camera="other"))
    assert not stands_still(frame, replace(frame, intrinsics=replace(frame.intrinsics, K=1.01 * frame.intrinsics.K)))


def test_of_a_still_camera_the_frames_that_show_something_new_are_searched():
    frames = [view(0), view(1), view(2, 0.03), view(3, 0.03), view(4, 0.03, -30.0)]
    searched = cloud().frames_to_search(frames)
    assert [f.stamp_ns for f in searched] == [frames[i].stamp_ns for i in (0, 2, 4)]


def test_the_answer_does_not_depend_on_what_was_asked_before():
    frames = [view(0), view(1), view(2, 0.03), view(3, 0.03), view(4, 0.03, -30.0)]
    asked = cloud()
    for end in (2, 3, 5):
        asked.frames_to_search(frames[:end])
        asked.points(frames[:end])
    assert asked.frames_to_search(frames[1:]) == cloud().frames_to_search(frames[1:])
    for a, b in zip(asked.points(frames[1:4]), cloud().points(frames[1:4]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_points_are_those_of_every_second_pixel_of_all_frames():
    points, count = cloud().points([view(0), view(4, 0.03, -30.0)])
    pixels = sum(int((f.depth_m[::2, ::2] > 0).sum()) for f in (view(0), view(4, 0.03, -30.0)))  # type: ignore[index]
    assert count.sum() == 4 * pixels
    assert len(np.unique(np.floor(points / 0.005), axis=0)) > 0.95 * len(points)


def test_a_frame_that_shows_nothing_new_is_not_searched_and_a_small_thing_put_down_is_found():
    # Seven pixels wide, the thing is too small for the network to tell from a bump.
    catalog = ObjectCatalog(load_config({"model": "carve", "segment.instances": "clusters"}))
    before = catalog.objects([view(0), view(1)])
    assert catalog.objects([view(0), view(1), view(2)]) is before
    after = catalog.objects([view(0), view(1), view(2), view(3, 0.015), view(4, 0.015)])
    assert len(after) == len(before) + 1
