"""Transform tree against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from sparse_recon.errors import ErrorCode, InputError, TransformError
from sparse_recon.geometry import transforms
from sparse_recon.geometry.poses import inverse, pose, quat_xyzw
from sparse_recon.geometry.transform_history import interpolated
from sparse_recon.geometry.transforms import TransformTree, pose_from_quaternion

S = 1_000_000_000
EPOCH = 1_700_000_000 * S  # float seconds of today resolve only 240 ns


def turned(angle_rad: float, t: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    return pose(Rotation.from_rotvec([0.0, 0.0, angle_rad]).as_matrix(), t)


def moving_tree(**kwargs: float) -> TransformTree:
    tree = TransformTree(**kwargs)
    for k in range(11):
        tree.add("odom", "base", EPOCH + k * S // 10, turned(0.1 * k, (0.2 * k, 0.0, 0.0)))
    tree.add("base", "cam", 0, pose(np.eye(3), (0.0, 0.0, 1.5)), static=True)
    return tree


def test_interpolates_translation_and_rotation_at_the_stamp():
    T = moving_tree().lookup("odom", "cam", EPOCH + 250_000_000)
    assert pytest.approx(turned(0.25, (0.5, 0.0, 1.5)), abs=1e-9) == T


def test_keeps_nanoseconds_of_today():
    tree = TransformTree()
    tree.add("a", "b", EPOCH, turned(0.0))
    tree.add("a", "b", EPOCH + 100, turned(0.0, (1.0, 0.0, 0.0)))
    assert tree.lookup("a", "b", EPOCH + 37)[0, 3] == pytest.approx(0.37)


def test_lookup_inverts_and_composes():
    tree = moving_tree()
    T = tree.lookup("odom", "cam", EPOCH + S // 2)
    assert tree.lookup("cam", "odom", EPOCH + S // 2) == pytest.approx(inverse(T))
    assert tree.lookup("cam", "cam", 0) == pytest.approx(np.eye(4))


def test_sibling_frames_meet_in_their_common_ancestor_whatever_moves_above():
    tree = moving_tree()
    tree.add("base", "gripper", 0, pose(np.eye(3), (0.3, 0.0, 0.0)), static=True)
    assert tree.lookup("gripper", "cam", 1)[:3, 3] == pytest.approx([-0.3, 0.0, 1.5])


@given(st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_rotation_equals_slerp(fraction: float, seed: int):
    a, b = Rotation.random(2, random_state=np.random.RandomState(seed))
    T = interpolated(pose(a.as_matrix(), np.zeros(3)), pose(b.as_matrix(), np.zeros(3)), fraction)
    truth = Slerp([0, 1], Rotation.concatenate([a, b]))(fraction).as_matrix()
    assert T[:3, :3] == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize(("offset_ns", "word"), [(-S // 4, "0.250 s before"), (S + S // 2, "0.500 s after")])
def test_never_extrapolates(offset_ns: int, word: str):
    with pytest.raises(TransformError, match=word) as caught:
        moving_tree().lookup("odom", "cam", EPOCH + offset_ns)
    assert caught.value.code is ErrorCode.TF_EXTRAPOLATION


def test_names_the_missing_frame_and_the_known_ones():
    with pytest.raises(TransformError, match=r"'camera_optical'.*base, cam, odom") as caught:
        moving_tree().lookup("odom", "camera_optical", EPOCH)
    assert caught.value.code is ErrorCode.TF_FRAME_UNKNOWN


def test_names_the_two_trees():
    tree = moving_tree()
    tree.add("map", "table", 0, np.eye(4), static=True)
    with pytest.raises(TransformError, match=r"root 'odom'.*root 'map'") as caught:
        tree.lookup("table", "cam", EPOCH)
    assert caught.value.code is ErrorCode.TF_NOT_CONNECTED


def test_refuses_to_bridge_a_gap():
    tree = moving_tree(max_gap_s=1.0)
    tree.add("odom", "base", EPOCH + 4 * S, np.eye(4))
    with pytest.raises(TransformError, match=r"gap of 3\.000 s") as caught:
        tree.lookup("odom", "cam", EPOCH + 2 * S)
    assert caught.value.code is ErrorCode.TF_GAP
    assert tree.lookup("odom", "cam", EPOCH + 4 * S)[2, 3] == 1.5  # on the sample itself nothing is bridged


def test_history_is_bounded():
    tree = TransformTree(history_s=0.35)
    for k in range(1000):
        tree.add("odom", "base", EPOCH + k * S // 10, np.eye(4))
    tree.lookup("odom", "base", EPOCH + 997 * S // 10)
    with pytest.raises(TransformError, match="before the oldest"):
        tree.lookup("odom", "base", EPOCH + 995 * S // 10)


def test_late_samples_are_sorted_in():
    tree = TransformTree()
    for k in (0, 2, 1):
        tree.add("a", "b", k * S // 10, turned(0.0, (float(k * k), 0.0, 0.0)))
    assert tree.lookup("a", "b", S // 20)[0, 3] == pytest.approx(0.5)


def test_clear_keeps_static_frames():
    tree = moving_tree()
    tree.clear()
    assert tree.frames() == {"base", "cam"}


def test_root_is_the_top_of_the_chain():
    tree = moving_tree()
    assert tree.root() == "odom" == tree.root("cam")
    tree.add("map", "table", 0, np.eye(4), static=True)
    with pytest.raises(TransformError, match="map, odom"):
        tree.root()


def test_root_of_nothing_is_an_error():
    with pytest.raises(TransformError, match="no transforms") as caught:
        TransformTree().root()
    assert caught.value.code is ErrorCode.TF_FRAME_UNKNOWN


def test_covers_tells_whether_waiting_helps():
    tree = moving_tree()
    assert tree.covers("odom", "cam", EPOCH + S)
    assert not tree.covers("odom", "cam", EPOCH + S + 1)
    assert tree.covers("base", "cam", EPOCH + 100 * S)


def test_newest_stamp_is_that_of_the_last_sample_and_of_the_slowest_link():
    tree = moving_tree()
    for k in range(4):
        tree.add("cam", "lens", EPOCH + k * S // 10, np.eye(4))
    assert tree.newest_ns("/base") == EPOCH + S and tree.newest_ns("lens") == EPOCH + 3 * S // 10
    assert tree.newest_ns("cam") is None and tree.newest_ns("nothing") is None
    assert tree.newest_common_ns("odom", "lens") == EPOCH + 3 * S // 10
    assert tree.newest_common_ns("odom", "cam") == EPOCH + S
    assert tree.newest_common_ns("base", "cam") == 0  # nothing moves between them


@pytest.mark.parametrize(("parent", "child"), [("p" * 256, "c"), ("p", "c" * 256)])
def test_names_longer_than_255_characters_are_refused(parent, child):
    with pytest.raises(InputError, match="256 characters") as caught:
        TransformTree().add(parent, child, EPOCH, np.eye(4))
    assert caught.value.code is ErrorCode.FRAME_INVALID
    TransformTree().add(parent[:255], child[:255], EPOCH, np.eye(4))


def test_of_too_many_frames_the_tenth_that_was_silent_for_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(transforms, "MAX_FRAMES", 90)
    tree = TransformTree()
    for k in [*range(90), 0, 1]:  # the first two speak again
        tree.add("odom", f"f{k}", EPOCH + S, np.eye(4))
    tree.add("odom", "last", EPOCH + S, np.eye(4))
    assert {f"f{k}" for k in range(90)} - tree.frames() == {f"f{k}" for k in range(2, 11)}


def test_of_too_many_static_frames_the_first_two_fifths_of_the_limit_stay(monkeypatch):
    monkeypatch.setattr(transforms, "MAX_FRAMES", 50)
    tree = TransformTree()
    for k in range(25):
        tree.add("odom", f"m{k}", EPOCH, np.eye(4))
    for k in range(26):
        tree.add("odom", f"s{k}", 0, np.eye(4), static=True)
    assert tree.frames() == {"odom"} | {f"m{k}" for k in range(25)} | {f"s{k}" for k in range(20)}


def test_of_too_many_samples_the_older_half_of_the_frame_with_most_is_forgotten(monkeypatch):
    monkeypatch.setattr(transforms, "MAX_SAMPLES", 40)
    tree = TransformTree()
    for k in range(31):
        tree.add("odom", "busy", EPOCH + k * S // 10, turned(0.0, (float(k), 0.0, 0.0)))
    for k in range(10):
        tree.add("odom", "calm", EPOCH + k * S // 10, np.eye(4))
    with pytest.raises(TransformError, match="before the oldest"):
        tree.lookup("odom", "busy", EPOCH + 14 * S // 10)
    assert tree.lookup("odom", "busy", EPOCH + 15 * S // 10)[0, 3] == 15.0
    assert np.array_equal(tree.lookup("odom", "calm", EPOCH), np.eye(4))


def test_refuses_a_loop_of_frames():
    with pytest.raises(InputError, match="loop"):
        moving_tree().add("cam", "odom", EPOCH, np.eye(4))


def test_child_with_a_new_parent_keeps_the_old_one_for_stamps_before():
    tree = moving_tree()  # odom -> base up to 1 s
    tree.add("map", "base", EPOCH + 2 * S, turned(0.0, (7.0, 0.0, 0.0)))
    tree.add("map", "base", EPOCH + 3 * S, turned(0.0, (9.0, 0.0, 0.0)))
    assert tree.root("cam") == "map"
    assert tree.lookup("odom", "cam", EPOCH + S // 2)[0, 3] == pytest.approx(1.0)
    assert tree.lookup("odom", "cam", EPOCH + 3 * S // 2)[0, 3] == pytest.approx(2.0)  # the last sample before
    assert tree.lookup("map", "cam", EPOCH + 5 * S // 2)[0, 3] == pytest.approx(8.0)
    for frame, at_ns in (("map", S // 2), ("odom", 5 * S // 2)):
        with pytest.raises(TransformError) as caught:
            tree.lookup(frame, "cam", EPOCH + at_ns)
        assert caught.value.code is ErrorCode.TF_NOT_CONNECTED


def test_late_sample_below_another_parent_does_not_move_the_frame():
    tree = moving_tree()
    tree.add("map", "base", EPOCH + S // 4, np.eye(4))
    assert tree.root("cam") == "odom"
    assert tree.lookup("map", "cam", EPOCH + S // 4)[2, 3] == 1.5


def test_the_last_transform_of_a_frame_says_whether_it_is_static():
    tree = TransformTree()
    tree.add("base", "cam", 0, turned(0.0, (1.0, 0, 0)), static=True)
    assert tree.lookup("base", "cam", EPOCH)[0, 3] == 1.0 and tree.newest_ns("cam") is None
    tree.add("base", "cam", 0, turned(0.0, (2.0, 0, 0)), static=True)
    assert tree.lookup("base", "cam", EPOCH)[0, 3] == 2.0
    for k in (0, 1):
        tree.add("base", "cam", EPOCH + k * S, turned(0.0, (3.0 + k, 0, 0)))
    assert tree.lookup("base", "cam", EPOCH + S // 2)[0, 3] == 3.5
    tree.add("base", "cam", 0, turned(0.0, (5.0, 0, 0)), static=True)
    assert tree.lookup("base", "cam", EPOCH - 9 * S)[0, 3] == 5.0


def test_frame_that_changed_places_with_its_parent_is_named_where_both_are_known():
    tree = TransformTree(history_s=2.0)
    tree.add("a", "b", 0, np.eye(4))
    tree.add("a", "b", S, np.eye(4))
    tree.add("c", "b", 2 * S, np.eye(4))
    tree.add("b", "a", 0, np.eye(4))
    tree.add("b", "a", 2 * S, np.eye(4))
    with pytest.raises(TransformError, match="loop, a -> b -> a") as caught:
        tree.lookup("c", "a", S // 2)
    assert caught.value.code is ErrorCode.TF_NOT_CONNECTED
    assert np.array_equal(tree.lookup("c", "a", 2 * S), np.eye(4))


# Gaps: one sample every `period_s`, then nothing for `gap_s`, over which the frame moves by `step`.


def silent_tree(period_s: float, count: int, gap_s: float, step: np.ndarray) -> tuple[TransformTree, int]:
    tree = TransformTree()
    for k in range(count):
        tree.add("map", "odom", EPOCH + round(k * period_s * S), np.eye(4))
    end_ns = EPOCH + round((count - 1) * period_s * S)
    tree.add("map", "odom", end_ns + round(gap_s * S), step)
    return tree, end_ns + round(0.5 * gap_s * S)


@pytest.mark.parametrize(
    ("period_s", "count", "gap_s", "step", "bridged"),
    [
        (3.0, 1, 3.0, np.eye(4), True),  # localisation every 3 s, its first two samples
        (3.0, 9, 3.0, turned(0.05, (0.05, 0.0, 0.0)), True),  # and later, with corrections
        (3.0, 9, 3.0, turned(0.0, (0.2, 0.0, 0.0)), False),  # which put the robot elsewhere
        (3.0, 9, 3.0, turned(0.2), False),  # or turn it
        (3.0, 9, 8.0, np.eye(4), True),  # twice it had nothing to say
        (3.0, 9, 10.0, np.eye(4), False),
        (0.05, 9, 3.0, np.eye(4), False),  # an arm that fell silent and may have been anywhere
        (0.05, 9, 0.9, turned(1.0, (1.0, 0.0, 0.0)), True),  # within max_gap_s
    ],
)
def test_gap_is_bridged_where_a_link_of_that_rhythm_stood_still(period_s, count, gap_s, step, bridged):
    tree, middle_ns = silent_tree(period_s, count, gap_s, step)
    if bridged:
        assert tree.lookup("map", "odom", middle_ns)[0, 3] == pytest.approx(step[0, 3] / 2)
    else:
        with pytest.raises(TransformError, match=r"assembly\.max_gap_s") as caught:
            tree.lookup("map", "odom", middle_ns)
        assert caught.value.code is ErrorCode.TF_GAP


def test_gap_between_two_parents_is_not_bridged():
    tree = TransformTree()
    tree.add("map", "cam", EPOCH, np.eye(4))
    tree.add("odom", "cam", EPOCH + 3 * S, np.eye(4))
    with pytest.raises(TransformError) as caught:
        tree.lookup("map", "cam", EPOCH + S)
    assert caught.value.code is ErrorCode.TF_GAP


# Against tf2, as its sources have it: one list of samples a frame, walked upwards at the stamp.


class Tf2Model:
    def __init__(self) -> None:
        self.static: dict[str, tuple[str, float]] = {}
        self.moving: dict[str, list[tuple[int, str, float]]] = {}

    def add(self, parent: str, child: str, stamp: int, x: float, static: bool) -> None:
        if static:
            self.moving.pop(child, None)
            self.static[child] = parent, x
        else:
            self.static.pop(child, None)
            samples = [item for item in self.moving.get(child, []) if item[0] != stamp]
            self.moving[child] = sorted([*samples, (stamp, parent, x)])

    def above(self, child: str, stamp: int) -> tuple[str, float] | None:
        if child in self.static:
            return self.static[child]
        samples = self.moving.get(child, [])
        before, after = [s for s in samples if s[0] <= stamp], [s for s in samples if s[0] >= stamp]
        if not before or not after:
            return None
        (t0, parent, x0), (t1, other, x1) = before[-1], after[0]
        return parent, x0 if parent != other or t0 == t1 else x0 + (x1 - x0) * (stamp - t0) / (t1 - t0)

    def way_up(self, frame: str, stamp: int) -> dict[str, float]:
        way, x = {frame: 0.0}, 0.0
        while (found := self.above(frame, stamp)) is not None and found[0] not in way:
            frame, x = found[0], x + found[1]
            way[frame] = x
        return way

    def lookup(self, target: str, source: str, stamp: int) -> float | None:
        up, down = self.way_up(source, stamp), self.way_up(target, stamp)
        common = next((name for name in up if name in down), None)
        return None if common is None else up[common] - down[common]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.sampled_from("bcdef"), st.integers(0, 9), st.integers(-5, 5), st.booleans()
        ),
        max_size=25,
    )
)
def test_any_publications_are_answered_as_by_tf2(added):
    tree, model = TransformTree(max_gap_s=60.0), Tf2Model()
    for parent, child, stamp, x, static in added:
        try:
            tree.add(parent, child, (1 + stamp) * S, turned(0.0, (float(x), 0.0, 0.0)), static)
        except InputError:  # loops, which tf2 takes and cannot answer
            continue
        model.add(parent, child, (1 + stamp) * S, float(x), static)
    for target in tree.frames():
        for source in tree.frames() - {target}:
            for half in range(2, 21):
                expected = model.lookup(target, source, half * S // 2)
                try:
                    found = tree.lookup(target, source, half * S // 2)[0, 3]
                except TransformError:
                    found = None
                assert found == (None if expected is None else pytest.approx(expected))


def test_leading_slashes_do_not_matter():
    assert moving_tree().lookup("/odom", "/cam", EPOCH)[2, 3] == 1.5


def test_quaternion_makes_the_same_rotation_as_scipy():
    quat_xyzw = Rotation.from_euler("xyz", [0.3, -0.7, 2.0]).as_quat()
    T = pose_from_quaternion(tuple(quat_xyzw), (1.0, 2.0, 3.0))
    assert T[:3, :3] == pytest.approx(Rotation.from_quat(quat_xyzw).as_matrix(), abs=1e-12)


@given(st.integers(0, 2**31 - 1), st.sampled_from([0.0, 1e-9, 1e-3, 1.0, math.pi - 1e-9, math.pi]))
def test_quaternion_of_a_rotation_equals_scipy(seed: int, angle_rad: float):
    axis = np.random.default_rng(seed).normal(size=3)
    rotation = Rotation.from_rotvec(angle_rad * axis / np.linalg.norm(axis))
    found, truth = np.array(quat_xyzw(rotation.as_matrix())), rotation.as_quat()
    assert found * np.sign(found @ truth) == pytest.approx(truth, abs=1e-12)


def test_empty_quaternion_is_refused():
    with pytest.raises(InputError, match="length 0"):
        pose_from_quaternion((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
