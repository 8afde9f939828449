"""The world moves, and transforms stray, while the node runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from geometry_msgs.msg import TransformStamped
from rig import set_stamp
from scenes import around, ball, block
from sparse_recon.action import CompleteObject
from tf2_msgs.msg import TFMessage

from sparse_recon.errors import ErrorCode
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame

Goal = CompleteObject.Goal
SECOND_NS = 1_000_000_000


def view(with_block: bool, stamp_s: float) -> Frame:
    """One frame of a fixed camera on a ball and, or not, a block."""
    shapes, poses = [ball(0.03)], [pose(np.eye(3), (0.1, 0.1, 0.0))]
    if with_block:
        shapes, poses = [*shapes, block()], [*poses, pose(np.eye(3), (-0.1, 0.0, 0.0))]
    (frame,) = record(
        scene_of(shapes, poses),
        around(1, distance_m=0.75, first_deg=-60.0),
        sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240),
        with_labels=False,
    ).frames
    return replace(frame, stamp_ns=1_700_000_000 * SECOND_NS + round(stamp_s * SECOND_NS))


def published(robot) -> list[str]:
    return sorted(robot.known_objects)


def complete_both(robot) -> str:
    """Complete both objects and return the name of the block."""
    results = [robot.start(select_by=Goal.SELECT_BY_ID, object_id=f"object_{k}").result() for k in (0, 1)]
    assert [r.code for r in results] == [ErrorCode.OK, ErrorCode.OK]
    robot.spin_until(lambda: published(robot) == ["object_0", "object_1"], what="both objects")
    return min(results, key=lambda r: r.object.pose.position.x).object.object_id


def test_what_is_taken_away_leaves_every_topic_with_the_frame_that_shows_it(started):
    robot = started(model="carve", world_frame="world")
    robot.wait_for_node()
    robot.send_until_kept([view(True, 1.0), view(True, 3.0)])
    name = complete_both(robot)
    robot.send_until_kept([view(False, 8.0)])
    robot.spin_until(lambda: name not in published(robot), what="the removal")
    assert len(published(robot)) == 1
    robot.spin_until(lambda: {namespace for namespace, _ in robot.known_markers} == set(published(robot)))
    robot.spin_until(lambda: "is gone" in robot.diagnostics["worker"].get("removed", ""), what="the reason")
    assert name in robot.diagnostics["worker"]["removed"]
    result = robot.start(select_by=Goal.SELECT_BY_ID, object_id=name).result()
    assert result.code == ErrorCode.OBJECT_NOT_FOUND


def test_a_stray_transform_of_a_link_without_camera_costs_nothing(started):
    robot = started(model="carve", world_frame="world")
    robot.wait_for_node()
    frames = [view(True, 1.0), view(True, 3.0)]
    robot.send_until_kept(frames)
    complete_both(robot)

    def gripper(stamp_ns: int) -> TFMessage:
        item = TransformStamped(child_frame_id="gripper_goal")
        item.header.frame_id = "world"
        item.transform.rotation.w = 1.0
        set_stamp(item.header.stamp, stamp_ns)
        return TFMessage(transforms=[item])

    robot.tf.publish(gripper(frames[-1].stamp_ns))
    robot.tf.publish(gripper(0))
    robot.spin_until(lambda: robot.figure("ingest", "rejected STAMP_ORDER") >= 1, what="the stray transform")
    message = robot.diagnostics["ingest"]["message"]
    assert "world -> gripper_goal" in message and "older" in message
    assert robot.figure("ingest", "restarts") == 0 and robot.figure("memory", "frames") == 2
    assert published(robot) == ["object_0", "object_1"]
