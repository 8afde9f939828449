"""The built interfaces over real DDS, between two processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.messages import fields as messages
from sparse_recon.types import CompletedObject, OrientedBox, QualityRecord, SurfaceHypothesis, TriangleMesh

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
interfaces = pytest.importorskip(
    "sparse_recon.msg", reason="the interfaces are not built, or the workspace is not sourced: make test"
)

from sparse_recon.ros.convert import from_message, to_message  # noqa: E402

POINTS = 136_000  # 36 bytes each: 4.9 MB
DISCOVERY_S = 120.0

PUBLISHER = """
import sys, time
sys.path.insert(0, {folder!r})
import rclpy
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sparse_recon.messages import fields as messages
from sparse_recon.msg import CompletedObject
from sparse_recon.ros.convert import to_message
from test_interfaces import big_object

rclpy.init()
node = rclpy.create_node("publisher")
qos = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
publisher = node.create_publisher(CompletedObject, "completed", qos)
publisher.publish(to_message(CompletedObject, messages.completed_object_fields(big_object())))
sys.stdin.read()
node.destroy_node()
rclpy.shutdown()
"""


def big_object() -> CompletedObject:
    rng = np.random.default_rng(2)
    xyz = rng.random((POINTS, 3), dtype=np.float32)
    mesh = TriangleMesh(
        rng.random((500, 3), dtype=np.float32), rng.integers(0, 500, (900, 3)).astype(np.int32), watertight=False
    )
    quality = QualityRecord(
        views_used=3,
        observed_fraction=0.5,
        free_space_violation=0.25,
        mean_confidence=0.75,
        radius90_m=0.5,
        nominal_watertight=True,
        conservative_watertight=False,
        evidence_soft=True,
        timings_s={"select": 0.1, "fuse": 0.2},
        peak_memory_bytes=5 * 10**9,
        input_hash="0f" * 32,
        warnings=("a warning",),
    )
    return CompletedObject(
        object_id="object_0",
        frame_id="map",
        stamp_ns=12_000_000_034,
        model="carve",
        seed=2**31 - 1,
        points_world=xyz,
        normals_world=xyz,
        colors=rng.integers(0, 256, (POINTS, 3), dtype=np.uint8),
        confidence=xyz[:, 0],
        provenance=np.full(POINTS, 2, np.uint8),
        observed_points_world=xyz[:1000],
        nominal=mesh,
        conservative=mesh,
        vertex_confidence=rng.random(500, dtype=np.float32),
        box=OrientedBox(np.eye(4), np.array([1, 2, 3])),
        quality=quality,
        collision_parts=(mesh,),
        hypotheses=(SurfaceHypothesis(mesh, 0.75), SurfaceHypothesis(mesh, 0.25)),
    )


def assert_same(sent, received, path=""):
    if isinstance(sent, dict):
        assert sent.keys() == received.keys(), path
        for key in sent:
            assert_same(sent[key], received[key], f"{path}.{key}")
    elif isinstance(sent, list) or (isinstance(sent, np.ndarray) and sent.dtype.names):
        if isinstance(sent, np.ndarray):
            sent = [dict(zip(sent.dtype.names, row, strict=True)) for row in sent]
        assert len(sent) == len(received), path
        for index, pair in enumerate(zip(sent, received, strict=True)):
            assert_same(*pair, f"{path}[{index}]")
    elif isinstance(sent, np.ndarray):
        assert np.array_equal(sent, received), path
    else:
        assert sent == received, path


def test_completed_object_crosses_two_processes_unchanged():
    from domains import new_domain
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile

    domain = new_domain()
    publisher = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER.format(folder=os.path.dirname(__file__))],
        stdin=subprocess.PIPE,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
    )
    rclpy.init(domain_id=domain)
    node = rclpy.create_node("subscriber")
    received = []
    qos = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(interfaces.CompletedObject, "completed", received.append, qos)
    try:
        deadline = time.monotonic() + DISCOVERY_S
        while not received and publisher.poll() is None and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.2)
    finally:
        node.destroy_node()
        rclpy.shutdown()
        publisher.communicate(timeout=DISCOVERY_S)
    assert publisher.returncode == 0
    assert len(received) == 1
    assert len(received[0].cloud.data) == POINTS * 36
    assert_same(messages.completed_object_fields(big_object()), from_message(received[0]))


def test_leaves_are_cast_to_what_rclpy_expects():
    from geometry_msgs.msg import Point
    from sensor_msgs.msg import CameraInfo

    assert to_message(Point, {"x": 2, "y": np.float32(1.5), "z": np.True_}) == Point(x=2.0, y=1.5, z=1.0)
    fields = from_message(CameraInfo()) | {"k": np.eye(3, dtype=np.float32), "d": [1, 2], "width": np.int64(640)}
    info = to_message(CameraInfo, fields)
    assert info.k.tolist() == np.eye(3).ravel().tolist()
    assert info.d.tolist() == [1.0, 2.0]
    assert info.width == 640


def test_missing_and_unknown_fields_are_named():
    from geometry_msgs.msg import Point

    with pytest.raises(InputError, match=r"missing \['z'\], unknown \['w'\]") as error:
        to_message(Point, {"x": 0.0, "y": 0.0, "w": 0.0})
    assert error.value.code == ErrorCode.USAGE


def test_goal_defaults_leave_the_choice_to_the_parameters():
    from sparse_recon.action import CompleteObject

    goal = CompleteObject.Goal()
    assert goal.seed == CompleteObject.Goal.SEED_FROM_PARAMETER
    assert goal.select_by == CompleteObject.Goal.SELECT_ONLY_OBJECT


def test_constants_of_the_built_interface_are_the_error_codes():
    from sparse_recon.action import CompleteObject

    assert {code.name: getattr(CompleteObject.Result, code.name) for code in ErrorCode} == {
        code.name: int(code) for code in ErrorCode
    }
