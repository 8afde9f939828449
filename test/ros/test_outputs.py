"""What the node publishes, over real DDS: the publishers in one process, subscribers of the real types in another."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from sparse_recon.geometry.poses import pose
from sparse_recon.messages import fields as messages
from sparse_recon.messages.footprints import footprint_grid_fields
from sparse_recon.messages.markers import marker_array_fields, preview_fields
from sparse_recon.requests import Progress
from sparse_recon.types import CompletedObject, OrientedBox, QualityRecord, SurfaceHypothesis, TriangleMesh

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")
pytest.importorskip(
    "sparse_recon.msg", reason="the interfaces are not built, or the workspace is not sourced: make test"
)

import rclpy
from nav_msgs.msg import OccupancyGrid
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2
from sparse_recon.msg import CompletedObject as CompletedObjectMessage
from sparse_recon.msg import CompletedObjectArray
from visualization_msgs.msg import Marker, MarkerArray

from sparse_recon.ros.convert import to_message
from sparse_recon.ros.kept_results import geometry_bytes
from sparse_recon.ros.object_topics import SPARE_DEPTH
from sparse_recon.ros.outputs import Outputs, completed_object_message, without_geometry

DISCOVERY_S = 120.0
SILENCE_S = 0.5
STAMP_NS = 12_000_000_034
DELETE, DELETE_ALL = 2, 3
LATCHED = QoSProfile(depth=300, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
KINDS = {
    "objects": CompletedObjectArray,
    "cloud": PointCloud2,
    "observed_cloud": PointCloud2,
    "markers": MarkerArray,
    "footprints": OccupancyGrid,
    "novel_views": Image,
    "preview": Marker,
}
EXPECTED: dict[str, Callable[..., messages.Fields]] = {
    "objects": messages.completed_object_array_fields,
    "cloud": messages.completed_cloud_fields,
    "observed_cloud": messages.observed_cloud_fields,
    "markers": marker_array_fields,
    "footprints": footprint_grid_fields,
}
MERGED = ("cloud", "observed_cloud", "footprints")
CHANGES = ("objects", "markers")
# Runs the lines that it is given, and says when each is done.
PUBLISHER = """
import sys
import time
from dataclasses import replace
sys.path.insert(0, {folder!r})
import rclpy
from sparse_recon.requests import Progress
from sparse_recon.ros.outputs import Outputs
from test_outputs import STAMP_NS, balls

rclpy.init(args=sys.argv)
node = rclpy.create_node("completion_node", namespace="robot")
outputs = Outputs(node)


def wait_for_subscriber(name):
    while not node.count_subscribers(outputs.topics[name]):
        time.sleep(0.02)


