"""Transforms of recordings, as a robot with tf2 has them: every frame gets the pose that is right, or a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.geometry.poses import inverse, pose
from sparse_recon.types import Frame

SECOND_NS = 1_000_000_000
OPTICAL, LINK = "camera_color_optical_frame", "camera_link"
T_LINK_OPTICAL = pose(Rotation.from_euler("zx", [-90, -90], degrees=True).as_matrix(), (0.0, 0.015, 0.0))
Link = tuple[str, str, int, np.ndarray]  # parent, child, stamp in ns, T_parent_child


class Edited:
    """A recording of given frames in which all transforms are replaced by others."""

    def __init__(self, frames: Sequence[Frame], folder: Path) -> None:
        from rosbags.rosbag2 import Reader, StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        write_frames(frames, folder / "source", world_frame="base_link")
        self.path = folder / "bag"
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._messages: list[tuple[int, str, str, bytes]] = []
        with Reader(folder / "source") as reader:
            for connection, log_ns, data in reader.messages():
                if not connection.topic.startswith("/tf"):
                    self._messages.append((log_ns, connection.topic, connection.msgtype, data))

    def add(self, log_ns: int, topic: str, *links: Link) -> None:
        """Record one message."""
        new = self._store.types
        items = []
        for parent, child, stamp_ns, T in links:
            time = new["builtin_interfaces/msg/Time"](*divmod(stamp_ns, SECOND_NS))
            header = new["std_msgs/msg/Header"](time, parent)
            x, y, z = map(float, T[:3, 3])
            turn = map(float, Rotation.from_matrix(T[:3, :3]).as_quat())
            moved = new["geometry_msgs/msg/Transform"](
                new["geometry_msgs/msg/Vector3"](x, y, z), new["geometry_msgs/msg/Quaternion"](*turn)
            )
            items.append(new["geometry_msgs/msg/TransformStamped"](header, child, moved))
        message: Any = new["tf2_msgs/msg/TFMessage"](items)
        kind = "tf2_msgs/msg/TFMessage"
        self._messages.append((log_ns, topic, kind, bytes(self._store.serialize_cdr(message, kind))))

    def around(self, frames: Sequence[Frame], topic: str, parent: str, child: str, T_child_optical: np.ndarray) -> None:
        """Record the camera's poses at 20 Hz around each frame."""
        for frame in frames:
            T = frame.T_world_cam @ inverse(T_child_optical)
            for offset_ns in (-50_000_000, 0, 50_000_000):
                stamp_ns = frame.stamp_ns + offset_ns
                self.add(stamp_ns - 5_000_000, topic, (parent, child, stamp_ns, T))

    def read(self, **config: Any) -> tuple[list[Frame], FrameReader]:
        """Write the recording and read it."""
        from sparse_recon.config.session_config import load_config

        connections: dict[str, Any] = {}
        with self._writer as writer:
            for log_ns, topic, kind, data in sorted(self._messages, key=lambda item: item[0]):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=self._store)
                writer.write(connections[topic], log_ns, data)
        with Bag(self.path) as bag:
            reader = FrameReader(bag, config=load_config(config))
            return list(reader), reader


def assert_poses(frames: Sequence[Frame], truth: Sequence[Frame]) -> None:
    assert [frame.stamp_ns for frame in frames] == [frame.stamp_ns for frame in truth]
    for frame, true in zip(frames, truth, strict=True):
        np.testing.assert_allclose(frame.T_world_cam, true.T_world_cam, atol=1e-6)


@pytest.fixture
def edited(small_frames, tmp_path: Path) -> Edited:
    return Edited(small_frames, tmp_path)


