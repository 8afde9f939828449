"""Frames that nobody wants are not decoded; frames of a stream that ended are settled."""

from __future__ import annotations

import numpy as np
import pytest
from messages_rig import MS, T0, H, Rig, W, color, depth

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.frames.images import RawImage
from sparse_recon.geometry.poses import pose
from sparse_recon.geometry.transforms import TransformTree
from sparse_recon.session.session import CompletionSession

pytestmark = pytest.mark.usefixtures("transform_source")
UNDECODABLE = RawImage("weird", W, H, W, False, b"")


def ready(rig: Rig) -> Rig:
    """Give what every frame needs, for stamps from 0 to 20 s; the camera moves 10 mm a second."""
    rig.info()
    for second in range(21):
        rig.tf(1000 * second, x=0.01 * second)
    return rig


# What is wanted


def test_frame_that_is_not_wanted_is_neither_decoded_nor_rejected():
    asked = []

    def wanted(camera, T_world_cam, stamp_ns) -> bool:
        asked.append((camera, float(T_world_cam[0, 3]), (stamp_ns - T0) // MS))
        return len(asked) != 2

    rig = ready(Rig(wanted=wanted))
    rig.both(1000)
    rig.color(2000, image=UNDECODABLE)
    rig.depth(2000, image=UNDECODABLE)
    rig.both(3000)
    assert asked == [("cam", pytest.approx(x), ms) for x, ms in ((0.01, 1000), (0.02, 2000), (0.03, 3000))]
    assert rig.stamps_ms() == [1000, 3000]
    assert rig.assembler.unneeded == 1 and not rig.assembler.rejections and rig.assembler.frames_made == 2


def test_wanted_is_asked_once_the_pose_is_known():
    asked = []
    rig = Rig(wanted=lambda *what: bool(asked.append(what)))
    rig.info()
    rig.tf(0)
    rig.both(500)
    assert asked == [] and rig.assembler.pending == 1
    rig.tf(1000)
    assert len(asked) == 1 and rig.assembler.pending == 0


def test_wanted_knows_of_each_frame_before_it_is_asked_about_the_next():
    kept = []
    rig = Rig(wanted=lambda camera, T, stamp_ns: not kept)
    rig.info()
    for k in range(10):
        rig.both(100 * k + 50)  # all wait for the same transform
    for ms in (0, 1000):
        rig.assembler.push_transform("world", "cam_optical", T0 + ms * MS, np.eye(4))
    kept += rig.assembler.poll()
    assert len(kept) == 1 and rig.assembler.poll() == []
    assert rig.assembler.unneeded == 9


@pytest.mark.parametrize("burst", [False, True])
def test_session_keeps_the_same_frames_however_late_transforms_come(burst):
    session = CompletionSession(SessionConfig())
    rig = Rig(wanted=session.wants, max_gap_s=5.0, tf_timeout_s=10.0)
    rig.info()

    def use() -> None:
        while frames := rig.assembler.poll():
            assert [session.add_frame(f).accepted for f in frames] == [True]

    for k in range(30):  # 11 mm a frame, for three seconds
        if not burst:
            rig.assembler.push_transform("world", "cam_optical", T0 + 100 * k * MS, pose(np.eye(3), (0.011 * k, 0, 0)))
        for stream, image in (("color", color()), ("depth", depth())):
            rig.assembler.push_image(stream, "cam", T0 + 100 * k * MS, "cam_optical", image)
        use()
    for k in (0, 29) if burst else ():
        rig.assembler.push_transform("world", "cam_optical", T0 + 100 * k * MS, pose(np.eye(3), (0.011 * k, 0, 0)))
    use()
    kept = [(f.stamp_ns - T0) // (100 * MS) for f in session.frames]
    assert kept == list(range(0, 30, 2)) and rig.assembler.unneeded == 15


# Settling


def test_settling_waits_for_no_later_image():
    rig = ready(Rig())
    rig.color(1000)
    rig.depth(995)  # near, but a nearer one could come
    assert rig.frames == []
    (frame,) = rig.assembler.poll(settle=True)
    assert frame.stamp_ns == T0 + 1000 * MS


def test_settling_rejects_what_lacks_a_partner():
    rig = ready(Rig())
    rig.color(1000)
    assert rig.assembler.poll(settle=True) == []
    assert rig.last().code is ErrorCode.STAMP_UNMATCHED and "depth" in rig.last().message


def test_settling_still_waits_for_transforms_and_camera_infos():
    rig = Rig()
    rig.both(500)
    assert rig.assembler.poll(settle=True) == [] and rig.assembler.pending == 1
    rig.tf(0)
    assert rig.assembler.poll(settle=True) == [] and rig.assembler.pending == 1
    rig.tf(1000)
    rig.info()
    assert rig.stamps_ms() == [500] and not rig.assembler.rejections


def test_settling_waits_for_no_other_camera():
    rig = ready(Rig(CameraStreams("cam"), CameraStreams("wrist")))
    rig.info("wrist")
    for second in range(3):
        rig.tf(1000 * second, child="wrist_optical")
    rig.both(900, "wrist")
    rig.both(1000)
    assert rig.stamps_ms() == [900]
    assert [f.camera for f in rig.assembler.poll(settle=True)] == ["cam"]


# Restarting


def test_restart_forgets_messages_and_moving_transforms():
    rig = Rig()
    rig.info()
    T = pose(np.eye(3), (0.0, 0.0, 1.0))
    rig.assembler.push_transform("map", "world", 0, T, static=True)
    rig.tf(0)
    rig.tf(400)
    rig.both(500)
    assert rig.assembler.newest_ns == T0 + 500 * MS
    rig.assembler.restart()
    assert rig.assembler.restarts == 1 and rig.assembler.newest_ns == 0 and rig.assembler.pending == 0
    assert rig.last().code is ErrorCode.STAMP_ORDER and "time jumped back" in rig.last().message
    rig.both(100)  # older than what was before; its transforms are gone
    assert rig.frames == [] and rig.assembler.pending == 1
    rig.tf(0)
    rig.tf(200)
    assert rig.stamps_ms() == [100] and rig.frames[0].T_world_cam[2, 3] == 1.0


def test_transforms_can_come_from_elsewhere():
    class Elsewhere(TransformTree):
        """Has transforms of its own and takes none, as a node's TF buffer."""

        def add(self, parent, child, stamp_ns, T_parent_child, static=False) -> None:
            pass

    source = Elsewhere()
    TransformTree.add(source, "odom", "cam_optical", 0, pose(np.eye(3), (0.3, 0.0, 0.0)), static=True)
    rig = Rig(transforms=source)
    rig.info()
    rig.tf(0, x=9.0)
    rig.both(500)
    assert rig.stamps_ms() == []  # a root above nothing that moves may get a parent yet
    frames = rig.assembler.poll(settle=True)
    assert [frame.stamp_ns for frame in frames] == [T0 + 500 * MS] and rig.assembler.world_frame == "odom"
    assert frames[0].T_world_cam[0, 3] == 0.3


def test_a_world_that_gets_a_parent_begins_another_pass_and_stays_over_a_jump_back():
    rig = Rig()
    rig.info()

    def link(parent, child, *stamps_ms, static=False):
        for ms in stamps_ms:
            rig.assembler.push_transform(parent, child, T0 + ms * MS, np.eye(4), static=static)

    link("base_link", "cam_optical", 0, static=True)
    link("odom", "base_link", 0, 200)
    rig.both(100)
    assert rig.stamps_ms() == [100] and (rig.assembler.world_frame, rig.assembler.restarts) == ("odom", 0)
    link("map", "odom", 0, 900)
    link("odom", "base_link", 900)
    rig.both(600)
    assert rig.stamps_ms() == [100, 600] and (rig.assembler.world_frame, rig.assembler.restarts) == ("map", 1)
    rig.assembler.restart()
    rig.both(650)
    assert rig.stamps_ms() == [100, 600]  # only base_link -> camera is known now: it must not become the world
    link("odom", "base_link", 600, 900)
    link("map", "odom", 600, 900)
    rig.frames += rig.assembler.poll()
    assert rig.stamps_ms() == [100, 600, 650] and rig.assembler.world_frame == "map"


def test_a_camera_without_calibration_does_not_hold_up_another():
    rig = Rig(CameraStreams("left"), CameraStreams("right"))
    rig.info("left")
    for ms in (0, 1000):
        rig.tf(ms, child="left_optical")
        rig.tf(ms, child="right_optical")
    for ms in (100, 200, 300, 400):
        rig.both(ms - 10, "right")
        rig.both(ms, "left")
    assert rig.stamps_ms()[:3] == [100, 200, 300]
    assert {frame.camera for frame in rig.frames} == {"left"}
    rig.info("right")
    assert "right" in {frame.camera for frame in rig.frames}


# Mistakes of ours


def test_mistake_on_the_way_of_one_frame_costs_that_frame_alone(caplog):
    def wanted(camera, T_world_cam, stamp_ns) -> bool:
        if stamp_ns == T0 + 2000 * MS:
            raise ZeroDivisionError("a mistake of ours")
        return True

    rig = ready(Rig(CameraStreams("cam"), CameraStreams("arm"), wanted=wanted))
    rig.info("arm")
    for second in range(21):
        rig.tf(1000 * second, child="arm_optical")
    for ms in (1000, 2000, 3000, 4000):
        rig.both(ms)
        rig.both(ms + 100, "arm")
    rig.finish()
    assert rig.stamps_ms() == [1000, 1100, 2100, 3000, 3100, 4000, 4100]
    assert rig.assembler.counts == {ErrorCode.INTERNAL: 1} and rig.assembler.frames_lost == {ErrorCode.INTERNAL: 1}
    assert rig.last().camera == "cam" and rig.last().stamp_ns == T0 + 2000 * MS
    assert "report it" in rig.last().message and caplog.text.count("Traceback") == 1


def test_mistake_amid_frames_that_nobody_chooses_among_loses_none_of_them():
    class Careless(DepthConfig):
        @property
        def near_m(self):
            if rig.assembler.frames_made == 1:
                raise ZeroDivisionError("a mistake of ours")
            return 0.1

    rig = Rig()
    rig.info()
    rig.assembler.depth = object.__new__(Careless)
    for ms in (1000, 2000):
        rig.both(ms)
    rig.both(3000)
    for ms in (0, 4000):  # now all three are complete at once
        rig.tf(ms)
    rig.finish()
    assert rig.stamps_ms() == [1000]
    assert rig.assembler.counts == {ErrorCode.INTERNAL: 2} and rig.assembler.pending == 0


def test_memory_that_runs_out_is_told_as_such():
    rig = ready(Rig(wanted=lambda *_: _out_of_memory()))
    rig.both(1000)
    assert rig.assembler.counts == {ErrorCode.MEMORY_BUDGET: 1}
    assert "cam: frame" in rig.last().message and "memory ran out" in rig.last().message


def _out_of_memory() -> bool:
    raise MemoryError("no room")