a, b, c = balls(3)
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
node.destroy_node()
rclpy.shutdown()
"""


def balls(count: int = 2, frame_id: str = "map") -> list[CompletedObject]:
    """Return balls 0.2 m apart, of which cameras saw the upper half."""
    shape = trimesh.creation.icosphere(subdivisions=2, radius=0.05)
    quality = QualityRecord(2, 0.5, 0.0, 0.7, 0.004, True, True, False, {"fuse": 0.5}, 10**8, "hash", ("a note",))
    objects = []
    for k in range(count):
        points = (shape.vertices + np.array([0.2 * k, 0.0, 0.05])).astype(np.float32)
        provenance = np.where(shape.vertices[:, 2] > 0, 1, 2).astype(np.uint8)
        mesh = TriangleMesh(points, shape.faces.astype(np.int32), True)
        objects.append(
            CompletedObject(
                *(f"object_{k}", frame_id, STAMP_NS, "carve", 3, points, shape.vertex_normals.astype(np.float32)),
                *(np.full((len(points), 3), 90, np.uint8), np.linspace(0, 1, len(points), dtype=np.float32)),
                *(provenance, points[provenance == 1], mesh, mesh, np.ones(len(points), np.float32)),
                *(OrientedBox(pose(np.eye(3), (0.2 * k, 0, 0.05)), np.full(3, 0.1)), quality, (mesh,)),
            )
        )
    return objects


class Publisher:
    """Outputs of node /robot/completion_node in a process of its own."""

    def __init__(self, domain: int, *arguments: str) -> None:
        self.domain = domain
        code = PUBLISHER.format(folder=str(Path(__file__).parent))
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ROS_DOMAIN_ID": str(self.domain)},
        )
        self._expect("ready")

    def run(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._expect("done")

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word

    def end(self) -> int:
        self._process.communicate(timeout=DISCOVERY_S)
        return self._process.returncode


class Subscriber:
    """Keeps what arrives on the topics it was told to listen to."""

    def __init__(self, domain: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("subscriber", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received: dict[str, list[Any]] = {}

    def listen(self, *names: str, qos: QoSProfile = LATCHED) -> None:
        """Subscribe, and wait until the publisher is there."""
        for name in names:
            kept = self.received.setdefault(name, [])
            self.node.create_subscription(KINDS[name], topic(name), kept.append, qos)
        self.spin_until(lambda: all(self.node.count_publishers(topic(name)) for name in names))

    def spin_until(self, condition: Callable[[], object], within_s: float = DISCOVERY_S) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"waited {within_s} s, received {self.counts()}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)

    def newest(self, name: str, count: int = 1) -> Any:
        """Wait for that many messages on a topic; return the last."""
        self.spin_until(lambda: len(self.received[name]) >= count)
        return self.received[name][-1]

    def counts(self) -> dict[str, int]:
        return {name: len(kept) for name, kept in self.received.items()}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def topic(name: str) -> str:
    return f"/robot/completion_node/{name}"


@pytest.fixture
def domain() -> int:
    from domains import new_domain

    return new_domain()


@pytest.fixture
def publisher(domain: int) -> Iterator[Publisher]:
    process = Publisher(domain)
    yield process
    assert process.end() == 0


@pytest.fixture
def subscriber(domain: int) -> Iterator[Subscriber]:
    listening = Subscriber(domain)
    yield listening
    listening.close()


@pytest.fixture
def node(domain: int) -> Iterator[Any]:
    """A node of this process, alone in its domain."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    alone = rclpy.create_node("completion_node", context=context)
    yield alone
    alone.destroy_node()
    rclpy.shutdown(context=context)


def by_rclpy(kind: Any, fields: messages.Fields) -> Any:
    """Return the message that a subscriber would receive had rclpy itself sent these fields."""
    return deserialize_message(serialize_message(to_message(kind, fields)), kind)


def published(name: str, objects: list[CompletedObject], **how: Any) -> Any:
    return by_rclpy(KINDS[name], EXPECTED[name](objects, "map", STAMP_NS, **how))


def known_ids(subscriber: Subscriber) -> list[str]:
    """Return which objects a receiver has after all that came, as the definition of the message says."""
    known: dict[str, Any] = {}
    for message in subscriber.received["objects"]:
        if message.whole:
            known.clear()
        for object_id in message.removed_ids:
            known.pop(object_id, None)
        known.update((item.object_id, item) for item in message.objects)
    return sorted(known)


def drawn_ids(subscriber: Subscriber) -> list[str]:
    """Return whose markers RViz shows after all that came."""
    drawn: set[tuple[str, int]] = set()
    for marker in (marker for message in subscriber.received["markers"] for marker in message.markers):
        if marker.action == DELETE_ALL:
            drawn.clear()
        elif marker.action == DELETE:
            drawn.discard((marker.ns, marker.id))
        else:
            drawn.add((marker.ns, marker.id))
    return sorted({namespace for namespace, _ in drawn})


def test_every_topic_carries_exactly_its_fields(publisher, subscriber):
    subscriber.listen(*EXPECTED)
    publisher.run("outputs.publish(balls(2), 'map', STAMP_NS)")
    for name in MERGED:
        assert subscriber.newest(name) == published(name, balls(2)), name
    for name in CHANGES:
        subscriber.newest(name, 2)
        one, other = balls(2)
        assert subscriber.received[name] == [
            published(name, [one], whole=True),
            published(name, [other], whole=False),
        ], name


