"""A robot for system tests: the node in a process of its own, and everything around it over real DDS in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import rclpy
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from sparse_recon.action import CompleteObject
from sparse_recon.msg import CompletedObject, CompletedObjectArray
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from sparse_recon.types import Frame

# How long something may take that does happen: enough for the busiest machine, and never used up where all goes well.
MATCH_S = 120.0
ANSWER_S = 180.0
LOST_S = 1.0  # a best-effort image that the node has not got so long after it was sent
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
CHANGES = QoSProfile(depth=300, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
# Without it Fast DDS loses most best-effort images; both names, for its versions before and after 2.14.
for _name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
    os.environ.setdefault(_name, str(Path(__file__).parents[1] / "config" / "dds" / "fastdds_large_images.xml"))


class NodeProcess:
    """`completion_node`, or another program, as a robot's launch system starts it."""

    def __init__(self, domain: int, arguments: Sequence[str] = (), program: Sequence[str] = ()) -> None:
        program = program or (sys.executable, "-m", "sparse_recon.ros.completion_node")
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 (read until the end of the test)
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONFAULTHANDLER": "1"}
        ros = ["--ros-args", *arguments] if arguments else []
        self.process = subprocess.Popen(
            [*program, *ros], stdout=self._log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )

    @property
    def log(self) -> str:
        """All that the program has written."""
        return Path(self._log.name).read_text()

    @property
    def processor_s(self) -> float:
        """Processor seconds that the program has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: int = signal.SIGINT, within_s: float = ANSWER_S) -> int:
        """Send a signal to the group, as Ctrl-C does, and return the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        try:
            return self.process.wait(within_s)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        assert "Traceback" not in self.log, self.log


def parameter_arguments(**values: object) -> list[str]:
    """Return `-p name:=value` for each; a double underscore is a dot."""
    return [part for k, v in values.items() for part in ("-p", f"{k.replace('__', '.')}:={v}")]


