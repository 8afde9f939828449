"""Links that nobody asks for stay packed, and nothing is lost by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transform_messages import serialised

from sparse_recon.errors import InputError, TransformError
from sparse_recon.frames import lazy_transforms
from sparse_recon.frames.ahead import AheadMessages
from sparse_recon.frames.lazy_transforms import LazyTransforms
from sparse_recon.frames.transform_bytes import TransformBytes, pose_of
from sparse_recon.geometry.poses import pose
from sparse_recon.geometry.transforms import TransformTree

S = 1_000_000_000


class Counting(TransformTree):
    """A tree that counts what it is handed."""

    def __init__(self, **kwargs: float) -> None:
        super().__init__(**kwargs)
        self.added = 0

    def add(self, *link: object, **kwargs: object) -> None:
        self.added += 1
        super().add(*link, **kwargs)  # type: ignore[arg-type]


def at(x: float) -> np.ndarray:
    return pose(np.eye(3), (x, 0.0, 0.0))


def send(lazy: LazyTransforms, *links: tuple[str, str, int, float], static: bool = False) -> None:
    message = TransformBytes(serialised((parent, child, stamp, at(x)) for parent, child, stamp, x in links))
    for parent, child, stamp_ns, place in message:
        if static or not lazy.keep((parent, child), stamp_ns, message, place):
            T = pose_of(message.numbers(place), message.little_endian)
            lazy.add(parent.decode(), child.decode(), stamp_ns, T, static)


@pytest.fixture
def robot() -> LazyTransforms:
    """A robot of thirty links that moved for ten seconds; the camera hangs on the second of them."""
    lazy = LazyTransforms(Counting(), S, AheadMessages(10.0))
    for k in range(100):
        stamp = S + k * S // 10
        joints = [("base", f"joint_{j}", stamp, 0.01 * k) for j in range(28)]
        send(lazy, ("odom", "base", stamp, 0.1 * k), ("base", "cam", stamp, 1.0), *joints)
        if k == 50:
            lazy.lookup("odom", "cam", stamp)
    return lazy


def test_only_links_on_the_path_that_was_asked_for_are_unpacked(robot):
    assert robot.source.added == 2 * 100 + 28
    assert robot.lookup("odom", "cam", S + S // 20)[0, 3] == pytest.approx(1.05)  # also of the time before
    assert robot.source.added == 2 * 100 + 28


def test_path_that_is_asked_for_later_is_answered_as_if_it_had_always_been_needed(robot):
    assert robot.lookup("odom", "joint_7", S + S // 20)[0, 3] == pytest.approx(0.055)
    assert robot.newest_common_ns("odom", "joint_8") == S + 99 * S // 10
    assert robot.source.added == 2 * 100 + 28 + 2 * 99
    send(robot, ("base", "joint_7", 12 * S, 5.0), ("odom", "base", 12 * S, 9.9))
    assert robot.lookup("odom", "joint_7", 12 * S)[0, 3] == pytest.approx(14.9)


def test_newest_stamp_counts_what_is_packed(robot):
    assert robot.newest_ns("joint_3") == S + 99 * S // 10
    assert robot.newest_ns("nobody") is None
    assert robot.covers("odom", "joint_3", S + 99 * S // 10)


def test_late_transform_is_not_packed(robot):
    before = robot.source.added
    send(robot, ("base", "joint_3", 9 * S, 0.0))
    assert robot.source.added == before + 1


def test_new_parent_reaches_the_tree_at_once_with_what_was_packed_below_the_old_one(robot):
    send(robot, ("cam", "joint_3", 11 * S, 0.5))
    assert robot.source.root("joint_3") == "odom"
    assert robot.lookup("cam", "joint_3", 11 * S)[0, 3] == pytest.approx(0.5)
    assert robot.lookup("base", "joint_3", S + S // 20)[0, 3] == pytest.approx(0.005)


def test_static_transform_ends_what_was_packed(robot):
    send(robot, ("base", "joint_3", 0, 7.0), static=True)
    assert robot.lookup("base", "joint_3", 2 * S)[0, 3] == 7.0
    assert robot.newest_ns("joint_3") is None


def test_link_that_grows_above_the_root_is_on_the_path(robot):
    for k in range(3):
        send(robot, ("map", "odom", (9 + k) * S, float(k)))
    send(robot, ("odom", "base", 11 * S, 0.0), ("base", "cam", 11 * S, 0.0))
    assert robot.lookup("map", "cam", 10 * S)[0, 3] == pytest.approx(1.0 + 9.0 + 1.0)


def test_clear_forgets_what_is_packed(robot):
    robot.clear()
    assert robot.frames() == frozenset()
    send(robot, ("base", "joint_7", 20 * S, 1.0))
    with pytest.raises(TransformError):
        robot.lookup("base", "joint_7", 5 * S)
    assert robot.lookup("base", "joint_7", 20 * S)[0, 3] == 1.0


def test_path_that_was_asked_for_is_unpacked_also_after_all_was_forgotten(robot):
    robot.clear()
    for k in range(1, 4):
        before = robot.source.added
        send(
            robot, ("odom", "base", (20 + k) * S, 0.0), ("base", "cam", (20 + k) * S, 0.0), ("base", "joint_7", k, 0.0)
        )
        assert robot.source.added >= before + 2


def test_link_that_keeps_changing_its_parent_is_no_longer_packed(robot):
    for k in range(20):
        send(robot, ("ab"[k % 2], "joint_3", (11 + k) * S, 0.0))
    before = robot.source.added
    for k in range(5):
        send(robot, ("b", "joint_3", (40 + k) * S, 0.0))
    assert robot.source.added == before + 5


def test_what_is_packed_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lazy_transforms, "MAX_PACKED", 50)
    lazy = LazyTransforms(TransformTree(), S, AheadMessages(10.0))
    for k in range(1, 200):
        send(lazy, ("base", "joint", k * S // 10, float(k)))
    assert lazy.lookup("base", "joint", 19 * S)[0, 3] == pytest.approx(190.0)
    with pytest.raises(TransformError):
        lazy.lookup("base", "joint", 10 * S)


FRAMES = "abcdef"
SENT = st.tuples(
    st.sampled_from(FRAMES), st.sampled_from(FRAMES), st.integers(1, 30), st.integers(-5, 5), st.booleans()
)
ASKED = st.tuples(st.sampled_from(FRAMES), st.sampled_from(FRAMES), st.integers(1, 30))


@given(st.lists(st.one_of(SENT, ASKED), max_size=40))
def test_any_transforms_are_answered_as_by_the_tree_alone(steps):
    lazy, tree = (
        LazyTransforms(TransformTree(max_gap_s=60.0), 100 * S, AheadMessages(100.0)),
        TransformTree(max_gap_s=60.0),
    )
    for step in steps:
        if len(step) == 5:
            parent, child, stamp, x, static = step
            for taker in (lazy, tree):
                try:
                    if taker is lazy:
                        send(lazy, (parent, child, stamp * S, x), static=static)
                    else:
                        tree.add(parent, child, stamp * S, at(x), static)
                except InputError:
                    pass
            continue
        target, source, stamp = step
        answers = []
        for taker in (lazy, tree):
            try:
                answers.append(taker.lookup(target, source, stamp * S)[0, 3])
            except TransformError as error:
                answers.append(error.code)
        assert answers[0] == (answers[1] if not isinstance(answers[1], float) else pytest.approx(answers[1]))
