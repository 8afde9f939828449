"""Stamps far ahead of all others: strays cost themselves alone, and a time that goes on there is believed."""

from __future__ import annotations

import numpy as np
import pytest
from messages_rig import MS, T0, Rig
from transform_messages import serialised

from sparse_recon.errors import ErrorCode
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.geometry.poses import pose

pytestmark = pytest.mark.usefixtures("transform_source")
HOUR_MS = 3_600_000
NEVER_MS = (2_147_483_640 * 10**9 - T0) // MS  # about the last that a stamp can have
STRAYS_MS = [20_000, HOUR_MS, NEVER_MS]
STILL = np.eye(4)


def running(*cameras: CameraStreams) -> Rig:
    """A camera on a moving link, two seconds after its start."""
    rig = Rig(*cameras)
    rig.info()
    run(rig, 0, 2000)
    return rig


def run(rig: Rig, begin_ms: int, end_ms: int) -> None:
    for ms in range(begin_ms, end_ms, 100):
        rig.tf(ms)
        if ms > begin_ms:
            rig.both(ms - 50)


@pytest.mark.parametrize("stray_ms", STRAYS_MS)
def test_stray_transform_costs_itself_alone_and_is_told(stray_ms: int):
    rig = running()
    before = len(rig.stamps_ms())
    assert rig.tf(2000 + stray_ms) is None
    run(rig, 2000, 4000)
    assert len(rig.stamps_ms()) - before == 19 and rig.assembler.restarts == 0
    (note,) = rig.assembler.transform_notes()
    assert "1 x transform world -> cam_optical runs ahead" in note and f"{stray_ms * 1e-3 + 0.1:.3f} s" in note


@pytest.mark.parametrize("stray_ms", STRAYS_MS)
def test_stray_transform_of_a_link_that_is_packed_costs_itself_alone(stray_ms: int):
    rig = running()

    def arm(ms: int, x: float = 0.0) -> None:
        T = pose(np.eye(3), (x, 0.0, 0.0))
        rig.assembler.push_transform_message(serialised([("world", "arm", T0 + ms * MS, T)]), False)

    for ms in range(0, 2000, 100):
        arm(ms, ms * 1e-3)
    arm(2000 + stray_ms)
    for ms in range(2000, 2500, 100):
        arm(ms, ms * 1e-3)
    lookup = rig.assembler.transforms.lookup
    for ms in (150, 1950, 2350):
        assert lookup("world", "arm", T0 + ms * MS)[0, 3] == pytest.approx(ms * 1e-3)


@pytest.mark.parametrize("stray_ms", STRAYS_MS)
@pytest.mark.parametrize("streams", [("color",), ("depth",), ("color", "depth")])
def test_stray_images_cost_themselves_alone_and_are_told(stray_ms: int, streams: tuple[str, ...]):
    rig = running()
    rig.tf(2000)
    for stream in streams:
        assert getattr(rig, stream)(2000 + stray_ms) is None
    run(rig, 2100, 4000)
    assert rig.assembler.restarts == 0 and len(rig.stamps_ms()) == 19 + 18
    assert rig.assembler.counts == {ErrorCode.STAMP_ORDER: len(streams)}
    assert "ahead of all other messages" in rig.last().message and "clock of the driver" in rig.last().message


def test_time_that_goes_on_elsewhere_is_believed_as_soon_as_transforms_and_images_agree():
    rig = running()
    run(rig, HOUR_MS, HOUR_MS + 2000)
    assert rig.assembler.restarts == 0 and not rig.assembler.counts
    assert rig.stamps_ms()[19:] == [HOUR_MS + 50 + 100 * k for k in range(19)]
    assert not rig.assembler.transform_notes()


def test_images_alone_are_believed_when_they_go_on_and_none_is_lost():
    rig = Rig()
    rig.info()
    rig.assembler.push_transform("world", "cam_optical", 0, STILL, static=True)
    times_ms = [0, 100, *range(HOUR_MS, HOUR_MS + 500, 100)]
    for ms in times_ms:
        rig.both(ms)
    rig.finish()
    assert rig.stamps_ms() == times_ms and not rig.assembler.counts


