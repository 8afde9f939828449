"""Whatever a message says, the thread that takes it lives, soon takes the next one, and keeps what is good."""

from __future__ import annotations

from contextlib import suppress

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.ingest_world import T0_NS, World, good_frame
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
