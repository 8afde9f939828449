"""Where the node's camera poses come from: /tf and /tf_static, kept in this package's own tree or also in tf2_ros."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from sparse_recon.config.session_config import AssemblyConfig
from sparse_recon.errors import DependencyError, ErrorCode, TransformError
from sparse_recon.geometry.transforms import TransformSource, TransformTree, pose_from_quaternion
from sparse_recon.messages.fields import Fields, header_fields, pose_fields
from sparse_recon.ros import qos
from sparse_recon.ros.camera_inputs import CallbackTimes
from sparse_recon.ros.convert import to_message
from sparse_recon.types import Float64


def transform_source(kind: str, node: Node, config: AssemblyConfig) -> TransformSource:
    """Return the source that parameter `transform_source` names.

    Raises
    ------
    DependencyError
        If it is tf2_ros, and that cannot be imported.
    """
    if kind == "tf2_ros":
        try:
            return Tf2Transforms(node, config)
        except ImportError as error:
            needed_for, cure = (
                f"parameter transform_source = tf2_ros ({error})",
                "sudo apt install ros-$ROS_DISTRO-tf2-ros",
            )
            raise DependencyError("tf2_ros", needed_for, cure) from error
    return TransformTree(history_s=config.history_s, max_gap_s=config.max_gap_s)


class Tf2Transforms(TransformTree):
    """A tree whose poses are those of a `tf2_ros.Buffer`: every transform goes into both, in the order of the messages.

    The listener of tf2_ros is not used. It fills the buffer ahead of the images that wait in the queue, tells nobody
    that a late pose has come, and clears the buffer when the clock jumps, poses of the new loop included; and the
    buffer interpolates over gaps of any length.
    """

    def __init__(self, node: Node, config: AssemblyConfig) -> None:
        import tf2_ros

        super().__init__(history_s=config.history_s, max_gap_s=config.max_gap_s)
        self._tf2, self._node = tf2_ros, node
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=config.history_s), node=node)
        jump_handle = getattr(self._buffer, "jump_handle", None)  # not in Humble
        if jump_handle is not None:
            jump_handle.unregister()

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None:
        """Take one transform, as `TransformTree.add`."""
        super().add(parent, child, stamp_ns, T_parent_child, static)
        message = to_message(TransformStamped, _fields(parent, child, stamp_ns, T_parent_child))
        put = self._buffer.set_transform_static if static else self._buffer.set_transform
        put(message, self._node.get_name())

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64:
        """Return `T_target_source` (4, 4) at a stamp; errors as `TransformTree.lookup`."""
        super().lookup(target, source, stamp_ns)
        try:
            found = self._buffer.lookup_transform(target.lstrip("/"), source.lstrip("/"), Time(nanoseconds=stamp_ns))
        except self._tf2.TransformException as error:
            raise TransformError(ErrorCode.TF_EXTRAPOLATION, f"tf2: {error}; check clocks and /tf rate") from error
        t, q = found.transform.translation, found.transform.rotation
        return pose_from_quaternion((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))

    def clear(self) -> None:
        """Forget all moving transforms; static ones stay."""
        super().clear()
        self._buffer.clear()

    def destroy(self) -> None:
        """Close the service of the buffer."""
        self._node.destroy_service(self._buffer.srv)


class TransformSubscriptions:
    """Hands every transform of /tf and /tf_static on, for a source that does not listen by itself."""

    def __init__(self, node: Node, take: Callable[[Any, bool], None], times: CallbackTimes) -> None:
        from tf2_msgs.msg import TFMessage

        self._node, self._times = node, times
        self.received = 0
        self.incompatible: dict[str, str] = {}  # policy by topic
        self._subscriptions = [
            node.create_subscription(
                TFMessage,
                topic,
                partial(self._count, take, static),
                qos.transforms(static),
                event_callbacks=qos.SubscriptionEventCallbacks(
                    incompatible_qos=partial(self._refuse, topic), use_default_callbacks=False
                ),
                qos_overriding_options=qos.overridable(),
            )
            for topic, static in (("/tf", False), ("/tf_static", True))
        ]

    def _refuse(self, topic: str, event: Any) -> None:
        self.incompatible[topic] = qos.policy_name(event.last_policy_kind)

    def _count(self, take: Callable[[Any, bool], None], static: bool, message: Any) -> None:
        begun_s = time.perf_counter()
        self.received += 1
        take(message, static)
        self._times.seconds.append(time.perf_counter() - begun_s)

    def destroy(self) -> None:
        """Close both subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


def _fields(parent: str, child: str, stamp_ns: int, T_parent_child: Float64) -> Fields:
    at = pose_fields(T_parent_child)
    transform = {"translation": at["position"], "rotation": at["orientation"]}
    return {"header": header_fields(parent, stamp_ns), "child_frame_id": child, "transform": transform}