def test_of_three_objects_only_the_one_completed_again_crosses(publisher, subscriber):
    subscriber.listen(*EXPECTED)
    publisher.run("outputs.publish([a, b, c], 'map', STAMP_NS)")
    subscriber.newest("objects", 3)
    subscriber.newest("markers", 3)
    for name in MERGED:
        subscriber.newest(name)
    publisher.run("outputs.publish([a, replace(b, seed=4), c], 'map', STAMP_NS)")
    again = subscriber.newest("objects", 4)
    assert again == published("objects", [replace(balls(3)[1], seed=4)], whole=False)
    assert {marker.ns for marker in subscriber.newest("markers", 4).markers} == {"object_1"}
    subscriber.spin_for(SILENCE_S)  # the merged topics, which say the same as before, are not sent again
    assert subscriber.counts() == {"objects": 4, "markers": 4, "cloud": 1, "observed_cloud": 1, "footprints": 1}
    publisher.run("outputs.publish([a, replace(b, points_world=b.points_world + 0.001), c], 'map', STAMP_NS)")
    subscriber.newest("cloud", 2)
    subscriber.newest("footprints", 2)
    subscriber.newest("objects", 5)
    subscriber.newest("markers", 5)
    subscriber.spin_for(SILENCE_S)
    assert subscriber.counts() == {"objects": 5, "markers": 5, "cloud": 2, "observed_cloud": 1, "footprints": 2}


def test_a_late_subscriber_has_all_three_objects_and_after_a_removal_two(publisher, subscriber, domain):
    publisher.run("outputs.publish([a, b, c], 'map', STAMP_NS)")
    subscriber.listen(*EXPECTED)
    names = ["object_0", "object_1", "object_2"]
    subscriber.spin_until(lambda: known_ids(subscriber) == drawn_ids(subscriber) == names)
    publisher.run("outputs.publish([a, c], 'map', STAMP_NS)")
    left = ["object_0", "object_2"]
    subscriber.spin_until(lambda: known_ids(subscriber) == drawn_ids(subscriber) == left)
    assert subscriber.received["objects"][-1] == published("objects", [], whole=False, removed_ids=["object_1"])
    late = Subscriber(domain)
    late.listen(*EXPECTED)
    late.spin_until(lambda: known_ids(late) == drawn_ids(late) == left)
    assert late.newest("cloud") == published("cloud", [balls(3)[0], balls(3)[2]])
    late.close()


def test_a_late_subscriber_has_objects_that_were_completed_long_before_the_newest(publisher, subscriber):
    publisher.run("outputs.publish([a, b, c], 'map', STAMP_NS)")
    # More messages than the history holds, all of one object.
    publisher.run("[outputs.publish([a, replace(b, seed=k), c], 'map', STAMP_NS) for k in range(60)]")
    subscriber.listen(*CHANGES)
    subscriber.spin_until(
        lambda: known_ids(subscriber) == drawn_ids(subscriber) == ["object_0", "object_1", "object_2"]
    )
    subscriber.spin_until(lambda: subscriber.received["objects"][-1].objects[0].seed == 59)
    assert len(subscriber.received["objects"]) <= 16 + SPARE_DEPTH


def test_as_many_objects_as_there_may_be_reach_a_late_subscriber(publisher, subscriber):
    publisher.run("all16 = balls(16)")
    publisher.run("outputs.publish(all16, 'map', STAMP_NS)")
    publisher.run("[outputs.publish([*all16[:15], replace(all16[15], seed=k)], 'map', STAMP_NS) for k in range(30)]")
    subscriber.listen("objects")
    subscriber.spin_until(lambda: len(known_ids(subscriber)) == 16)


def test_a_history_that_parameters_made_shorter_is_kept_to(domain, subscriber):
    shorter = "qos_overrides./robot/completion_node/objects.publisher.depth:=4"
    process = Publisher(domain, "--ros-args", "-p", shorter)
    process.run("outputs.publish([a, b, c], 'map', STAMP_NS)")
    process.run("[outputs.publish([a, replace(b, seed=k), c], 'map', STAMP_NS) for k in range(20)]")
    subscriber.listen("objects")
    subscriber.spin_until(lambda: known_ids(subscriber) == ["object_0", "object_1", "object_2"])
    subscriber.spin_for(SILENCE_S)
    assert len(subscriber.received["objects"]) == 4
    assert process.end() == 0


def test_objects_in_another_frame_replace_all_of_the_frame_before(publisher, subscriber):
    subscriber.listen(*CHANGES)
    publisher.run("outputs.publish([a, b, c], 'map', STAMP_NS)")
    publisher.run("outputs.publish(balls(1, 'odom'), 'odom', STAMP_NS)")
    subscriber.spin_until(lambda: known_ids(subscriber) == drawn_ids(subscriber) == ["object_0"])
    assert subscriber.received["objects"][-1].whole


def test_a_new_node_says_first_that_nothing_else_is_there(publisher, subscriber):
    subscriber.listen("objects")
    publisher.run("outputs.publish([a, b], 'map', STAMP_NS)")
    publisher.run("outputs = Outputs(node); outputs.publish([c], 'map', STAMP_NS)")  # as after a crash
    subscriber.spin_until(lambda: known_ids(subscriber) == ["object_2"])


