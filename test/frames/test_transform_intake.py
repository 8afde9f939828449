"""Transforms that are not used as they came: which are, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest
from messages_rig import MS, T0, Rig
from transform_messages import serialised

from sparse_recon.errors import ErrorCode
from sparse_recon.frames.transform_notes import TransformNotes
from sparse_recon.geometry.poses import pose

pytestmark = pytest.mark.usefixtures("transform_source")
STILL = np.eye(4)


def at(x: float) -> np.ndarray:
    return pose(np.eye(3), (x, 0.0, 0.0))


def robot() -> Rig:
    """A camera below odom that gave a frame at 1 s; odom hangs below map."""
    rig = Rig()
    rig.info()
    for ms in range(0, 2000, 100):
        rig.tf(ms)
    rig.both(1000)
    assert rig.stamps_ms() == [1000]
    return rig


def localise(rig: Rig, ms: int, x: float = 0.0):
    return rig._then(rig.assembler.push_transform("map", "world", T0 + ms * MS, at(x)))


def test_post_dated_localisation_does_not_make_the_next_sample_late():
    rig = robot()
    localise(rig, 0)
    localise(rig, 7000)
    for ms in (2100, 2200):
        assert localise(rig, ms) is None
        rig.tf(ms)
    rig.both(2150)
    assert rig.stamps_ms()[-1] == 2150 and rig.assembler.restarts <= 1
    assert ErrorCode.STAMP_ORDER not in rig.assembler.counts and not rig.assembler.transform_notes()


def test_sample_between_post_dated_ones_counts_as_in_tf2():
    rig = robot()
    localise(rig, 2000, 0.0)
    localise(rig, 7000, 5.0)
    localise(rig, 3000, 0.0)
    rig.tf(2400)
    assert rig.assembler.transforms.lookup("map", "world", T0 + 2500 * MS)[0, 3] == pytest.approx(0.0)


def test_static_link_that_is_repeated_on_tf_stays_static_and_is_told_once_with_its_count():
    rig = robot()
    for stamp in (0, 5):
        rig.assembler.push_transform("hand", "tool", T0 + stamp, at(0.3), static=True)
    for ms in (100, 5000):
        assert rig.assembler.push_transform("hand", "tool", T0 + ms * MS, at(0.3)) is None
    assert rig.assembler.transforms.lookup("hand", "tool", T0)[0, 3] == 0.3
    (note,) = rig.assembler.transform_notes()
    assert "hand -> tool came 2 x" in note


def test_static_link_with_another_value_on_tf_moves_and_is_told():
    rig = robot()
    rig.assembler.push_transform("hand", "tool", T0, at(0.3), static=True)
    for ms, x in ((100, 0.0), (200, 1.0)):
        rig.assembler.push_transform("hand", "tool", T0 + ms * MS, at(x))
    assert rig.assembler.transforms.lookup("hand", "tool", T0 + 150 * MS)[0, 3] == pytest.approx(0.5)
    assert "hand -> tool" in rig.assembler.transform_notes()[0] and "moves" in rig.assembler.transform_notes()[0]


def test_static_link_that_is_published_again_with_another_value_is_told():
    rig = robot()
    for x in (0.3, 0.3, 0.4):
        rig.assembler.push_transform("hand", "tool", T0, at(x), static=True)
    assert rig.assembler.transforms.lookup("hand", "tool", T0)[0, 3] == 0.4
    (note,) = rig.assembler.transform_notes()
    assert "published again" in note and "1 x" in note


def test_static_transforms_outlast_a_restart_and_repeats_of_them_still_count_as_such():
    rig = robot()
    rig.assembler.push_transform("hand", "tool", T0, at(0.3), static=True)
    rig.assembler.restart()
    rig.assembler.push_transform("hand", "tool", T0 + 100 * MS, at(0.3))
    assert rig.assembler.transforms.lookup("hand", "tool", T0 + 900 * MS)[0, 3] == 0.3


def test_loop_of_a_recording_in_serialised_messages_begins_anew():
    rig = Rig()
    rig.info()

    def send(ms: int) -> None:
        links = [("map", "world", T0 + ms * MS, STILL), ("world", "cam_optical", T0 + ms * MS, STILL)]
        rig.assembler.push_transform_message(serialised([*links, ("world", "arm", T0 + ms * MS, STILL)]), False)

    for _ in range(3):
        for ms in range(0, 4000, 100):
            send(ms)
            rig.both(ms + 50)
    assert rig.assembler.restarts == 2
    per_pass = (len(rig.finish()) + 1) // 3
    assert per_pass >= 38


def test_transforms_that_cannot_be_used_are_refused_one_by_one():
    rig = robot()
    before = sum(rig.assembler.counts.values())
    wrong = serialised([("world", "", T0, STILL), ("world", "x", T0, STILL), ("a", "a", T0, STILL)])
    assert rig.assembler.push_transform_message(wrong, False)
    assert rig.assembler.transforms.lookup("world", "x", T0)[0, 3] == 0.0
    assert sum(rig.assembler.counts.values()) == before + 2
    unset = bytearray(serialised([("world", "y", T0, STILL)]))
    unset[-8:] = bytes(8)
    rig.assembler.push_transform_message(bytes(unset), False)
    assert "world -> y" in rig.last().message and "length 0" in rig.last().message


def test_notes_are_bounded_and_those_of_late_are_told_apart():
    notes = TransformNotes()
    for k in range(500):
        notes.add("late", f"link_{k}", lambda count, k=k: f"link_{k} {count}")
    notes.add("late", "link_499", lambda count: f"again {count}")
    assert len(notes.sentences()) == 100 and notes.sentences()[-1] == "again 2"
    assert notes.sentences(within_s=0.0) == []
