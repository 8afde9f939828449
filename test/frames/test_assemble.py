"""Frame assembly from message streams: order, waiting, drops with reasons, time that jumps."""

from __future__ import annotations

import random

import numpy as np
import pytest
from messages_rig import MS, T0, H, Rig, W, depth
from scipy.spatial.transform import Rotation

from sparse_recon.errors import ErrorCode
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.images import RawImage
from sparse_recon.frames.undistort import CameraInfo
from sparse_recon.geometry.poses import pose

pytestmark = pytest.mark.usefixtures("transform_source")


def test_frame_holds_images_pose_and_intrinsics():
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(100, x=1.0)
    rig.both(25)
    (frame,) = rig.frames
    assert frame.rgb.shape == (H, W, 3) and frame.rgb[0, 0].tolist() == [100] * 3
    assert frame.depth_m is not None and frame.depth_m[0, 0] == pytest.approx(0.5)
    assert frame.T_world_cam[:3, 3] == pytest.approx([0.25, 0, 0])
    assert (frame.camera, frame.intrinsics.fx, rig.assembler.world_frame) == ("cam", 10.0, "world")


def test_frame_waits_for_the_transform_after_it():
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.both(50)
    assert rig.frames == [] and rig.assembler.pending == 1
    rig.tf(100)
    assert rig.stamps_ms() == [50]


@pytest.mark.parametrize("first", ["info", "tf", "images"])
def test_order_of_arrival_does_not_matter(first: str):
    rig = Rig()
    steps = {"info": rig.info, "tf": lambda: (rig.tf(0), rig.tf(100)), "images": lambda: rig.both(50)}
    for name in [first, *(s for s in steps if s != first)]:
        steps[name]()
    assert rig.stamps_ms() == [50]


def test_depth_of_double_rate_is_matched_to_the_nearest():
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    for k in range(1, 60):
        rig.depth(k * 16.6 + 3, image=depth(200 + k))
        if k % 2 == 0:
            rig.color(k * 16.6)
    rig.finish()
    assert len(rig.frames) == 29
    got = [round(float(f.depth_m[0, 0]) * 1000) - 200 for f in rig.frames]
    assert got == list(range(2, 59, 2))


def test_exact_partner_is_not_stolen_by_an_earlier_image():
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    for ms in (100, 117, 133):
        rig.color(ms)
    rig.depth(100)
    rig.depth(133)
    rig.depth(166)
    assert rig.stamps_ms() == [100, 133]
    assert rig.last().code is ErrorCode.STAMP_UNMATCHED and "no depth image within 0.02 s" in rig.last().message


def test_stamps_beyond_the_tolerance_are_dropped_with_a_reason():
    rig = Rig()
    rig.info()
    rig.color(100)
    rig.depth(150)
    assert rig.finish() == [] and "share a clock" in rig.last().message


def test_two_cameras_come_out_in_stamp_order():
    rig = Rig(CameraStreams("cam"), CameraStreams("arm"))
    for camera in ("cam", "arm"):
        rig.info(camera)
        for ms in (0, 1000, 2000):
            rig.tf(ms, child=f"{camera}_optical")
    for k in range(10):
        rig.both(100 * k + 50, "arm")  # 30 ms newer, delivered first
        rig.both(100 * k + 20, "cam")
    assert len(rig.finish()) >= 19
    assert rig.stamps_ms() == sorted(rig.stamps_ms())


def test_stamp_zero_is_refused():
    rejection = Rig().color(-T0 / MS)
    assert rejection is not None and rejection.code is ErrorCode.STAMP_INVALID and "header.stamp" in rejection.message


@pytest.mark.parametrize(("ms", "word"), [(100, "repeats"), (60, "0.040000 s older")])
def test_duplicate_and_backward_stamps_are_refused_and_nothing_is_lost(ms: float, word: str):
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    rig.both(100)
    rejection = rig.color(ms)
    assert rejection is not None and rejection.code is ErrorCode.STAMP_ORDER and word in rejection.message
    rig.both(200)
    assert rig.stamps_ms() == [100, 200] and rig.assembler.restarts == 0


