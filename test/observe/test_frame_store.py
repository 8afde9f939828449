"""Which frames are kept, which are not even decoded, and which go when there are too many."""

from __future__ import annotations

from dataclasses import replace
from threading import RLock

import numpy as np
import pytest
from scenes import around

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.observe.frame_store import FrameStore
from sparse_recon.types import CameraIntrinsics, Frame

W, H = 40, 30
S = 1_000_000_000
T0 = 1_700_000_000 * S
INTRINSICS = CameraIntrinsics(W, H, np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]]))
HERE = look_at((0.5, 0, 0.4), (0, 0, 0))


def frame(at_s: float = 0.0, T_world_cam=HERE, camera: str = "camera") -> Frame:
    rgb, depth_m = np.full((H, W, 3), 90, np.uint8), np.full((H, W), 0.6, np.float32)
    return Frame(rgb, depth_m, INTRINSICS, T_world_cam, T0 + round(at_s * S), camera=camera)


def store_of(*frames: Frame, **keyframes: float) -> FrameStore:
    store = FrameStore(load_config({f"keyframes.{name}": value for name, value in keyframes.items()}), RLock())
    for item in frames:
        assert store.add(item).accepted
    return store


def moved(metres: float) -> np.ndarray:
    return pose(np.eye(3), (metres, 0, 0)) @ HERE


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return HERE @ pose(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), (0, 0, 0))


def ages_s(store: FrameStore) -> list[float]:
    return [(f.stamp_ns - T0) / S for f in store.frames()]


@pytest.mark.parametrize(
    ("T_world_cam", "at_s", "camera", "wanted"),
    [
        (HERE, 0.1, "camera", False),
        (moved(0.019), 0.1, "camera", False),
        (turned(2.9), 0.1, "camera", False),
        (moved(0.021), 0.1, "camera", True),
        (turned(3.1), 0.1, "camera", True),
        (HERE, 0.99, "camera", False),
        (HERE, 1.01, "camera", True),
        (HERE, -0.5, "camera", False),
        (HERE, 0.1, "wrist", True),
    ],
)
def test_only_a_frame_that_shows_something_new_is_wanted(T_world_cam, at_s, camera, wanted):
    assert store_of(frame()).wants(camera, T_world_cam, T0 + round(at_s * S)) is wanted


def test_every_frame_is_wanted_by_an_empty_store():
    assert store_of().wants("camera", HERE, T0)


@pytest.mark.parametrize("name", ["min_move_m", "min_turn_deg", "refresh_s"])
def test_limit_of_zero_wants_every_frame(name):
    assert store_of(frame(), **{name: 0.0}).wants("camera", HERE, T0 + 1)


def test_adding_does_not_ask_whether_a_frame_is_wanted():
    store = store_of(frame(0.0), frame(0.01))
    assert len(store.frames()) == 2


def test_report_says_whether_the_view_is_new():
    store = store_of()
    reports = [store.add(f) for f in (frame(0), frame(5), frame(6, moved(0.03)), frame(7, HERE, "wrist"))]
    assert [r.new_view for r in reports] == [True, False, True, True]
    assert not store.add(frame(0)).new_view  # refused: the stamp was there before


def test_most_redundant_frame_goes_when_there_are_too_many():
    store = store_of(*(frame(i, T) for i, T in enumerate(around(3))), max_frames=3)
    almost = around(3)[1].copy()
    almost[:3, 3] += 0.001
    report = store.add(frame(3, almost))
    assert ages_s(store) == [0, 2, 3]
    assert (report.dropped, report.kept_frames) == (1, 3) and "made room" in report.reason


def test_bytes_stay_under_the_budget_and_the_most_redundant_frame_goes():
    large = replace(
        frame(),
        rgb=np.zeros((600, 800, 3), np.uint8),
        depth_m=np.full((600, 800), 0.6, np.float32),
        intrinsics=CameraIntrinsics(800, 600, INTRINSICS.K),
    )
    store, poses = store_of(frame_budget_bytes=10_500_000), list(around(4))
    almost = poses[1].copy()
    almost[:3, 3] += 0.001
    for i, T in enumerate([poses[0], poses[1], almost, poses[2]]):
        report = store.add(replace(large, T_world_cam=T, stamp_ns=T0 + i * S))
        assert report.accepted and report.kept_bytes <= 10_500_000
        assert report.kept_bytes == sum(f.nbytes for f in store.frames()) == store.nbytes
    assert ages_s(store) == [0, 2, 3]