def test_driver_and_robot_in_two_namespaces(small_frames, edited: Edited):
    start_ns = small_frames[0].stamp_ns - SECOND_NS
    edited.add(start_ns, "/tf_static", (LINK, OPTICAL, start_ns, T_LINK_OPTICAL))
    edited.add(start_ns, "/a200_0000/tf_static", ("base_link", "arm_base", start_ns, np.eye(4)))
    edited.around(small_frames, "/a200_0000/tf", "arm_base", LINK, T_LINK_OPTICAL)
    frames, reader = edited.read()
    assert_poses(frames, small_frames)
    assert reader.world_frame == "base_link" and not reader.warnings


def test_topics_that_are_not_read_are_named(small_frames, edited: Edited):
    edited.around(small_frames, "/tf", "base_link", OPTICAL, np.eye(4))
    edited.add(small_frames[0].stamp_ns, "/robot2/tf", ("base_link", OPTICAL, small_frames[0].stamp_ns, np.eye(4)))
    frames, reader = edited.read()
    assert_poses(frames, small_frames)
    (warning,) = reader.warnings
    assert "/robot2/tf were not read" in warning and OPTICAL in warning


@pytest.mark.parametrize("bad_first", [False, True])
def test_link_elsewhere_with_two_clocks_costs_no_frame_and_is_named_with_its_lag(
    small_frames, edited: Edited, bad_first: bool
):
    edited.around(small_frames, "/tf", "base_link", OPTICAL, np.eye(4))
    for frame in small_frames:
        for late, stamp_ns in ((bad_first, frame.stamp_ns), (not bad_first, 7 * SECOND_NS)):
            edited.add(frame.stamp_ns + 1_000_000 * late, "/tf", ("base_link", "marker", stamp_ns, np.eye(4)))
    frames, reader = edited.read()
    assert_poses(frames, small_frames)
    assert reader.restarts == 0
    (warning,) = reader.warnings
    assert "base_link -> marker" in warning and "7.000 s" in warning and "clocks" in warning


@pytest.mark.parametrize("times", [1, 5])
def test_static_link_that_also_comes_on_tf_stays_static(small_frames, edited: Edited, times: int):
    start_ns = small_frames[0].stamp_ns - SECOND_NS
    edited.add(start_ns, "/tf_static", (LINK, OPTICAL, start_ns, T_LINK_OPTICAL))
    edited.around(small_frames, "/tf", "base_link", LINK, T_LINK_OPTICAL)
    for frame in small_frames[:times]:
        stamp_ns = frame.stamp_ns + 10_000_000
        edited.add(stamp_ns, "/tf", (LINK, OPTICAL, stamp_ns, T_LINK_OPTICAL))
    frames, reader = edited.read()
    assert_poses(frames, small_frames)
    (warning,) = reader.warnings
    assert f"{LINK} -> {OPTICAL} came {times} x" in warning


def test_static_link_that_moves_on_tf_moves(small_frames, edited: Edited):
    start_ns = small_frames[0].stamp_ns - SECOND_NS
    edited.add(start_ns, "/tf_static", ("base_link", OPTICAL, start_ns, np.eye(4)))
    edited.around(small_frames, "/tf", "base_link", OPTICAL, np.eye(4))
    frames, reader = edited.read()
    assert_poses(frames, small_frames)
    assert "moves from then on" in reader.warnings[0]


def test_static_link_that_is_published_again_holds_from_then_on(small_frames, edited: Edited):
    before, after = small_frames[:6], small_frames[6:]
    start_ns, change_ns = before[0].stamp_ns - SECOND_NS, after[0].stamp_ns - 20_000_000
    T_other = T_LINK_OPTICAL @ pose(np.eye(3), (0.0, 0.3, 0.0))
    edited.add(start_ns, "/tf_static", (LINK, OPTICAL, start_ns, T_LINK_OPTICAL))
    edited.add(change_ns, "/tf_static", (LINK, OPTICAL, start_ns, T_other))
    for frame in small_frames:
        T = frame.T_world_cam @ inverse(T_LINK_OPTICAL if frame in before else T_other)
        for offset_ns in (-5_000_000, 5_000_000):
            edited.add(frame.stamp_ns - 10_000_000, "/tf", ("base_link", LINK, frame.stamp_ns + offset_ns, T))
    frames, reader = edited.read()
    assert_poses(frames, small_frames)
    assert "published again" in reader.warnings[0] and OPTICAL in reader.warnings[0]