class Robot:
    """Cameras, transforms and planners around a node, in this process.

    Everything received is kept: `objects`, `clouds`, `markers`, `footprints`, `diagnostics` (part -> status). What all
    messages together say there is: `known_objects` by id, `known_markers` by namespace and id.
    """

    def __init__(
        self, domain: int, *, namespace: str = "", sensor_qos: QoSProfile | None = None, prefix: str = ""
    ) -> None:
        self.domain = domain
        self.process: NodeProcess | None = None
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("robot", context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.objects: list[CompletedObjectArray] = []
        self.clouds: list[PointCloud2] = []
        self.markers: list[MarkerArray] = []
        self.footprints: list[OccupancyGrid] = []
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.now_ns = 0  # clock of the node when it last told its state
        self.told = 0  # arrays of diagnostics of the node
        self.feedback: list[CompleteObject.Feedback] = []
        qos = sensor_qos or BEST_EFFORT
        name = f"{namespace}/completion_node" if namespace else "/completion_node"
        self.name = name.lstrip("/")
        node = self.node
        self.image = node.create_publisher(Image, f"{prefix}image", qos)
        self.depth = node.create_publisher(Image, f"{prefix}depth", qos)
        self.info = node.create_publisher(CameraInfo, f"{prefix}camera_info", qos)
        self.mask = node.create_publisher(Image, f"{prefix}mask", qos)
        self.tf = node.create_publisher(TFMessage, "/tf", 100)
        for kind, topic, kept, profile in (
            (CompletedObjectArray, "objects", self.objects, CHANGES),
            (PointCloud2, "cloud", self.clouds, LATCHED),
            (MarkerArray, "markers", self.markers, CHANGES),
            (OccupancyGrid, "footprints", self.footprints, LATCHED),
        ):
            node.create_subscription(kind, f"{name}/{topic}", kept.append, profile)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._note_diagnostics, 10)
        many = QoSProfile(depth=256)
        self.complete = ActionClient(
            node, CompleteObject, f"{name}/complete", goal_service_qos_profile=many, result_service_qos_profile=many
        )

    @property
    def known_objects(self) -> dict[str, CompletedObject]:
        """What the messages on ~/objects say there is, in the order in which it came."""
        known: dict[str, CompletedObject] = {}
        for message in self.objects:
            known = {} if message.whole else {k: item for k, item in known.items() if k not in message.removed_ids}
            known |= {item.object_id: item for item in message.objects}
        return known

    @property
    def known_markers(self) -> dict[tuple[str, int], Marker]:
        """What RViz shows of the messages on ~/markers."""
        known: dict[tuple[str, int], Marker] = {}
        for marker in (marker for message in self.markers for marker in message.markers):
            if marker.action == Marker.DELETEALL:
                known = {}
            elif marker.action == Marker.DELETE:
                known.pop((marker.ns, marker.id), None)
            else:
                known[marker.ns, marker.id] = marker
        return known

    def _note_diagnostics(self, array: DiagnosticArray) -> None:
        if any(status.name.startswith(f"{self.name}: ") for status in array.status):
            self.told += 1
            self.now_ns = array.header.stamp.sec * 10**9 + array.header.stamp.nanosec
        for status in array.status:
            owner, _, part = status.name.partition(": ")
            if owner == self.name:
                values = {item.key: item.value for item in status.values}
                self.diagnostics[part] = {"level": str(status.level[0]), "message": status.message, **values}

    def spin_until(self, condition: Callable[[], object], within_s: float = ANSWER_S, what: str = "") -> None:
        """Go on until something has happened."""
        until_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < until_s, (
                f"{what or 'it'} has not happened within {within_s:g} s: {self.diagnostics}"
            )
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds: float) -> None:
        """Go on for a while."""
        self.spin_while(lambda: True, seconds)

    def spin_while(self, condition: Callable[[], object], at_most_s: float) -> None:
        """Go on while something is so, for some time at most."""
        until_s = time.monotonic() + at_most_s
        while condition() and (left_s := until_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def spin_through_diagnostics(self, count: int = 2) -> None:
        """Go on until the node has told its state so often; the last time is of after this call, from the second on."""
        told = self.told + count
        self.spin_until(lambda: self.told >= told, what="diagnostics")

    def wait_for_node(self, inputs: Iterable[str] = ("image", "depth", "info")) -> None:
        """Wait until the node is active and everything is connected with everything."""
        publishers = [getattr(self, name) for name in inputs]
        self.spin_until(lambda: all(p.get_subscription_count() for p in (*publishers, self.tf)), MATCH_S, "match")
        self.spin_until(lambda: self.state() == "active", MATCH_S, "activation")
        self.spin_until(self.complete.server_is_ready, MATCH_S, "the action server")

    def state(self) -> str:
        """Return what the node says of its state."""
        return self.diagnostics.get("node", {}).get("message", "")

    def figure(self, part: str, name: str) -> float:
        """Return a figure of the diagnostics; 0 before there is one."""
        return float(self.diagnostics.get(part, {}).get(name, 0))

    def send(self, frame: Frame, *, stamp_ns: int | None = None, transform: bool = True, **changes: object) -> None:
        """Publish a frame as a camera driver and TF would; `changes` replace messages: image=, depth=, info=."""
        stamp_ns = frame.stamp_ns if stamp_ns is None else stamp_ns
        if transform:
            self.send_transform(frame, stamp_ns)
        made = messages_of(frame, stamp_ns)
        made.update(changes)
        for name in ("info", "image", "depth", "mask"):
            if made.get(name) is not None:
                getattr(self, name).publish(made[name])

    def send_transform(self, frame: Frame, stamp_ns: int) -> None:
        """Publish the pose of a frame's camera."""
        self.tf.publish(TFMessage(transforms=[transform_of(frame, stamp_ns)]))

    def send_until_kept(self, frames: Sequence[Frame], shift_ns: int = 0) -> None:
        """Publish frames one after another; each again, a little later, until the node has kept it."""
        for frame in frames:
            before, stamp_ns = self.figure("ingest", "keyframes_kept"), frame.stamp_ns + shift_ns

            def kept(before: float = before) -> bool:
                return self.figure("ingest", "keyframes_kept") > before

            until_s = time.monotonic() + ANSWER_S
            while not kept():
                assert time.monotonic() < until_s, f"a frame was not kept: {self.diagnostics}"
                self.send(frame, stamp_ns=stamp_ns)
                self.spin_while(lambda kept=kept: not kept(), LOST_S)
                stamp_ns += 50_000_000

    def ask(self, kind: type, service: str, **fields: object) -> object:
        """Call a service of the node."""
        client = self.node.create_client(kind, f"/{self.name}/{service}")
        self.spin_until(client.service_is_ready, MATCH_S, service)
        future = client.call_async(kind.Request(**fields))
        self.spin_until(future.done, ANSWER_S, service)
        self.node.destroy_client(client)
        return future.result()

    def start(self, **fields: object) -> Call:
        """Send a goal."""
        return Call(self, self.complete.send_goal_async(CompleteObject.Goal(**fields), self._note_feedback))

    def _note_feedback(self, message: object) -> None:
        self.feedback.append(message.feedback)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Leave the network."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def __enter__(self) -> Robot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Call:
    """A goal on its way."""

    def __init__(self, robot: Robot, sent: object) -> None:
        self._robot, self._sent, self._result = robot, sent, None

    def accepted(self) -> Call:
        """Wait until the node has accepted the goal."""
        self._robot.spin_until(self._sent.done, ANSWER_S, "acceptance")
        self._handle = self._sent.result()
        assert self._handle.accepted
        self._result = self._result or self._handle.get_result_async()
        return self

    def cancel(self) -> float:
        """Ask to cancel, wait for the end, and return the processor seconds that the node used for it."""
        self.accepted()
        begun_s = self._robot.process.processor_s
        self._handle.cancel_goal_async()
        self.result()
        return self._robot.process.processor_s - begun_s

    def result(self, within_s: float = ANSWER_S) -> CompleteObject.Result:
        """Wait for the end."""
        self.accepted()
        self._robot.spin_until(self._result.done, within_s, "the result")
        return self._result.result().result

    @property
    def status(self) -> int:
        """action_msgs/GoalStatus of the ended goal."""
        return self._result.result().status


SUCCEEDED, CANCELED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED


def messages_of(frame: Frame, stamp_ns: int) -> dict[str, object]:
    """Return image, depth (16UC1 millimetres), info and mask of a frame."""
    camera = frame.intrinsics
    optical = f"{frame.camera}_optical"
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = camera.K.ravel()
    info.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel()
    millimetres = np.round(np.nan_to_num(frame.depth_m) * 1000).astype("<u2")
    made: dict[str, object] = {
        "info": info,
        "image": image_of(frame.rgb, "rgb8"),
        "depth": image_of(millimetres, "16UC1"),
        "mask": None if frame.labels is None else image_of(frame.labels.astype("<i4"), "32SC1"),
    }
    for message in made.values():
        if message is not None:
            message.header.frame_id = optical  # type: ignore[attr-defined]
            set_stamp(message.header.stamp, stamp_ns)  # type: ignore[attr-defined]
    return made


def image_of(pixels: np.ndarray, encoding: str) -> Image:
    """Return an image message with the bytes of an array."""
    height, width = pixels.shape[:2]
    image = Image(height=height, width=width, encoding=encoding, step=pixels[0].nbytes)
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).tobytes())
    image.data = data
    return image


def transform_of(frame: Frame, stamp_ns: int) -> TransformStamped:
    """Return world -> optical frame of a frame's camera."""
    stamped = TransformStamped(child_frame_id=f"{frame.camera}_optical")
    stamped.header.frame_id = "world"
    set_stamp(stamped.header.stamp, stamp_ns)
    t, q = stamped.transform.translation, stamped.transform.rotation
    t.x, t.y, t.z = map(float, frame.T_world_cam[:3, 3])
    q.x, q.y, q.z, q.w = map(float, Rotation.from_matrix(frame.T_world_cam[:3, :3]).as_quat())
    return stamped


def set_stamp(stamp: object, stamp_ns: int) -> None:
    """Fill a builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(stamp_ns, 1_000_000_000)  # type: ignore[attr-defined]