def test_frames_that_grew_old_are_forgotten():
    store = store_of(*(frame(i, moved(0.1 * i)) for i in range(5)), max_age_s=2.0)
    assert ages_s(store) == [2, 3, 4]
    report = store.add(frame(9, moved(1.0)))
    assert ages_s(store) == [9] and report.dropped == 3


def test_frame_that_is_too_old_already_is_refused_with_the_limit():
    report = store_of(frame(10), max_age_s=2.0).add(frame(7.5))
    assert not report.accepted and report.code == ErrorCode.STAMP_ORDER
    assert "0.500 s older" in report.reason and "max_age_s" in report.reason


def test_shrinking_drops_the_least_useful_and_never_the_newest():
    store = store_of(*(frame(i, moved(0.2 * i)) for i in range(4)), frame(4, moved(0.601)))
    each = frame().nbytes
    assert store.shrink(4 * each) == 1 and ages_s(store) == [0, 1, 2, 4]
    assert store.shrink(0) == 3 and ages_s(store) == [4]
    assert store.shrink(0) == 0 and store.nbytes == each


def test_the_newest_stays_though_it_adds_least_of_all():
    # A colour image from where depth was measured: of frames that may go it would be the first.
    newest = replace(frame(3), depth_m=None, labels=np.ones((H, W), np.int32))
    many = store_of(frame(0), frame(1, moved(0.5)), frame(2, moved(1.0)), max_frames=3)
    assert many.add(newest).accepted and 3 in ages_s(many) and len(ages_s(many)) == 3
    large = store_of(frame(0), frame(1, moved(0.5)), frame(2, moved(1.0)), newest)
    assert large.shrink(frame().nbytes) == 3 and ages_s(large) == [3]


def test_a_colour_image_goes_before_the_depth_that_was_measured_there():
    color = replace(frame(1, moved(0.03)), depth_m=None, labels=np.ones((H, W), np.int32))
    store = store_of(frame(0), color, frame(2, moved(0.5)), frame(3, moved(0.51)), max_frames=4)
    store.shrink(store.nbytes - 1)
    assert ages_s(store) == [0, 1, 3]  # the pair with depth is nearer
    store.shrink(store.nbytes - 1)
    assert ages_s(store) == [0, 3]


def test_smaller_limits_hold_at_once():
    store = store_of(*(frame(i, moved(0.2 * i)) for i in range(6)))
    store.configure(load_config({"keyframes.max_frames": 2}))
    assert len(store.frames()) == 2


def test_clearing_tells_how_many_there_were():
    store = store_of(frame(0), frame(1))
    taken = store.frames()
    assert store.clear() == 2 and store.frames() == () and len(taken) == 2
    assert store.wants("camera", HERE, T0)


@pytest.mark.parametrize("other", ["a", "zebra"])
def test_a_stamp_may_be_that_of_another_camera_s_frame_whatever_their_names(other):
    store = store_of(frame(0))
    assert store.add(frame(0, camera=other)).accepted
    assert store.add(frame(0)).code == store.add(frame(0, camera=other)).code == ErrorCode.STAMP_ORDER


def test_memory_that_runs_out_while_depth_is_filtered_costs_that_frame():
    height, width = 10**7, 10**8
    huge = Frame(
        np.broadcast_to(np.uint8(90), (height, width, 3)),
        np.broadcast_to(np.float32(0.6), (height, width)),
        CameraIntrinsics(width, height, INTRINSICS.K),
        HERE,
        T0,
    )
    store = store_of()
    report = store.add(huge)
    assert not report.accepted and report.code == ErrorCode.MEMORY_BUDGET and "memory ran out" in report.reason
    assert store.add(frame()).accepted


def test_nothing_of_what_a_caller_fills_again_is_kept():
    K, T_world_cam = INTRINSICS.K.copy(), HERE.copy()
    rgb, depth_m = np.full((H, W, 3), 90, np.uint8), np.full((H, W), 0.6, np.float32)
    labels = np.ones((H, W), np.int32)
    store = store_of(Frame(rgb, depth_m, CameraIntrinsics(W, H, K), T_world_cam, T0, labels))
    only_labels = store_of(Frame(rgb, None, CameraIntrinsics(W, H, K), T_world_cam, T0, labels))
    for buffer in (K, T_world_cam, rgb, depth_m, labels):
        buffer[:] = 7
    for kept in (*store.frames(), *only_labels.frames()):
        np.testing.assert_array_equal(kept.intrinsics.K, INTRINSICS.K)
        np.testing.assert_array_equal(kept.T_world_cam, HERE)
        assert kept.rgb.min() == kept.rgb.max() == 90 and kept.labels.min() == kept.labels.max() == 1
    assert store.frames()[0].depth_m.max() == np.float32(0.6)
