"""Transform tree against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from sparse_recon.errors import ErrorCode, InputError, TransformError
from sparse_recon.geometry.poses import inverse, pose, quat_xyzw
from sparse_recon.geometry.transforms import TransformTree, interpolated, pose_from_quaternion

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


def test_refuses_a_loop_of_frames():
    with pytest.raises(InputError, match="loop"):
        moving_tree().add("cam", "odom", EPOCH, np.eye(4))


def test_child_with_a_new_parent_forgets_the_old_one():
    tree = moving_tree()
    tree.add("map", "base", EPOCH, np.eye(4))
    assert tree.root("cam") == "map"


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