@pytest.mark.parametrize("tf_first", [True, False])
def test_looping_bag_gives_the_same_frames_again(tf_first: bool):
    rig = Rig()
    rig.info()
    for _ in range(3):
        for k in range(30):
            for what in [rig.tf, rig.both] if tf_first else [rig.both, rig.tf]:
                what(100 * k + (1 if what == rig.tf else 2))
    stamps = rig.finish()
    third = len(stamps) // 3
    assert rig.assembler.restarts == 2
    assert third == 29 and stamps[:third] == stamps[third : 2 * third] == stamps[2 * third :]


def test_frames_that_wait_when_time_jumps_back_are_counted():
    rig = Rig()
    rig.info()
    rig.tf(4000)
    rig.both(5000)
    rig.color(5100)
    rig.color(100)
    assert rig.assembler.restarts == 1 and rig.assembler.pending == 0
    assert rig.assembler.counts == {ErrorCode.STAMP_ORDER: 1, ErrorCode.STAMP_UNMATCHED: 1}
    assert "time jumped back" in rig.last().message


def test_a_late_transform_of_any_link_is_ignored_and_told_with_link_and_lag():
    rig = Rig()
    rig.info()
    for ms in range(0, 3000, 100):
        rig.tf(ms)
        rig.tf(ms, child="gripper_goal")
    rig.both(100)
    for child in ("gripper_goal", "cam_optical"):
        rejection = rig.tf(0, child=child)
        assert rejection is not None and rejection.code is ErrorCode.STAMP_ORDER
        assert f"world -> {child} is 2.900 s older" in rejection.message
    rig.both(200)
    assert rig.stamps_ms() == [100, 200] and rig.assembler.restarts == 0


def test_all_moving_links_of_a_camera_together_are_a_jump_back():
    rig = Rig()
    rig.info()
    T = pose(np.eye(3), (0, 0, 1))
    for ms in range(0, 3000, 100):
        rig.assembler.push_transform("map", "world", T0 + ms * MS, T)
        rig.tf(ms)
    rig.both(100)
    rig.assembler.push_transform("map", "world", T0, T)
    assert rig.assembler.restarts == 0
    rig.tf(1)
    assert rig.assembler.restarts == 1
    for ms in range(100, 400, 100):
        rig.assembler.push_transform("map", "world", T0 + ms * MS, T)
        rig.tf(ms)
    rig.both(200)
    assert rig.stamps_ms() == [100, 200]


def test_no_transform_at_all_names_the_frame():
    rig = Rig()
    rig.info()
    rig.both(100)
    assert rig.finish() == []
    assert rig.last().code is ErrorCode.TF_FRAME_UNKNOWN and "cam_optical" in rig.last().message


def test_waiting_for_a_transform_ends():
    rig = Rig(tf_timeout_s=1.0)
    rig.info()
    for k in range(1, 30):
        rig.both(100 * k)
    assert rig.assembler.counts[ErrorCode.TF_FRAME_UNKNOWN] == 18 and rig.assembler.pending == 11


def test_frames_before_the_first_transform_do_not_hold_up_the_others(transform_source: str):
    rig = Rig()
    rig.info()
    rig.tf(500)
    rig.tf(1000)
    rig.both(100)
    rig.both(600)
    assert rig.stamps_ms() == [600]
    words = {"tree": "before the oldest", "tf2_ros": "extrapolation into the past"}
    assert rig.last().code is ErrorCode.TF_EXTRAPOLATION and words[transform_source] in rig.last().message


def test_gap_in_the_transforms(transform_source: str):
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.both(1000)
    rig.tf(2500, x=1.0)
    if transform_source == "tf2_ros":  # which bridges gaps of any length
        assert rig.finish() == [1000]
    else:
        assert rig.finish() == [] and rig.last().code is ErrorCode.TF_GAP


