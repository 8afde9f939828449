"""A client of the node that collects what arrives: it asks for objects, and waits as long as there is progress."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sparse_recon.bags.writer import NODE
from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.ros.output_topics import NODE_TOPICS
from sparse_recon.ros.play.publisher_qos import PublisherQos, message_class, qos_profile
from sparse_recon.ros.play.received_objects import RECEIVER_DEPTH, ReceivedObjects

# Without progress; on a busy machine libraries may load for minutes, and a stage of a completion take as long.
START_S, PATIENCE_S = 600.0, 180.0
_ASK_AGAIN_S = 0.2
_LOST_S = 3.0  # best-effort images do not come any more when nothing has changed so long after the recording
_QUIET_S = 0.5  # the topics of one pass come one after the other


@dataclass(frozen=True)
class GoalOutcome:
    """How one goal ended; `ErrorCode.OK` is success."""

    object_id: str
    code: int
    message: str
    seconds: float


@dataclass(frozen=True)
class Arrival:
    """What arrived on a topic: how many messages, the size of the last one, and points, if any.

    These are the points of a cloud, or of all objects that there are.
    """

    topic: str
    msgtype: str
    messages: int
    size_bytes: int
    points: int | None


@dataclass
class Client:
    """Waits for the node, asks it for objects, and collects what it publishes.

    Parameters
    ----------
    node : rclpy node of this client.
    processes : "player" and others by name; waiting ends with an error where one of them fails. `log` of each is the
        file of its words.
    patience_s : how long there may be no progress: neither time on /clock, which the player sends, nor messages and
        frames at the node, nor feedback of the goal, nor results. A slow machine may take long, as long as it gets on.
    """

    node: Any
    processes: Mapping[str, subprocess.Popen[bytes]]
    patience_s: float = PATIENCE_S
    received: dict[str, list[bytes]] = field(default_factory=dict)
    health: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.action import ActionClient
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import qos_profile_sensor_data
        from rosgraph_msgs.msg import Clock

        from sparse_recon.action import CompleteObject
        from sparse_recon.srv import GetObjects

        self._executor = SingleThreadedExecutor(context=self.node.context)
        self._executor.add_node(self.node)
        self._last_s = self._changed_s = time.monotonic()
        self._figures: tuple[str | None, ...] = ()
        self._clock = (0, 0)
        self._known, self._applied = ReceivedObjects(), 0  # messages of ~/objects
        self._actions = ActionClient(self.node, CompleteObject, f"{NODE}/complete")
        self._objects = self.node.create_client(GetObjects, f"{NODE}/get_objects")
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note_health, 10)
        self.node.create_subscription(Clock, "/clock", self._note_clock, qos_profile_sensor_data)
        for name, topic in NODE_TOPICS.items():
            with suppress(SparseReconError):  # its message package is not installed: the node leaves it out too
                self._subscribe(name, message_class(topic.msgtype), topic.latched)

    @property
    def frames(self) -> int:
        """Frames that the node keeps."""
        return int(self.health.get("memory", {}).get("frames", 0))

    def wait_for_node(self) -> None:
        """Wait until the node is active."""
        self._spin_until(
            lambda: self.health.get("node", {}).get("") == "active", "the active node", max(self.patience_s, START_S)
        )

    def wait_for_frame(self, stamp_ns: int) -> None:
        """Wait until the node sees objects, and keeps the frame of this stamp or has lost it."""
        from sparse_recon.srv import GetObjects

        played_s: list[float] = []

        def arrived() -> bool:
            if not played_s and self.processes["player"].poll() is not None:
                played_s.append(time.monotonic())
            future = self._objects.call_async(GetObjects.Request())
            self._spin_until(future.done, "an answer of get_objects")
            stamp = future.result().header.stamp
            newest = stamp.sec * 10**9 + stamp.nanosec == stamp_ns
            lost = played_s and time.monotonic() > max(played_s[0], self._changed_s) + _LOST_S
            if future.result().candidates and (newest or lost):
                return True
            self._spin_for(_ASK_AGAIN_S)
            return False

        self._spin_until(self._objects.service_is_ready, "the node's service get_objects")
        self._spin_until(arrived, "the last frame of the recording at the node")

    def complete(self, object_id: str) -> GoalOutcome:
        """Send a goal and wait for its end."""
        from sparse_recon.action import CompleteObject

        goal = CompleteObject.Goal(select_by=CompleteObject.Goal.SELECT_BY_ID, object_id=object_id)
        self._spin_until(self._actions.server_is_ready, "the node's action server")
        began = time.monotonic()
        sent = self._actions.send_goal_async(goal, self._note_progress)
        self._spin_until(sent.done, f"acceptance of the goal {object_id}")
        ended = sent.result().get_result_async()
        self._spin_until(ended.done, f"the result of {object_id}")
        result = ended.result().result
        return GoalOutcome(object_id, int(result.code), str(result.message), time.monotonic() - began)

    def wait_for_objects(self, object_ids: Sequence[str]) -> None:
        """Wait until these objects, and what belongs to them on the other topics, have arrived."""
        self._spin_until(lambda: self.clouds().keys() >= set(object_ids), "the objects on their topic")
        beside = ("cloud", "observed_cloud", "markers") if object_ids else ()
        self._spin_until(lambda: all(self.received[name] for name in beside), "clouds and markers")
        self._spin_until(lambda: time.monotonic() - self._last_s > _QUIET_S, "the end of the messages")

    def clouds(self) -> dict[str, bytes]:
        """Return the points of each object that there is."""
        return {name: bytes(item.cloud.data) for name, item in self._known_objects().items()}

    def arrivals(self) -> tuple[Arrival, ...]:
        """Return what came on each topic, most important first."""
        return tuple(
            Arrival(f"{NODE}/{name}", NODE_TOPICS[name].msgtype, len(got), len(got[-1]), self._points(name))
            for name, got in self.received.items()
            if got
        )

    def _points(self, name: str) -> int | None:
        if NODE_TOPICS[name].msgtype == "sensor_msgs/msg/PointCloud2":
            cloud = self._newest(name)
            return int(cloud.width * cloud.height)
        return sum(item.cloud.width for item in self._known_objects().values()) if name == "objects" else None

    def _known_objects(self) -> dict[str, Any]:
        from rclpy.serialization import deserialize_message

        for data in self.received["objects"][self._applied :]:
            self._known.take(deserialize_message(data, message_class(NODE_TOPICS["objects"].msgtype)))
            self._applied += 1
        return self._known.objects

    def _newest(self, name: str) -> Any:
        from rclpy.serialization import deserialize_message

        return deserialize_message(self.received[name][-1], message_class(NODE_TOPICS[name].msgtype))

    def _subscribe(self, name: str, message_type: Any, latched: bool) -> None:
        arrived = self.received[name] = []

        def note(data: bytes) -> None:
            arrived.append(data)
            self._last_s = self._changed_s = time.monotonic()

        qos = qos_profile(PublisherQos(latched=latched, depth=RECEIVER_DEPTH))
        self.node.create_subscription(message_type, f"{NODE}/{name}", note, qos, raw=True)

    def _note_health(self, array: Any) -> None:
        for status in array.status:
            owner, _, part = status.name.partition(": ")
            if owner == NODE.lstrip("/"):
                self.health[part] = {"": status.message, **{item.key: item.value for item in status.values}}
        ingest = self.health.get("ingest", {})
        received = [values.get("received") for part, values in self.health.items() if part.startswith("inputs ")]
        figures = (*received, *(ingest.get(name) for name in ("keyframes_kept", "frames_unneeded", "rejected")))
        if figures != self._figures:
            self._figures, self._changed_s = figures, time.monotonic()

    def _note_clock(self, message: Any) -> None:
        clock = message.clock.sec, message.clock.nanosec
        if clock != self._clock:
            self._clock, self._changed_s = clock, time.monotonic()

    def _note_progress(self, feedback: Any) -> None:
        self._changed_s = time.monotonic()

    def _spin_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _spin_until(self, done: Callable[[], bool], what: str, patience_s: float | None = None) -> None:
        patience_s = self.patience_s if patience_s is None else patience_s
        began = time.monotonic()
        while not done():
            for name, process in self.processes.items():
                if process.poll():
                    raise SparseReconError(
                        ErrorCode.INTERNAL,
                        f"the {name} ended with {process.returncode}, waiting for {what}{_tail(process)}",
                    )
            if time.monotonic() > max(began, self._changed_s) + patience_s:
                says = "; ".join(f"{part}: {values['']}" for part, values in self.health.items()) or "nothing"
                raise SparseReconError(
                    ErrorCode.DEADLINE,
                    f"waited for {what} until for {patience_s:g} s nothing had changed: no clock, frames, feedback or "
                    f"results came; the node says {says}",
                )
            self._executor.spin_once(timeout_sec=0.05)


def _tail(process: subprocess.Popen[bytes]) -> str:
    lines = process.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()  # type: ignore[attr-defined]
    return f"; its last words: {lines[-1]}" if lines else ""