def test_child_that_changes_its_parent_keeps_the_frames_of_both(small_frames, edited: Edited):
    before, after = small_frames[:6], small_frames[6:]
    T_base_hand = pose(np.eye(3), (0.4, 0.0, 0.2))
    edited.add(before[0].stamp_ns - SECOND_NS, "/tf_static", ("base_link", "hand", 0, T_base_hand))
    edited.around(before, "/tf", "base_link", OPTICAL, np.eye(4))
    for frame in after:
        T = inverse(T_base_hand) @ frame.T_world_cam
        for offset_ns in (-5_000_000, 5_000_000):
            edited.add(frame.stamp_ns - 10_000_000, "/tf", ("hand", OPTICAL, frame.stamp_ns + offset_ns, T))
    frames, _ = edited.read()
    assert_poses(frames, small_frames)


@pytest.mark.parametrize("ahead_s", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("constant", [True, False])
def test_localisation_every_three_seconds_gives_all_frames(
    small_frames, edited: Edited, ahead_s: float, constant: bool
):
    start_ns = small_frames[0].stamp_ns
    slow = [start_ns + round((-1 + 3 * k) * SECOND_NS) for k in range(3)]
    steps = [pose(np.eye(3), (0.0 if constant else 0.04 * k, 0.0, 0.0)) for k in range(3)]
    for stamp_ns, T in zip(slow, steps, strict=True):
        edited.add(stamp_ns - round(ahead_s * SECOND_NS), "/tf", ("map", "odom", stamp_ns, T))
    for frame in small_frames:
        share = (frame.stamp_ns - slow[0]) / (3 * SECOND_NS)
        T_map_odom = pose(np.eye(3), share * steps[1][:3, 3])
        T = inverse(T_map_odom) @ frame.T_world_cam
        for offset_ns in (-5_000_000, 5_000_000):
            edited.add(frame.stamp_ns - 6_000_000, "/tf", ("odom", OPTICAL, frame.stamp_ns + offset_ns, T))
    frames, reader = edited.read()
    assert [frame.stamp_ns for frame in frames] == [frame.stamp_ns for frame in small_frames]
    for frame, true in zip(frames, small_frames, strict=True):  # the odometry moves within 10 ms, at most 0.1 mm
        np.testing.assert_allclose(frame.T_world_cam, true.T_world_cam, atol=2e-4)
    assert reader.world_frame == "map" and not reader.warnings


def test_gap_names_its_parameter_and_a_result_of_few_frames_says_so(small_frames, edited: Edited):
    start_ns = small_frames[0].stamp_ns
    for k, x_m in ((-1, 0.0), (2, 0.5)):
        edited.add(start_ns, "/tf", ("map", "odom", start_ns + k * SECOND_NS, pose(np.eye(3), (x_m, 0, 0))))
    edited.around(small_frames, "/tf", "odom", OPTICAL, np.eye(4))
    frames, reader = edited.read()
    assert not frames
    (warning,) = reader.warnings
    assert "12 of 12 frames could not be used (12 x TF_GAP)" in warning and "assembly.max_gap_s" in warning


def test_gap_is_bridged_where_the_parameter_allows_it(small_frames, edited: Edited):
    start_ns = small_frames[0].stamp_ns
    for k, x_m in ((-1, 0.0), (2, 0.5)):
        edited.add(start_ns, "/tf", ("map", "odom", start_ns + k * SECOND_NS, pose(np.eye(3), (x_m, 0, 0))))
    edited.around(small_frames, "/tf", "odom", OPTICAL, np.eye(4))
    assert len(edited.read(**{"assembly.max_gap_s": 3.0})[0]) == len(small_frames)
