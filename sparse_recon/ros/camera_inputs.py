"""The inputs of one camera: subscriptions whose callbacks count, note the time, and hand the message on."""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from sparse_recon.bags.topics import is_rectified
from sparse_recon.errors import DependencyError
from sparse_recon.frames.camera_streams import CameraStreams
from sparse_recon.ros import qos
from sparse_recon.ros.input_topics import INPUT_TOPICS
from sparse_recon.ros.node_config import NodeConfig

_TIMED = 4096  # callback durations kept for the percentiles

# Type and suffix of the topic by `depth_transport`. As in image_transport, the transport is appended to the name.
_DEPTH = {"raw": (Image, ""), "compressedDepth": (CompressedImage, "/compressedDepth"), "cloud": (PointCloud2, "")}

# take(camera, role, message): roles color, depth, labels, info, depth_info, detections, detections_3d
Take = Callable[[str, str, Any], None]


@dataclass
class InputState:
    """What is known of one input; times are those of the steady clock."""

    topic: str
    msgtype: str
    subscription: Any = None
    received: int = 0
    last_s: float = 0.0
    last_stamp_ns: int = 0
    frame_id: str = ""
    period_s: float = 0.0
    incompatible: str = ""
    lost: int = 0
    required: bool = True

    def arrived(self, stamp_ns: int, frame_id: str) -> None:
        """Note a message."""
        now_s = time.monotonic()
        if self.received:
            step_s = now_s - self.last_s
            self.period_s += 0.1 * (step_s - self.period_s) if self.period_s else step_s
        self.received += 1
        self.last_s, self.last_stamp_ns, self.frame_id = now_s, stamp_ns, frame_id


@dataclass
class CallbackTimes:
    """Durations of the last callbacks."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMED))

    def percentiles_ms(self) -> tuple[float, float]:
        """Return (p50, p99) in milliseconds; 0 before the first one."""
        ordered = sorted(self.seconds.copy())
        if not ordered:
            return 0.0, 0.0
        return tuple(1e3 * ordered[min(int(q * len(ordered)), len(ordered) - 1)] for q in (0.5, 0.99))  # type: ignore[return-value]


class CameraInputs:
    """Subscriptions of one camera.

    Parameters
    ----------
    name : of the camera; empty for the only one, whose inputs have no prefix.
    take : gets every message, within the callback: it only enqueues.
    times : takes how long each callback took.
    """

    def __init__(self, node: Node, name: str, config: NodeConfig, take: Take, times: CallbackTimes) -> None:
        self._node, self._take, self._times = node, take, times
        self.name = name or "camera"
        self._prefix = f"{name}/" if name else ""
        self.states: dict[str, InputState] = {}
        self._since_s = time.monotonic()
        try:
            self._subscribe_all(config)
        except Exception:
            self.destroy()
            raise
        self.streams = CameraStreams(
            self.name,
            depth=config.use_depth,
            labels=config.use_mask or config.use_detections,
            depth_info=config.depth_camera_info,
            rectified=is_rectified(self.states["color"].topic),
            depth_rectified=config.use_depth and is_rectified(self.states["depth"].topic),
        )

    def _subscribe_all(self, config: NodeConfig) -> None:
        compressed = config.image_transport == "compressed"
        self._subscribe("color", CompressedImage if compressed else Image, "/compressed" if compressed else "")
        if config.use_depth:
            self._subscribe("depth", *_DEPTH[config.depth_transport])
        self._subscribe("info", CameraInfo)
        if config.depth_camera_info:
            self._subscribe("depth_info", CameraInfo)
        if config.use_mask:
            self._subscribe("labels", Image)
        if config.use_detections:
            self._subscribe("detections", _detection_type("detections"))
        if config.use_detections_3d:
            self._subscribe("detections_3d", _detection_type("detections_3d"))

    def destroy(self) -> None:
        """Close all subscriptions."""
        for state in self.states.values():
            if state.subscription is not None:
                self._node.destroy_subscription(state.subscription)
        self.states.clear()

    def silent(self, after_s: float) -> list[str]:
        """Return the roles of required inputs from which nothing has come for `after_s`."""
        now_s = time.monotonic()
        return [
            role
            for role, state in self.states.items()
            if state.required and now_s - (state.last_s if state.received else self._since_s) > after_s
        ]

    def _subscribe(self, role: str, kind: Any, suffix: str = "", required: bool = True) -> None:
        topic = self._node.resolve_topic_name(f"{self._prefix}{INPUT_TOPICS[role].name}") + suffix  # after remapping
        state = self.states[role] = InputState(topic, _name_of(kind), required=required)

        def callback(message: Any) -> None:
            begun_s = time.perf_counter()
            stamp = message.header.stamp
            state.arrived(stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id)
            self._take(self.name, role, message)
            self._times.seconds.append(time.perf_counter() - begun_s)

        def incompatible(event: Any) -> None:
            state.incompatible = qos.policy_name(event.last_policy_kind)
            self._node.get_logger().warning(
                f"a publisher on {topic} offers a {state.incompatible} that this subscription does not accept; set "
                f"qos_overrides.{topic}.subscription.{state.incompatible} or change the publisher"
            )

        def lost(event: Any) -> None:
            state.lost = event.total_count

        state.subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            qos.sensor(),
            event_callbacks=qos.SubscriptionEventCallbacks(
                incompatible_qos=incompatible, message_lost=lost, use_default_callbacks=False
            ),
            qos_overriding_options=qos.overridable(),
        )


def _name_of(kind: Any) -> str:
    """Return the name of a message type as the ROS graph writes it."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def _detection_type(role: str) -> Any:
    topic = INPUT_TOPICS[role]
    try:
        return getattr(importlib.import_module("vision_msgs.msg"), topic.msgtype.rpartition("/")[2])
    except ImportError as error:
        needed_for, cure = f"parameter {topic.needs} = true", "sudo apt install ros-$ROS_DISTRO-vision-msgs"
        raise DependencyError("vision_msgs", needed_for, cure) from error
