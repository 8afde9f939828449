"""Transforms in any number cost neither memory nor time beyond what a robot's do, and the good ones are kept."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.ingest_world import SECOND_NS, T0_NS, World, memory_growth, stamped
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage

from sparse_recon.errors import InputError
from sparse_recon.geometry import transforms
from sparse_recon.geometry.transforms import TransformTree

MEGABYTE = 1_000_000
FRAMES, SAMPLES = 500, 2000


def rejection(world: World):
    return world.ingest.counts.rejections[-1]


def spam(count: int, name: str = "spam_{}", parent: str = "world") -> TFMessage:
    items = []
    for k in range(count):
        item = TransformStamped(child_frame_id=name.format(k))
        items.append(stamped(item, T0_NS + k, parent.format(k)))
    return TFMessage(transforms=items)


@pytest.mark.parametrize(
    "message",
    [
        spam(50_000),
        spam(50_000, "one"),
        spam(6000, "link_{}", "tail_{}"),
        TFMessage(transforms=[TransformStamped()] * 50_000),
    ],
    ids=["names", "stamps", "trees", "invalid"],
)
@pytest.mark.parametrize("role", ["tf", "tf_static"])
def test_flood_of_transforms_is_used_in_time(role: str, message: TFMessage):
    with World() as world, memory_growth() as growth:
        world.say_all([(role, message), (role, message)])
        assert world.keeps_good_frames()
    assert growth[0] < 100 * MEGABYTE


def test_chain_of_frames_is_bounded_and_used_in_time():
    items = []
    for k in range(5000):
        item = TransformStamped(child_frame_id=f"link_{k + 1}")
        items.append(stamped(item, T0_NS, f"link_{k}"))
    with World() as world:
        world.say_all([("tf", TFMessage(transforms=items))])
        assert "accepted are up to 1000" in rejection(world).message
        assert world.keeps_good_frames()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """Set limits that are soon reached."""
    monkeypatch.setattr(transforms, "MAX_FRAMES", FRAMES)
    monkeypatch.setattr(transforms, "MAX_SAMPLES", SAMPLES)


def test_frames_that_were_silent_for_longest_make_room_and_static_ones_stay(small):
    tree = TransformTree()
    tree.add("world", "base", 0, np.eye(4), static=True)
    for k in range(FRAMES + 5):
        tree.add("base", f"spam_{k}", T0_NS, np.eye(4))
        tree.add("base", "camera", T0_NS + k, np.eye(4))
    assert len(tree.frames()) <= FRAMES + 1
    assert "spam_0" not in tree.frames()
    assert np.array_equal(tree.lookup("world", "camera", T0_NS + 7), np.eye(4))


def test_static_frames_leave_room_for_moving_ones(small):
    tree = TransformTree()
    tree.add("world", "base", 0, np.eye(4), static=True)
    for k in range(FRAMES + 5):
        tree.add("base", f"spam_{k}", 0, np.eye(4), static=True)
        tree.add("base", "camera", T0_NS + k, np.eye(4))
    assert len(tree.frames()) <= FRAMES + 1
    assert np.array_equal(tree.lookup("world", "camera", T0_NS + 7), np.eye(4))


def test_samples_are_bounded_where_the_most_are(small):
    tree = TransformTree()
    tree.add("world", "slow", T0_NS, np.eye(4))
    for k in range(SAMPLES + 10):
        tree.add("world", "fast", T0_NS + k, np.eye(4))
    assert np.array_equal(tree.lookup("world", "slow", T0_NS), np.eye(4))
    assert np.array_equal(tree.lookup("world", "fast", T0_NS + SAMPLES), np.eye(4))
    with pytest.raises(Exception, match="before the oldest"):
        tree.lookup("world", "fast", T0_NS + 10)


def test_opposite_transform_that_came_once_is_forgotten_after_the_history():
    tree = TransformTree(history_s=30.0)
    tree.add("camera", "world", T0_NS, np.eye(4))
    with pytest.raises(InputError, match="closes a loop"):
        tree.add("world", "camera", T0_NS + 29 * SECOND_NS, np.eye(4))
    tree.add("world", "camera", T0_NS + 31 * SECOND_NS, np.eye(4))
    assert tree.root("camera") == "world"


def test_static_transform_never_breaks_a_moving_one_open():
    tree = TransformTree()
    tree.add("world", "camera", T0_NS, np.eye(4))
    with pytest.raises(InputError, match="closes a loop"):
        tree.add("camera", "world", 0, np.eye(4), static=True)
