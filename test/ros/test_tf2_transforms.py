"""The buffer of tf2_ros against the package's own tree: the same answers, and the differences that are documented."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
pytest.importorskip("tf2_ros", reason="tf2_ros is not on pip; this runs beside the ROS of a robot")

from scipy.spatial.transform import Rotation

from sparse_recon.config.input_config import AssemblyConfig
from sparse_recon.errors import ErrorCode, InputError, TransformError
from sparse_recon.geometry import transforms
from sparse_recon.geometry.poses import pose
from sparse_recon.geometry.transforms import TransformSource, TransformTree
from sparse_recon.ros.tf2_transforms import Tf2Transforms

S = 1_000_000_000
MS = S // 1000
T0 = 1_700_000_000 * S
HISTORY_S = 30.0
I4 = np.eye(4)


def buffer() -> Tf2Transforms:
    return Tf2Transforms(AssemblyConfig(history_s=HISTORY_S))


def moved(x: float) -> np.ndarray:
    return pose(np.eye(3), (x, 0.0, 0.0))


def answer(source: TransformSource, question: str, *arguments: object):
    """Ask, and return what came back: an answer, or the code of an error that has a sentence."""
    try:
        return getattr(source, question)(*arguments)
    except TransformError as error:
        assert 20 < len(error.message) < 500
        return error.code


def random_transforms(rng: np.random.Generator):
    """Return (parent, child, stamp_ns, T, static) of two trees in any order, and stamps in and around them."""
    names = [f"frame_{k}" for k in range(9)]
    added, stamps_ns = [], [T0 - 1, T0 + 20 * S]
    for k in range(1, 9):
        if k == 6:
            continue  # the root of the second tree
        parent = names[int(rng.integers(6, k)) if k > 6 else int(rng.integers(0, k))]
        static = bool(rng.random() < 0.4)
        first_ns = T0 + int(rng.integers(0, S))
        count = 1 if static else int(rng.integers(1, 12))
        own = (first_ns + np.cumsum(rng.integers(1, S, count))).tolist()
        for stamp_ns in own:
            T = pose(Rotation.random(random_state=int(rng.integers(2**31))).as_matrix(), rng.normal(size=3))
            added.append((parent, names[k], stamp_ns, T, static))
        if not static:
            stamps_ns += [*own, own[-1] + 1, own[0] - 1, *rng.integers(own[0], own[-1] + 1, 3).tolist()]
    rng.shuffle(added)  # type: ignore[arg-type]
    return [*names, "nowhere"], added, stamps_ns


@pytest.mark.parametrize("seed", range(25))
def test_answers_equal_those_of_the_tree(seed: int):
    rng = np.random.default_rng(seed)
    names, added, stamps_ns = random_transforms(rng)
    both = TransformTree(history_s=HISTORY_S, max_gap_s=100.0), buffer()
    for round_ in range(2):
        for source in both:
            for transform in added:
                source.add(*transform)
        compare(*both, names, [int(ns) for ns in rng.choice(stamps_ns, 12)])
        if round_ == 0:
            for source in both:
                source.clear()
            compare(*both, names, [T0 + S])


def compare(tree: TransformTree, tf2: Tf2Transforms, names: list[str], stamps_ns: list[int]) -> None:
    assert tree.frames() == tf2.frames()
    assert answer(tree, "root") == answer(tf2, "root")
    for target in names:
        assert tree.newest_ns(target) == tf2.newest_ns(target)
        assert answer(tree, "root", target) == answer(tf2, "root", target)
        for source in names:
            connected = answer(tf2, "newest_common_ns", target, source)
            if connected is not ErrorCode.TF_NOT_CONNECTED:
                assert connected == answer(tree, "newest_common_ns", target, source)
            for stamp_ns in stamps_ns:
                truth = answer(tree, "lookup", target, f"/{source}", stamp_ns)
                found = answer(tf2, "lookup", f"/{target}", source, stamp_ns)
                if truth is ErrorCode.TF_NOT_CONNECTED:  # tf2 may find first that the stamp is outside
                    assert found in (truth, ErrorCode.TF_EXTRAPOLATION)
                    assert not tf2.covers(target, source, stamp_ns)
                elif isinstance(truth, ErrorCode):
                    assert found is truth
                else:
                    assert found == pytest.approx(truth, abs=1e-6)
                if truth is not ErrorCode.TF_NOT_CONNECTED and {target, source} <= tree.frames():
                    assert tree.covers(target, source, stamp_ns) == tf2.covers(target, source, stamp_ns)


def test_turns_are_interpolated_as_in_replay():
    both = TransformTree(), buffer()
    for source in both:
        source.add("odom", "base", T0, pose(np.eye(3), (0.0, 0.0, 0.0)))
        source.add("odom", "base", T0 + S, pose(Rotation.from_rotvec([0, 0, 3.0]).as_matrix(), (2.0, 0.0, 0.0)))
    for fraction in (0.0, 0.1, 0.5, 0.999999999, 1.0):
        truth, found = (source.lookup("odom", "base", T0 + round(fraction * S)) for source in both)
        assert found == pytest.approx(truth, abs=1e-9)


# What is refused


@pytest.mark.parametrize(
    ("parent", "child", "stamp_ns", "T", "word"),
    [
        ("", "cam", T0, I4, "two frame names"),
        ("world", "/", T0, I4, "two frame names"),
        ("world", "x" * 300, T0, I4, "300 characters"),
        ("world", "cam\n  parent: 'x'", T0, I4, "printable"),
        ("world", "cam\0", T0, I4, "printable"),
        ("world", "cam", T0, np.diag([2.0, 2.0, 2.0, 1.0]), "not a rigid"),
        ("world", "cam", T0, pose(np.eye(3), (math.nan, 0.0, 0.0)), "finite"),
        ("world", "cam", T0, moved(1e12), "moves by"),
        ("world", "world", T0, I4, "loop"),
        ("arm", "odom", T0, I4, "loop"),
        ("world", "cam", 0, I4, "header.stamp"),
        ("world", "cam", -S, I4, "header.stamp"),
        ("world", "cam", 2**63, I4, "header.stamp"),
    ],
)
def test_what_no_robot_sends_is_refused(parent: str, child: str, stamp_ns: int, T: np.ndarray, word: str):
    source = buffer()
    source.add("odom", "arm", T0, I4)
    with pytest.raises(InputError, match=word) as caught:
        source.add(parent, child, stamp_ns, T)
    assert caught.value.code in (ErrorCode.FRAME_INVALID, ErrorCode.STAMP_INVALID)
    assert source.frames() == {"odom", "arm"}


@pytest.mark.parametrize("name", ["", "/", "nowhere", "cam\0", "\udcff", "x" * 300])
@pytest.mark.parametrize("stamp_ns", [T0, 0, -(2**40), 2**63])
def test_any_question_is_answered(name: str, stamp_ns: int):
    source = buffer()
    source.add("odom", "cam", T0, I4)
    source.add("cam", "lens", 0, I4, static=True)
    assert answer(source, "lookup", "odom", name, stamp_ns) is ErrorCode.TF_FRAME_UNKNOWN
    assert answer(source, "root", name) is ErrorCode.TF_FRAME_UNKNOWN
    assert source.newest_ns(name) is None
    assert not source.covers("odom", name, stamp_ns)
    assert source.lookup("cam", "lens", stamp_ns) == pytest.approx(I4)


def test_errors_hold_the_sentence_of_tf2_and_the_next_step():
    source = buffer()
    source.add("odom", "cam", T0, I4)
    source.add("map", "table", 0, I4, static=True)
    with pytest.raises(TransformError, match=r"tf2: .*lens.* does not exist.*check frame_id") as unknown:
        source.lookup("odom", "lens", T0)
    with pytest.raises(TransformError, match=r"tf2: .*not part of the same tree.*publish") as apart:
        source.lookup("table", "cam", T0)
    with pytest.raises(TransformError, match=r"tf2: .*extrapolation.*check clocks") as late:
        source.lookup("odom", "cam", T0 + S)
    codes = [caught.value.code for caught in (unknown, apart, late)]
    assert codes == [ErrorCode.TF_FRAME_UNKNOWN, ErrorCode.TF_NOT_CONNECTED, ErrorCode.TF_EXTRAPOLATION]


def test_odd_names_are_read_from_the_buffer():
    source = buffer()
    source.add("the world's end", "a: b", T0, I4)
    source.add("other", "a: b", T0 + S, I4)  # a new parent is read from the buffer
    assert source.frames() == {"other", "a: b"} and source.root() == "other"


# What differs from the tree, as the docstring says


def test_gaps_of_any_length_are_interpolated():
    source = buffer()
    source.add("odom", "base", T0, I4)
    source.add("odom", "base", T0 + 20 * S, moved(2.0))
    assert source.lookup("odom", "base", T0 + 10 * S)[0, 3] == pytest.approx(1.0)


def test_child_with_a_new_parent_keeps_the_old_one_for_stamps_before():
    source = buffer()
    source.add("world", "odom", 0, moved(10.0), static=True)
    source.add("world", "map", 0, moved(20.0), static=True)
    source.add("odom", "base", T0, I4)
    source.add("odom", "base", T0 + S, moved(1.0))
    source.add("map", "base", T0 + 2 * S, I4)
    assert source.root("base") == "world"
    assert source.lookup("world", "base", T0 + S // 2)[0, 3] == pytest.approx(10.5)
    assert source.lookup("world", "base", T0 + 3 * S // 2)[0, 3] == pytest.approx(11.0)  # the last old one
    assert source.lookup("map", "base", T0 + 2 * S)[0, 3] == pytest.approx(0.0)


def test_late_sample_below_another_parent_does_not_move_the_frame():
    source = buffer()
    source.add("map", "base", T0 + S, I4)
    source.add("odom", "base", T0, I4)
    assert source.root("base") == "map" and source.newest_ns("base") == T0 + S


def test_of_two_samples_with_one_stamp_the_later_message_counts_where_it_is_the_newest():
    source = buffer()
    source.add("odom", "base", T0 + S, moved(1.0))
    source.add("odom", "base", T0 + S, moved(2.0))
    assert source.lookup("odom", "base", T0 + S)[0, 3] == pytest.approx(2.0)


# What holds for both


def test_static_and_moving_transforms_of_one_frame_replace_each_other():
    for source in (TransformTree(), buffer()):
        source.add("odom", "base", T0, moved(1.0))
        source.add("odom", "base", 0, moved(2.0), static=True)
        assert source.lookup("odom", "base", T0 - 5 * S)[0, 3] == pytest.approx(2.0)
        assert source.newest_ns("base") is None
        source.add("odom", "base", T0 + S, moved(3.0))
        assert answer(source, "lookup", "odom", "base", T0) is ErrorCode.TF_EXTRAPOLATION
        source.clear()
        assert source.frames() == frozenset()


def test_republished_static_transform_replaces_the_one_before_also_for_clear():
    for source in (TransformTree(), buffer()):
        source.add("base", "cam", T0, moved(1.0), static=True)
        source.add("base", "cam", 0, moved(2.0), static=True)
        source.clear()
        assert source.lookup("base", "cam", T0)[0, 3] == pytest.approx(2.0)


def test_postdated_transform_is_covered_and_answers_before_its_stamp():
    for source in (TransformTree(), buffer()):
        source.add("map", "odom", T0, I4)
        source.add("map", "odom", T0 + S // 2, moved(1.0))
        assert source.covers("map", "odom", T0 + S // 4)
        assert source.lookup("map", "odom", T0 + S // 4)[0, 3] == pytest.approx(0.5)


def test_opposite_transform_that_came_once_is_forgotten_after_the_history():
    source = buffer()
    source.add("camera", "world", T0, I4)
    with pytest.raises(InputError, match="closes a loop"):
        source.add("world", "camera", T0 + 29 * S, I4)
    with pytest.raises(InputError, match="closes a loop"):
        source.add("world", "camera", 0, I4, static=True)
    source.add("world", "camera", T0 + 31 * S, I4)
    assert source.root("camera") == "world"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """Set limits that are soon reached."""
    monkeypatch.setattr(transforms, "MAX_FRAMES", 50)
    monkeypatch.setattr(transforms, "MAX_SAMPLES", 200)


@pytest.mark.parametrize("static", [False, True])
def test_frames_are_bounded_and_those_that_go_on_are_kept(small, static: bool):
    source = buffer()
    source.add("world", "base", 0, I4, static=True)
    for k in range(500):
        source.add("base", f"spam_{k}", T0 + k, I4, static=static)
        source.add("base", "camera", T0 + k, I4)
        assert len(source.frames()) <= 51
    assert np.array_equal(source.lookup("world", "camera", T0 + 499), I4)


def test_samples_are_bounded_and_a_long_day_is_no_flood(small):
    source = buffer()
    source.add("world", "base", 0, I4, static=True)
    for k in range(1000):
        source.add("base", "camera", T0 + k * S, moved(float(k)))
    assert source.lookup("world", "camera", T0 + 975 * S)[0, 3] == pytest.approx(975.0)
    for k in range(1000):
        source.add("base", "camera", T0 + 1000 * S + k * MS, I4)
    held = source._buffer.all_frames_as_yaml()
    assert "rate" in held and source._samples <= 200
    assert answer(source, "lookup", "world", "camera", T0 + 1000 * S) is ErrorCode.TF_EXTRAPOLATION
