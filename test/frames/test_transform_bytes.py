"""TFMessages read in their bytes, against those that rosbags writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from transform_messages import serialised

from sparse_recon.errors import InputError
from sparse_recon.frames.incoming import MAX_TRANSFORMS
from sparse_recon.frames.transform_bytes import TransformBytes, Unreadable, pose_of
from sparse_recon.geometry.poses import pose

NAMES = st.text("abz_/0é", max_size=12)
STAMPS = st.integers(-(2**31), 2**31 - 1).flatmap(lambda s: st.integers(0, 10**9 - 1).map(lambda n: s * 10**9 + n))


@given(st.lists(st.tuples(NAMES, NAMES, STAMPS, st.integers(0, 1000)), max_size=6), st.booleans())
def test_names_stamps_and_poses_are_those_that_were_written(links, little_endian):
    poses = [pose(Rotation.from_rotvec([0.001 * seed, 0.1, 0.0]).as_matrix(), (seed, 1.0, -2.0)) for *_, seed in links]
    given_links = [(*link[:3], T) for link, T in zip(links, poses, strict=True)]
    message = TransformBytes(serialised(given_links, little_endian))
    assert len(message) == len(links)
    for (parent, child, stamp_ns, at), link in zip(message, given_links, strict=True):
        assert (parent.decode(), child.decode(), stamp_ns) == link[:3]
        np.testing.assert_allclose(pose_of(message.numbers(at), message.little_endian), link[3], atol=1e-12)


GOOD = serialised([("world", "link_a", 10**9, np.eye(4)), ("link_a", "link_bc", 2 * 10**9, np.eye(4))])


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_message_that_is_cut_is_unreadable(length: int):
    with pytest.raises(Unreadable):
        list(TransformBytes(GOOD[:length]))


@given(st.binary(max_size=300), st.integers(0, len(GOOD)))
def test_any_bytes_are_read_or_unreadable(data, at):
    for message in (data, b"\0\1\0\0" + data, GOOD[:at] + data + GOOD[at + len(data) :]):
        try:
            for parent, child, stamp_ns, _ in TransformBytes(message):
                assert isinstance(parent, bytes) and isinstance(child, bytes) and isinstance(stamp_ns, int)
        except Unreadable:
            pass


@pytest.mark.parametrize("kind", [b"\0\2", b"\0\3", b"\0\7", b"\1\0"])
def test_other_encapsulations_are_unreadable(kind: bytes):
    with pytest.raises(Unreadable, match=kind.hex()):
        TransformBytes(kind + GOOD[2:])


def test_of_too_many_transforms_the_first_are_read():
    link = ("a", "b", 1, np.eye(4))
    message = TransformBytes(serialised([link] * (MAX_TRANSFORMS + 7)))
    assert message.count == MAX_TRANSFORMS + 7 and len(list(message)) == len(message) == MAX_TRANSFORMS


def test_quaternion_that_was_never_filled_in_is_refused():
    message = TransformBytes(GOOD)
    with pytest.raises(InputError, match="length 0"):
        pose_of(bytes(56), message.little_endian)
