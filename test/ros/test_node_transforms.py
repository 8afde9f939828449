"""Transforms over DDS as robots publish them: namespaces, statics on /tf, post-dated ones, localisation every 3 s."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rig import messages_of, set_stamp
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from sparse_recon.action import CompleteObject
from tf2_msgs.msg import TFMessage

from sparse_recon.errors import ErrorCode

Goal = CompleteObject.Goal
SECOND_NS = 1_000_000_000
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
STILL = np.eye(4)


def item(stamp_ns: int, parent: str, child: str, T: np.ndarray = STILL) -> TransformStamped:
    made = TransformStamped(child_frame_id=child)
    made.header.frame_id = parent
    set_stamp(made.header.stamp, stamp_ns)
    t, q = made.transform.translation, made.transform.rotation
    t.x, t.y, t.z = map(float, T[:3, 3])
    q.x, q.y, q.z, q.w = map(float, Rotation.from_matrix(T[:3, :3]).as_quat())
    return made


def message(*items: TransformStamped) -> TFMessage:
    return TFMessage(transforms=list(items))


def send_images(robot, frame, stamp_ns: int) -> None:
    made = messages_of(frame, stamp_ns)
    for name in ("info", "image", "depth"):
        getattr(robot, name).publish(made[name])


def keep(robot, frames: Sequence, send) -> None:
    """Send frames until each was kept; best-effort images may be lost."""
    for frame in frames:
        before, stamp_ns = robot.figure("ingest", "keyframes_kept"), frame.stamp_ns
        while robot.figure("ingest", "keyframes_kept") == before:
            send(frame, stamp_ns)
            robot.spin_while(lambda b=before: robot.figure("ingest", "keyframes_kept") == b, 1.0)
            stamp_ns += 50_000_000
            assert stamp_ns < frame.stamp_ns + 100 * SECOND_NS, robot.diagnostics


def completed(robot) -> None:
    assert robot.start(select_by=Goal.SELECT_BY_ID, object_id="object_0").result().code == ErrorCode.OK


def test_transforms_in_a_namespace_that_are_not_read_are_named_with_the_cure(started, recording):
    robot = started()
    moving = robot.node.create_publisher(TFMessage, "/robot1/tf", 100)
    static = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    robot.wait_for_node()
    static.publish(message(item(0, "camera_link", "camera_optical")))

    def warned() -> bool:
        send_images(robot, recording.frames[0], recording.frames[0].stamp_ns)
        moving.publish(message(item(recording.frames[0].stamp_ns, "world", "camera_link")))
        return robot.diagnostics.get("transforms", {}).get("level") == "1"

    robot.spin_until(warned, what="the warning")
    told = robot.diagnostics["transforms"]["message"]
    assert "/robot1/tf" in told and "transform_namespaces" in told and "remap" in told


def test_transforms_of_two_namespaces_are_one_tree_where_a_parameter_says_so(started, recording):
    robot = started(transform_namespaces="[/robot1]", world_frame="world")
    moving = robot.node.create_publisher(TFMessage, "/robot1/tf", 100)
    static = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    robot.wait_for_node()
    robot.spin_until(moving.get_subscription_count, what="the namespaced subscription")
    static.publish(message(item(0, "camera_link", "camera_optical")))

    def send(frame, stamp_ns) -> None:
        moving.publish(message(item(stamp_ns, "world", "camera_link", frame.T_world_cam)))
        send_images(robot, frame, stamp_ns)

    keep(robot, recording.frames[:3], send)
    completed(robot)
    assert robot.diagnostics["transforms"]["level"] == "0"


def test_static_link_that_also_comes_on_tf_stays_static_and_is_named(started, recording):
    robot = started(world_frame="world")
    static = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    robot.wait_for_node()
    static.publish(message(item(0, "camera_link", "camera_optical")))

    def send(frame, stamp_ns) -> None:
        robot.tf.publish(message(item(stamp_ns, "world", "camera_link", frame.T_world_cam)))
        send_images(robot, frame, stamp_ns)

    keep(robot, recording.frames[:2], send)
    robot.tf.publish(message(item(recording.frames[1].stamp_ns + 10_000_000, "camera_link", "camera_optical")))
    robot.spin_until(lambda: "camera_link -> camera_optical" in robot.diagnostics["transforms"]["message"])
    assert robot.diagnostics["transforms"]["level"] == "1"
    keep(robot, recording.frames[2:4], send)
    assert robot.figure("memory", "frames") == 4
    completed(robot)
    robot.spin_until(lambda: robot.diagnostics["transforms"]["level"] == "0", what="recovery")
    assert "camera_optical" in robot.diagnostics["transforms"]["not_used"]


def test_localisation_every_three_seconds_that_is_post_dated_costs_nothing(started, recording):
    robot = started(world_frame="map")
    robot.wait_for_node()
    first_ns = recording.frames[0].stamp_ns
    robot.tf.publish(message(item(first_ns - SECOND_NS, "map", "odom")))
    for k in range(4):  # as AMCL: valid a second longer than it was measured
        robot.tf.publish(message(item(first_ns + (1 + 3 * k) * SECOND_NS, "map", "odom")))
    robot.tf.publish(message(item(first_ns + 2 * SECOND_NS, "map", "odom")))  # and another node that is not ahead

    def send(frame, stamp_ns) -> None:
        robot.tf.publish(message(item(stamp_ns, "odom", "camera_optical", frame.T_world_cam)))
        send_images(robot, frame, stamp_ns)

    keep(robot, recording.frames[:4], send)
    assert robot.figure("ingest", "restarts") == 0
    completed(robot)
    assert "rejected STAMP_ORDER" not in robot.diagnostics["ingest"]
    assert robot.diagnostics["transforms"]["level"] == "0"


def test_recording_that_is_paused_is_told_from_a_camera_that_fell_silent(started, recording):
    robot = started(use_sim_time=True, watchdog_s=1.0)
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    robot.wait_for_node()
    robot.spin_until(clock.get_subscription_count)

    def tick(stamp_ns: int) -> None:
        made = Clock()
        set_stamp(made.clock, stamp_ns)
        clock.publish(made)

    tick(recording.frames[0].stamp_ns)
    robot.send_until_kept(recording.frames[:1])
    robot.spin_until(lambda: "stands still" in robot.diagnostics["inputs camera"]["message"], what="the pause")
    assert robot.diagnostics["inputs camera"]["level"] == "1"
    ticks = iter(range(1, 10_000))

    def silent() -> bool:
        tick(recording.frames[0].stamp_ns + next(ticks) * 10_000_000)
        return robot.diagnostics["inputs camera"]["level"] == "2"

    robot.spin_until(silent, what="the silent camera")
    assert "silent: check the driver" in robot.diagnostics["inputs camera"]["message"]


def test_end_of_a_recording_is_a_warning_while_its_frames_are_kept(started, recording):
    robot = started(watchdog_s=1.0)
    robot.wait_for_node()
    robot.send_until_kept(recording.frames[:2])
    for publisher in (robot.image, robot.depth, robot.info):
        robot.node.destroy_publisher(publisher)
    robot.spin_until(lambda: robot.diagnostics["inputs camera"]["code"] == "300 NO_FRAMES", what="the end")
    robot.spin_until(lambda: "the recording has ended" in robot.diagnostics["inputs camera"]["message"])
    assert robot.diagnostics["inputs camera"]["level"] == "1"
    assert "2 frame(s) kept are used on" in robot.diagnostics["inputs camera"]["message"]
    completed(robot)