def test_clear_empties_every_topic(publisher, subscriber):
    publisher.run("outputs.publish(balls(2), 'map', STAMP_NS)")
    publisher.run("outputs.clear('', 7)")
    subscriber.listen(*EXPECTED)
    assert (subscriber.newest("objects", 3).whole, subscriber.newest("objects", 3).objects) == (True, [])
    assert subscriber.newest("cloud").width == subscriber.newest("observed_cloud").width == 0
    assert [marker.action for marker in subscriber.newest("markers", 3).markers] == [DELETE_ALL]
    assert max(subscriber.newest("footprints").data) == 0
    assert {message[-1].header.frame_id for name, message in subscriber.received.items() if name != "markers"} == {
        "map"
    }


def test_nothing_is_cleared_before_anything_was_published(publisher, subscriber):
    publisher.run("outputs.clear('', 7)")
    subscriber.listen(*EXPECTED)
    subscriber.spin_for(SILENCE_S)
    assert set(subscriber.counts().values()) == {0}


def test_pictures_are_drawn_once_someone_subscribes(publisher, subscriber):
    publisher.run("outputs.publish(balls(1), 'map', STAMP_NS)")
    subscriber.listen("novel_views")
    subscriber.spin_for(SILENCE_S)
    assert subscriber.received["novel_views"] == []
    publisher.run("outputs.refresh()")
    picture = subscriber.newest("novel_views")
    assert (picture.encoding, picture.header.frame_id) == ("rgb8", "map")
    assert len(picture.data) == picture.height * picture.step == picture.height * picture.width * 3
    publisher.run("outputs.refresh()")
    subscriber.spin_for(SILENCE_S)
    assert len(subscriber.received["novel_views"]) == 1
    publisher.run("outputs.clear('', 7)")
    assert subscriber.newest("novel_views", 2).data != picture.data


def test_preview_is_shown_until_the_objects_come(publisher, subscriber):
    show = "outputs.publish_preview(Progress('complete', 1, 4, 0.5, balls(1)[0].nominal), 'map', STAMP_NS)"
    publisher.run(show)
    subscriber.listen("preview", qos=QoSProfile(depth=5))
    publisher.run("wait_for_subscriber('preview')")
    publisher.run(show)
    expected = by_rclpy(Marker, preview_fields(balls(1)[0].nominal, "map", STAMP_NS))
    assert subscriber.newest("preview") == expected
    publisher.run("outputs.publish(balls(1), 'map', STAMP_NS)")
    end = subscriber.newest("preview", 2)
    assert (end.ns, end.id, end.action) == (expected.ns, expected.id, DELETE)


def test_topics_are_named_after_the_node_and_its_remappings(domain):
    context = Context()
    rclpy.init(context=context, domain_id=domain, args=["--ros-args", "-r", "~/cloud:=/everything"])
    node = rclpy.create_node("completion_node", context=context, namespace="arm")
    topics = Outputs(node).topics
    rclpy.shutdown(context=context)
    assert topics["objects"] == "/arm/completion_node/objects"
    assert topics["cloud"] == "/everything"


def test_collision_objects_need_moveit(node):
    try:
        import moveit_msgs.msg  # noqa: F401

        installed = True
    except ImportError:
        installed = False
    assert ("collision_objects" in Outputs(node).topics) == installed


def test_destroy_leaves_no_publisher_behind(node):
    names = set(Outputs(node).topics.values())
    before = len(list(node.publishers))
    for _ in range(3):
        outputs = Outputs(node)
        outputs.destroy()
        outputs.publish(balls(1), "map", STAMP_NS)
        outputs.refresh()
        outputs.destroy()
    assert len(list(node.publishers)) == before
    assert all(node.count_publishers(name) == 1 for name in names)


def test_publishers_may_go_while_a_thread_publishes(node, caplog):
    outputs, done = Outputs(node), threading.Event()

    def work() -> None:
        while not done.is_set():
            outputs.publish(balls(1), "map", STAMP_NS)

    worker = threading.Thread(target=work)
    worker.start()
    assert received_here(node, outputs, "cloud").width == len(balls(1)[0].points_world)
    outputs.destroy()
    outputs.publish_preview(Progress("complete", 1, 4, 0.5, balls(1)[0].nominal), "map", STAMP_NS)
    done.set()
    worker.join(DISCOVERY_S)
    assert not worker.is_alive()
    assert caplog.text == ""


