"""Transforms in any order, loops and jumps among them: each is taken or refused, and every question is answered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_recon.errors import SparseReconError, TransformError
from sparse_recon.geometry import transforms
from sparse_recon.geometry.transforms import TransformTree, pose_from_quaternion
from sparse_recon.types import check_pose

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SECOND_NS = 1_000_000_000
FRAMES, SAMPLES = 6, 40
names = st.sampled_from(["", "/", "a", "/a", "b", "c", "d", "e", "f", "g", "h", "x" * 300])
stamps_ns = st.integers(-2, 80).map(lambda tenths: tenths * SECOND_NS // 10) | st.sampled_from(
    [0, -(2**31) * SECOND_NS, 2**31 * SECOND_NS + 4 * SECOND_NS, 2**63]
)
extreme = st.sampled_from([0.0, 1.0, -1.0, 0.6, 0.8, 1e-300, 1e9, 1.7e308, math.nan, math.inf])
turns = st.sampled_from([(0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.6, 0.0, 0.8)]) | st.tuples(*[extreme] * 4)
moves = st.tuples(*[st.sampled_from([0.0, 1.0, -2.5])] * 3) | st.tuples(*[extreme] * 3)
steps = st.lists(st.tuples(names, names, stamps_ns, turns, moves, st.booleans()), min_size=1, max_size=40)


@settings(SEEDED, max_examples=250)
@given(steps, st.lists(st.tuples(names, names, stamps_ns), min_size=1, max_size=8), st.integers(0, 40))
def test_any_transforms_leave_a_tree_that_answers(added, asked, cleared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "MAX_FRAMES", FRAMES)
        patch.setattr(transforms, "MAX_SAMPLES", SAMPLES)
        tree = TransformTree(history_s=3.0, max_gap_s=1.0)
        for number, (parent, child, stamp_ns, quat_xyzw, move, static) in enumerate(added):
            if number == cleared:
                tree.clear()
            try:
                tree.add(parent, child, stamp_ns, pose_from_quaternion(quat_xyzw, move), static)
            except SparseReconError as error:
                assert error.message and len(error.message) < 1000
            assert len(tree.frames()) <= 2 * FRAMES
            assert samples_of(tree) <= SAMPLES + 1
    for target, source, stamp_ns in asked:
        expect_answer(tree, target, source, stamp_ns)


def samples_of(tree: TransformTree) -> int:
    held = [len(link.samples) for link in tree._links.values()]
    assert sum(held) == tree._samples
    assert all(held)
    return sum(held)


def expect_answer(tree: TransformTree, target: str, source: str, stamp_ns: int) -> None:
    try:
        T = tree.lookup(target, source, stamp_ns)
    except TransformError as error:
        assert error.message and len(error.message) < 1000
    else:
        if np.abs(T).max() < 1e6:
            check_pose(T, "the answer")
    for question in (lambda: tree.root(source), tree.root, lambda: tree.newest_common_ns(target, source)):
        try:
            question()
        except TransformError as error:
            assert error.message
    assert tree.covers(target, source, stamp_ns) in (True, False)