def test_zero_K_is_refused_and_named_by_the_frames_too():
    rig = Rig()
    rejection = rig.info(info=CameraInfo(W, H, [0.0] * 9))
    assert rejection is not None and rejection.code is ErrorCode.INTRINSICS_INVALID
    rig.tf(0)
    rig.tf(200)
    rig.both(100)
    assert rig.finish() == [] and "not calibrated" in rig.last().message


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (RawImage("16UC1", W, H, W * 2, False, bytes(W * H * 2)), ErrorCode.DEPTH_EMPTY),
        (RawImage("32FC1", W, H, W * 4, False, np.full(W * H, np.nan, np.float32).tobytes()), ErrorCode.DEPTH_EMPTY),
        (RawImage("rgb8", W, H, W * 3, False, bytes(W * H * 3)), ErrorCode.ENCODING_UNSUPPORTED),
        (RawImage("16UC1", W, H, W * 2, False, bytes(W * H)), ErrorCode.SIZE_MISMATCH),
        (depth(width=W * 2), ErrorCode.SIZE_MISMATCH),
    ],
)
def test_bad_depth_costs_only_its_own_frame(image: RawImage, code: ErrorCode):
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    rig.both(100)
    rig.color(200)
    rig.depth(200, image=image)
    rig.both(300)
    assert rig.stamps_ms() == [100, 300] and rig.assembler.counts == {code: 1}


def test_depth_of_another_size_with_its_own_info_is_resampled():
    rig = Rig(CameraStreams("cam", depth_info=True))
    rig.info()
    rig.info(info=CameraInfo(2 * W, 2 * H, [20.0, 0, 7.5, 0, 20.0, 5.5, 0, 0, 1]), stream="depth")
    rig.tf(0)
    rig.tf(1000)
    rig.color(100)
    rig.depth(100, image=depth(width=2 * W, height=2 * H))
    (frame,) = rig.frames
    assert frame.depth_m is not None and np.all(frame.depth_m == np.float32(0.5))


def test_depth_of_another_frame_is_registered():
    rig = Rig(CameraStreams("cam", depth_info=True))
    rig.info()
    rig.info(stream="depth")
    rig.tf(0)
    rig.tf(1000)
    T = pose(np.eye(3), (0.1, 0.0, 0.0))
    assert rig.assembler.push_transform("cam_optical", "depth_optical", 0, T, static=True) is None
    rig.color(100)
    rig.assembler.push_image("depth", "cam", T0 + 100 * MS, "depth_optical", depth())
    (frame,) = rig.assembler.poll()
    assert frame.depth_m is not None
    assert np.isnan(frame.depth_m[:, :2]).all() and np.isfinite(frame.depth_m[:, 2:]).all()  # 0.1 m * 10 px / 0.5 m


def test_depth_of_a_camera_that_moves_is_registered_from_where_it_was_when_the_depth_was_taken():
    rig = Rig(CameraStreams("cam", depth_info=True))
    rig.info()
    rig.info(stream="depth")
    rig.tf(0)
    rig.tf(1000)
    for ms, x_m in ((90, 0.0), (130, 0.4)):  # 0.1 m at the colour's stamp, 0.2 m at the depth's
        rig.assembler.push_transform("cam_optical", "depth_optical", T0 + ms * MS, pose(np.eye(3), (x_m, 0.0, 0.0)))
    rig.color(100)
    rig.assembler.push_image("depth", "cam", T0 + 110 * MS, "depth_optical", depth())
    (frame,) = rig.assembler.poll(settle=True)
    assert frame.depth_m is not None
    assert np.isnan(frame.depth_m[:, :4]).all() and np.isfinite(frame.depth_m[:, 4:]).all()  # 0.2 m * 10 px / 0.5 m


UNREGISTERED = pose(np.eye(3), (-0.05, 0.0, 0.0))


def pushed_beside(T_color_depth: np.ndarray | None, depth_info: bool = False, **config: bool) -> Rig:
    """Return a rig that got colour, and depth in another frame at this pose, or at none that is known."""
    rig = Rig(CameraStreams("cam", depth_info=depth_info), **config)
    rig.info()
    if depth_info:
        rig.info(stream="depth")
    rig.tf(0)
    rig.tf(1000)
    if T_color_depth is not None:
        rig.assembler.push_transform("cam_optical", "depth_optical", 0, T_color_depth, static=True)
    rig.color(100)
    rig.assembler.push_image("depth", "cam", T0 + 100 * MS, "depth_optical", depth())
    rig.finish()
    return rig


@pytest.mark.parametrize(("T", "word"), [(UNREGISTERED, "50.0 mm"), (None, "unknown")])
def test_depth_from_elsewhere_without_its_own_camera_info_is_refused(T: np.ndarray | None, word: str):
    rig = pushed_beside(T)
    assert rig.frames == [] and rig.assembler.counts == {ErrorCode.INTRINSICS_INVALID: 1}
    message = rig.last().message
    assert all(part in message for part in ("cam_optical", "depth_optical", word, "assembly.depth_is_registered"))


