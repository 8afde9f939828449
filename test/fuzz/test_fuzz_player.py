"""Damaged recordings are played as far as they go, and nothing in them makes the player wait for years."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.bag_bytes import good_frames, rewritten, stock_mcap
from fuzz.wild_messages import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processor_time import processor_time_below

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag
from sparse_recon.errors import SparseReconError
from sparse_recon.ros.play.player import Player, PlayOptions, ros_node
from sparse_recon.ros.play.timeline import CLOCK, timeline

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ANSWER_S = 5.0
FAST = PlayOptions(rate=1e6, clock_hz=1000.0, wait_s=0.0)
DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def node():
    """Make a node that publishes to nobody."""
    with ros_node("fuzz_player") as made:
        yield made


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Return the bytes of one file of each storage."""
    folder = tmp_path_factory.mktemp("recordings")
    write_frames(good_frames(), folder / "mcap", world_frame="world", compressed=True)
    rewritten(folder / "mcap", folder / "db3", storage="SQLITE3")
    return {
        "mcap": next((folder / "mcap").glob("*.mcap")).read_bytes(),
        "db3": next((folder / "db3").glob("*.db3")).read_bytes(),
    }


def played(path, node, options=FAST):
    """Play a recording; return how often a message was published, or None where it was refused with a sentence."""
    player = None
    try:
        with Bag(path) as bag:
            player = Player(bag, node, options)
            player.play()
    except SparseReconError as error:
        assert error.message
        return None
    finally:
        for publisher in list(node.publishers):
            node.destroy_publisher(publisher)
    return sum(player.summary.messages.values())


@settings(SEEDED, max_examples=60)
@given(st.sampled_from(["mcap", "db3"]), st.data())
def test_any_bytes_are_played_or_refused(recordings, node, tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("damaged") / f"bag.{kind}"
    path.write_bytes(data.draw(mutated(recordings[kind])))
    with processor_time_below(ANSWER_S):
        count = played(path, node)
    assert count is None or 0 < count <= 30


@pytest.mark.parametrize("name", ["my%20bag", "50%", "what?", "take#2", "take²", "٣", "bag_" + "9" * 200])
@pytest.mark.parametrize("kind", ["mcap", "db3"])
def test_the_file_that_is_named_is_played(recordings, node, tmp_path, name: str, kind: str):
    (tmp_path / f"my bag.{kind}").write_bytes(b"what %20 stands for")
    (tmp_path / f"plain.{kind}").write_bytes(recordings[kind])
    plain = played(tmp_path / f"plain.{kind}", node)
    assert plain is not None and plain >= 12
    path = tmp_path / f"{name}.{kind}"
    path.write_bytes(recordings[kind])
    with processor_time_below(2.0):
        assert played(path, node) == plain


@pytest.mark.parametrize("log_ns", [1, 5 * 365 * DAY_NS, 2**31 * 10**9, 2**63 - 2])
def test_recording_whose_clock_was_set_meanwhile_is_played_without_the_years_between(node, tmp_path, log_ns: int):
    write_frames(good_frames(), tmp_path / "bag", world_frame="world")
    path = stock_mcap(tmp_path / "bag", tmp_path / "clock.mcap", "none", bomb=b"\0\1\0\0", bomb_ns=log_ns)
    with processor_time_below(ANSWER_S):
        assert played(path, node, replace(FAST, rate=1.0, clock_hz=10.0)) >= 12


def test_silence_of_a_day_is_kept_and_a_longer_one_is_skipped():
    messages = [("/a", 1000, b"1"), ("/a", 1000 + DAY_NS, b"2"), ("/a", 2001 + 2 * DAY_NS, b"3")]
    events = [event for event in timeline(messages, 1000, clock_hz=1e-4) if event.topic != CLOCK]
    assert [event.due_s for event in events] == [0.0, 86_400.0, 86_400.0]
    ticks = [event.played_ns for event in timeline(messages, 1000, clock_hz=1e-4) if event.topic == CLOCK]
    assert ticks == sorted(ticks)
    assert ticks[-1] == 2001 + 2 * DAY_NS