def test_views_that_are_minutes_apart_are_in_time_by_the_clock_that_they_arrive_by():
    rig = Rig()
    rig.info()
    rig.assembler.push_transform("world", "cam_optical", 0, STILL, static=True)
    for minute in range(3):
        rig.assembler.arrived(minute * 60_000 * MS)
        rig.both(minute * 60_000)
        rig.both(minute * 60_000 + 100)
    assert rig.stamps_ms()[:5] == [0, 100, 60_000, 60_100, 120_000]


def test_last_view_of_a_recording_without_other_clocks_is_used():
    rig = Rig()
    rig.info()
    rig.assembler.push_transform("world", "cam_optical", 0, STILL, static=True)
    for ms in (0, 60_000):
        rig.both(ms)
    rig.finish()
    assert rig.stamps_ms() == [0, 60_000] and not rig.assembler.counts


def test_stray_before_all_others_is_forgotten_when_the_time_is_known():
    rig = Rig()
    rig.info()
    rig.tf(NEVER_MS)
    run(rig, 0, 2000)
    assert len(rig.stamps_ms()) >= 15 and rig.assembler.restarts == 0
    assert "runs ahead" in rig.assembler.transform_notes()[0]


def test_publisher_whose_clock_is_an_hour_ahead_does_not_blind_the_one_beside_it():
    rig = running()
    for ms in range(2000, 4000, 100):
        for k in range(5):
            rig.tf(ms + HOUR_MS + 20 * k, x=3.0)
        rig.tf(ms)
        if ms > 2000:
            rig.both(ms - 50)
    assert len(rig.stamps_ms()) == 19 + 19 and rig.assembler.restarts == 0
    assert all(abs(frame.T_world_cam[0, 3]) < 1e-9 for frame in rig.frames)


def test_link_that_always_runs_ahead_answers_for_its_own_time():
    rig = running()
    for ms in range(2000, 2500, 100):
        rig.tf(ms + HOUR_MS, x=1.0, child="marker")
    assert rig.assembler.transforms.lookup("world", "marker", T0 + (2150 + HOUR_MS) * MS)[0, 3] == 1.0


def test_links_whose_clock_was_set_forward_are_believed_without_a_picture():
    rig = running()
    for ms in range(2000, 2500, 100):
        rig.tf(ms, child="arm")
    for ms in range(HOUR_MS, HOUR_MS + 500, 100):
        rig.tf(ms, x=1.0)
        rig.tf(ms, x=2.0, child="arm")
    lookup = rig.assembler.transforms.lookup
    assert lookup("world", "arm", T0 + (HOUR_MS + 300) * MS)[0, 3] == 2.0
    assert lookup("world", "cam_optical", T0 + (HOUR_MS + 300) * MS)[0, 3] == 1.0


def test_pictures_whose_time_outruns_the_clock_that_they_arrive_by_are_all_used():
    rig = Rig()
    rig.info()
    rig.assembler.push_transform("world", "cam_optical", 0, STILL, static=True)
    for k in range(10):  # played five times as fast
        rig.assembler.arrived((k * 12_000 + 1) * MS)
        rig.both(k * 60_000)
    rig.finish()
    assert rig.stamps_ms() == [k * 60_000 for k in range(10)] and not rig.assembler.counts


def test_picture_that_runs_ahead_is_used_when_its_camera_says_nothing_more():
    rig = Rig()
    rig.info()
    rig.assembler.push_transform("world", "cam_optical", 0, STILL, static=True)
    rig.assembler.arrived(1 * MS)
    rig.both(0)
    rig.both(60_000)
    rig.assembler.arrived(1000 * MS)
    rig.frames += rig.assembler.poll(settle=True)
    assert rig.stamps_ms() == [0]
    rig.assembler.arrived(2500 * MS)
    rig.frames += rig.assembler.poll(settle=True)
    assert rig.stamps_ms() == [0, 60_000] and not rig.assembler.counts


def test_strays_are_bounded():
    rig = running()
    for k in range(3000):
        rig.tf(HOUR_MS * (k + 1) + HOUR_MS // 2, child=f"link_{k % 1500}")
        rig.color(HOUR_MS * (3001 - k))
    run(rig, 2000, 4000)
    assert len(rig.stamps_ms()) >= 19 + 18 and rig.assembler.restarts == 0