def test_depth_turned_against_colour_without_its_own_camera_info_is_refused():
    rig = pushed_beside(pose(Rotation.from_euler("y", 2.0, degrees=True).as_matrix(), np.zeros(3)))
    assert rig.frames == [] and "2.0 degrees" in rig.last().message


def test_depth_of_another_frame_at_the_same_pose_needs_no_camera_info():
    rig = pushed_beside(pose(np.eye(3), (0.0003, 0.0, 0.0)))
    assert rig.stamps_ms() == [100] and np.all(rig.frames[0].depth_m == np.float32(0.5))


@pytest.mark.parametrize("T", [UNREGISTERED, None])
@pytest.mark.parametrize("depth_info", [True, False])
def test_depth_that_is_said_to_be_registered_is_taken_as_it_is(T: np.ndarray | None, depth_info: bool):
    rig = pushed_beside(T, depth_info, depth_is_registered=True)
    assert rig.stamps_ms() == [100] and np.all(rig.frames[0].depth_m == np.float32(0.5))


def test_a_leading_slash_makes_no_other_frame():
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    rig.color(100)
    rig.assembler.push_image("depth", "cam", T0 + 100 * MS, "/cam_optical", depth())
    assert rig.finish() == [100]


def test_depth_of_another_frame_waits_for_its_transform():
    rig = Rig()
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    rig.color(100)
    rig.assembler.push_image("depth", "cam", T0 + 100 * MS, "depth_optical", depth())
    assert rig.assembler.poll() == [] and rig.assembler.pending == 1
    rig.assembler.push_transform("cam_optical", "depth_optical", 0, np.eye(4), static=True)
    assert rig.finish() == [100]


def test_labels_reach_the_frame():
    rig = Rig(CameraStreams("cam", labels=True))
    rig.info()
    rig.tf(0)
    rig.tf(1000)
    rig.both(100)
    assert rig.frames == []
    rig._image("labels", 100, "cam", RawImage("mono8", W, H, W, False, bytes([7]) * (W * H)))
    assert rig.frames[0].labels is not None and rig.frames[0].labels[0, 0] == 7


def test_unknown_camera_is_named():
    rejection = Rig().color(100, camera="left")
    assert rejection is not None and rejection.code is ErrorCode.USAGE and "cam" in rejection.message


def test_endless_stream_without_partners_stays_bounded():
    rig = Rig(queue_size=10, tf_timeout_s=60.0)
    rig.info()
    for k in range(1, 200):
        rig.color(33 * k)
    assert sum(rig.assembler.counts.values()) == 199 - 10
    for k in range(1, 200):
        rig.both(10_000 + 33 * k)
    assert rig.assembler.pending <= 11


def test_nothing_that_is_pushed_raises():
    rng = random.Random(5)
    rig = Rig(CameraStreams("cam", labels=True), queue_size=5)
    numbers = [0, -5, 10, 10.0, 1e9, float("nan"), 2**40]
    for _ in range(600):
        data = rng.randbytes(rng.choice([0, 5, W * H * 2, W * H * 3]))
        encoding = rng.choice(["rgb8", "16UC1", "32FC1", "", "mono8", "yuv422", "weird"])
        image = RawImage(encoding, rng.choice([0, W, 2**32 - 1]), H, rng.choice([0, W * 3, W * 2]), False, data)
        stream = rng.choice(["color", "depth", "labels"])
        rig.assembler.push_image(stream, "cam", T0 + rng.randrange(3000) * MS, "cam_optical", image)
        K = [rng.choice(numbers) for _ in range(rng.choice([9, 9, 3]))]
        rig.assembler.push_info("color", "cam", 0, CameraInfo(rng.choice([0, W]), H, K, [rng.choice(numbers)] * 5))
        T = np.diag([rng.choice([1.0, -1.0, float("nan")]), 1, 1, 1])
        rig.assembler.push_transform(rng.choice("abc"), rng.choice("abc"), rng.randrange(3000) * MS, T)
        rig.assembler.poll()
    rig.assembler.flush()
    assert sum(rig.assembler.counts.values()) > 500
