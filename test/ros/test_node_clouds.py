"""A node whose camera has an organised point cloud in place of a depth image."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from rig import BEST_EFFORT
from sensor_msgs.msg import Image, PointCloud2, PointField
from sparse_recon.srv import GetObjects

from sparse_recon.errors import ErrorCode


def cloud_of(depth: Image) -> PointCloud2:
    """Return 16UC1 depth as drivers make a coloured cloud of it: x, y, z, rgb, and NaN where nothing was measured."""
    height, width = depth.height, depth.width
    points = np.zeros((height, width, 4), "<f4")
    z_m = np.frombuffer(bytes(depth.data), "<u2").reshape(height, width) / 1000
    points[..., :3] = np.where(z_m > 0, z_m, np.nan)[..., None]
    fields = [
        PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
        for k, name in enumerate(("x", "y", "z", "rgb"))
    ]
    cloud = PointCloud2(header=depth.header, height=height, width=width, fields=fields, point_step=16)
    cloud.row_step, cloud.data = 16 * width, array("B", points.tobytes())
    return cloud


def unorganised(cloud: PointCloud2) -> PointCloud2:
    cloud.height, cloud.width, cloud.row_step = 1, cloud.height * cloud.width, cloud.height * cloud.row_step
    return cloud


def half_as_high(cloud: PointCloud2) -> PointCloud2:
    cloud.height //= 2
    cloud.data = cloud.data[: len(cloud.data) // 2]
    return cloud


def in_the_world(cloud: PointCloud2) -> PointCloud2:
    cloud.header.frame_id = "world"
    return cloud


class CloudPublisher:
    """Takes the place of a robot's publisher of depth images, on the same topic."""

    def __init__(self, robot) -> None:
        robot.node.destroy_publisher(robot.depth)
        self._publisher = robot.node.create_publisher(PointCloud2, "depth", BEST_EFFORT)
        self.get_subscription_count = self._publisher.get_subscription_count
        self.change = lambda cloud: cloud

    def publish(self, depth: Image) -> None:
        self._publisher.publish(self.change(cloud_of(depth)))


@pytest.fixture
def cloud_robot(started):
    """Start a node that takes clouds; return the robot that sends them."""
    robot = started(depth_transport="cloud")
    robot.depth = CloudPublisher(robot)
    robot.wait_for_node()
    return robot


REFUSED = {
    unorganised: (ErrorCode.ENCODING_UNSUPPORTED, "organised clouds"),
    half_as_high: (ErrorCode.SIZE_MISMATCH, "640x240"),
    in_the_world: (ErrorCode.INTRINSICS_INVALID, "'world'"),
}


def test_an_organised_cloud_is_depth_and_others_are_refused(cloud_robot, recording):
    robot, frame = cloud_robot, recording.frames[2]
    robot.send_until_kept(recording.frames[:2])
    there = robot.ask(GetObjects, "get_objects").candidates
    assert len(there) == 3
    assert max(item.size_m.z for item in there) < 0.4

    stamp_ns = frame.stamp_ns + 10**10
    for change, (code, word) in REFUSED.items():
        robot.depth.change, name = change, f"{int(code)} {code.name}"
        for _ in range(40):
            stamp_ns += 10**9
            robot.send(frame, stamp_ns=stamp_ns)
            robot.spin_while(lambda name=name: robot.diagnostics["inputs camera"]["code"] != name, 1.0)
            if robot.diagnostics["inputs camera"]["code"] == name:
                break
        assert robot.diagnostics["inputs camera"]["code"] == name
        assert word in robot.diagnostics["inputs camera"]["message"]

    robot.depth.change = lambda cloud: cloud
    robot.send_until_kept(recording.frames[2:3], shift_ns=stamp_ns - frame.stamp_ns + 10**9)
    robot.spin_until(lambda: robot.diagnostics["inputs camera"]["level"] == "0", what="recovery")


def test_a_cloud_where_an_image_is_expected_is_told_with_the_parameter(started, recording):
    robot = started(watchdog_s=1.0)
    robot.depth = CloudPublisher(robot)
    robot.wait_for_node(("image", "info"))
    for k in range(60):
        robot.send(recording.frames[0], stamp_ns=recording.frames[0].stamp_ns + k * 10**9)
        robot.spin_for(0.2)
        if "PointCloud2" in robot.diagnostics["inputs camera"]["message"]:
            break
    message = robot.diagnostics["inputs camera"]["message"]
    assert "the topic carries sensor_msgs/msg/PointCloud2, expected is sensor_msgs/msg/Image" in message
    assert "depth_transport: cloud" in message
