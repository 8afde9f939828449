"""Whatever a message says, the thread that takes it lives, soon takes the next one, and keeps what is good."""

from __future__ import annotations

from contextlib import suppress

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.ingest_world import SECOND_NS, T0_NS, World, good_frame
from fuzz.wild_messages import clouds, wild_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_recon.errors import SparseReconError

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@settings(SEEDED, max_examples=80)
@given(wild_frames())
def test_any_messages_are_used_in_time_and_good_frames_are_kept_after_them(messages):
    with World() as world:
        world.say_all(good_frame(T0_NS))
        world.say_all(messages)
        with suppress(SparseReconError):
            world.session.objects()
        assert world.keeps_good_frames(), world.ingest.counts
        assert not world.mistakes


@settings(SEEDED, max_examples=60)
@given(st.lists(clouds(), min_size=1, max_size=4))
def test_any_clouds_for_depth_are_used_in_time_and_good_frames_are_kept_after_them(messages):
    with World() as world:
        world.say_all([("depth", message) for message in messages])
        assert world.keeps_good_frames(), world.ingest.counts
        assert not world.mistakes


@pytest.mark.parametrize("late_s", [60, 3600, 2**31 - 1 - T0_NS // 10**9])
@pytest.mark.parametrize(
    "places", [(0,), (1,), (0, 1), (2,), (3,), (4,), (5,), (6,), (4, 5, 6), (2, 3, 4, 5, 6), (1, 4)]
)
def test_stamps_far_in_the_future_cost_no_frame_but_their_own(places: tuple[int, ...], late_s: int):
    with World() as world:
        world.say_all(good_frame(T0_NS))
        frame = good_frame(T0_NS + SECOND_NS, 1)
        for place in places:
            role, message = frame[place]
            header = message.transforms[0].header if role == "tf" else message.header
            header.stamp.sec = T0_NS // SECOND_NS + late_s
        world.say_all(frame)
        world.say_all(good_frame(T0_NS + 2 * SECOND_NS, 2))
        assert world.ingest.counts.restarts == 0 and world.ingest.frames_held >= 2
        assert world.keeps_good_frames(), world.ingest.counts
        assert world.ingest.counts.restarts == 0