def test_quality_of_service_is_overridden_each_time_publishers_are_made(domain):
    arguments = ["--ros-args"]
    for policy, value in (("durability", "volatile"), ("reliability", "best_effort"), ("depth", "7")):
        arguments += ["-p", f"qos_overrides./completion_node/cloud.publisher.{policy}:={value}"]
    context = Context()
    rclpy.init(context=context, domain_id=domain, args=arguments)
    node = rclpy.create_node("completion_node", context=context)
    for _ in range(2):
        outputs = Outputs(node)
        (cloud,) = node.get_publishers_info_by_topic("/completion_node/cloud")
        (objects,) = node.get_publishers_info_by_topic("/completion_node/objects")
        outputs.destroy()
        assert cloud.qos_profile.durability == QoSDurabilityPolicy.VOLATILE
        assert cloud.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
        assert objects.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        assert objects.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE
    rclpy.shutdown(context=context)


def received_here(node: Any, outputs: Outputs, name: str) -> Any:
    """Return what a subscriber in the publishers' own process gets."""
    kept: list[Any] = []
    subscription = node.create_subscription(KINDS[name], outputs.topics[name], kept.append, LATCHED)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end = time.monotonic() + DISCOVERY_S
    while not kept and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
    executor.remove_node(node)
    node.destroy_subscription(subscription)
    return kept[-1]


def test_objects_of_another_frame_are_left_out_with_a_warning(node, caplog):
    outputs = Outputs(node)
    outputs.publish([balls(1)[0], replace(balls(1)[0], object_id="old", frame_id="odom")], "map", STAMP_NS)
    assert [obj.object_id for obj in received_here(node, outputs, "objects").objects] == ["object_0"]
    assert "'odom'" in caplog.text


def test_what_cannot_be_published_leaves_out_its_own_topic_alone(node, caplog):
    outputs = Outputs(node)
    (whole,) = balls(1)
    vertices = np.where(np.arange(len(whole.conservative.vertices_world))[:, None] == 3, np.nan, 1).astype(np.float32)
    broken = replace(whole, conservative=TriangleMesh(vertices, whole.conservative.faces))
    with caplog.at_level(logging.WARNING):
        outputs.publish([broken], "map", STAMP_NS)
    assert "footprints is not published: [500 MESH_INVALID]" in caplog.text
    assert len(received_here(node, outputs, "markers").markers) == 4  # the first deletes all


def test_publishing_after_shutdown_is_silent(caplog, domain):
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    outputs = Outputs(rclpy.create_node("completion_node", context=context))
    rclpy.shutdown(context=context)
    outputs.publish(balls(1), "map", STAMP_NS)
    outputs.publish_preview(Progress("complete", 1, 4, 0.5, balls(1)[0].nominal), "map", STAMP_NS)
    assert caplog.text == ""


def test_object_of_an_action_result_has_the_fields_of_the_topic():
    message = completed_object_message(balls(1)[0], with_geometry=True)
    assert isinstance(message, CompletedObjectMessage)
    assert message == to_message(CompletedObjectMessage, messages.completed_object_fields(balls(1)[0]))


def test_object_without_geometry_says_all_but_that():
    (ball,) = balls(1)
    ball = replace(ball, hypotheses=(SurfaceHypothesis(ball.nominal, 1.0),))
    whole, light = (completed_object_message(ball, with_geometry) for with_geometry in (True, False))
    kept = ("header", "object_id", "model", "seed", "pose", "size_m", "quality")
    assert [getattr(light, name) for name in kept] == [getattr(whole, name) for name in kept]
    assert (light.cloud.width, light.cloud.fields) == (0, whole.cloud.fields) and not light.cloud.data
    assert not light.observed_cloud.data and not light.vertex_confidence and not light.collision_parts
    for mesh in (light.nominal_mesh, light.conservative_mesh):
        assert not mesh.vertices and not mesh.triangles
    assert len(whole.hypotheses[0].mesh.triangles) == len(ball.nominal.faces) and not light.hypotheses
    assert geometry_bytes(whole) - geometry_bytes(completed_object_message(balls(1)[0], True)) > 90_000
    assert len(serialize_message(light)) < 2000
    assert without_geometry(whole) == light
