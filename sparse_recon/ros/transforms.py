"""Where the node's camera poses come from: tf2_ros on a robot that has it, else this package's own tree."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from sparse_recon.config import AssemblyConfig
from sparse_recon.errors import DependencyError, ErrorCode, TransformError
from sparse_recon.geometry.transforms import TransformSource, TransformTree, pose_from_quaternion
from sparse_recon.ros import qos
from sparse_recon.ros.camera_inputs import CallbackTimes
from sparse_recon.types import Float64


def transform_source(kind: str, node: Node, config: AssemblyConfig) -> TransformSource:
    """Return the source that parameter `transform_source` names.

    Raises
    ------
    DependencyError
        If it is tf2_ros, and that cannot be imported.
    """
    if kind != "tree":
        try:
            return Tf2Transforms(node, config)
        except ImportError as error:
            if kind == "tf2_ros":
                raise DependencyError(
                    "tf2_ros",
                    f"parameter transform_source = tf2_ros ({error})",
                    "sudo apt install ros-$ROS_DISTRO-tf2-ros",
                ) from error
    return TransformTree(history_s=config.history_s, max_gap_s=config.max_gap_s)


class Tf2Transforms:
    """A `TransformSource` over `tf2_ros.Buffer`: at the stamp that is asked for, interpolated, never extrapolated.

    tf2 interpolates over gaps of any length within its history; gaps longer than `assembly.max_gap_s` go unnoticed.
    """

    def __init__(self, node: Node, config: AssemblyConfig) -> None:
        import tf2_ros

        self._tf2 = tf2_ros
        self._node = node
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=config.history_s), node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None:
        """Do nothing: the listener of tf2_ros has its own subscriptions."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64:
        """Return `T_target_source` (4, 4) at a stamp; errors as `TransformTree.lookup`."""
        target, source = target.lstrip("/"), source.lstrip("/")
        if target == source:
            return np.eye(4)
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns)).transform
        except self._tf2.ExtrapolationException as error:
            advice = "nothing is extrapolated: check clocks and /tf rate"
            raise TransformError(ErrorCode.TF_EXTRAPOLATION, f"{error}; {advice}") from error
        except self._tf2.ConnectivityException as error:
            advice = "publish the transform between the two trees"
            raise TransformError(ErrorCode.TF_NOT_CONNECTED, f"{error}; {advice}") from error
        except (self._tf2.LookupException, self._tf2.InvalidArgumentException) as error:
            raise TransformError(ErrorCode.TF_FRAME_UNKNOWN, f"{error}; check frame_id and /tf") from error
        t, q = found.translation, found.rotation
        return pose_from_quaternion((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))

    def root(self, frame: str | None = None) -> str:
        """Return the topmost frame above `frame`, or the only root there is."""
        parents = self._parents()
        if frame is not None:
            if frame not in self.frames():
                raise TransformError(
                    ErrorCode.TF_FRAME_UNKNOWN,
                    f"frame {frame!r} is in no transform; check frame_id and /tf",
                )
            while frame in parents:
                frame = parents[frame]
            return frame
        roots = sorted(set(parents.values()) - parents.keys())
        if len(roots) != 1:
            code = ErrorCode.TF_NOT_CONNECTED if roots else ErrorCode.TF_FRAME_UNKNOWN
            raise TransformError(code, f"the transforms have the roots {', '.join(roots) or 'none'}; name world_frame")
        return roots[0]

    def frames(self) -> frozenset[str]:
        """Return the names of all frames seen."""
        parents = self._parents()
        return frozenset(parents) | frozenset(parents.values())

    def newest_ns(self, child: str) -> int | None:
        """Return None: jumps back in time are noticed by images and by the clock, tf2_ros clears itself."""
        return None

    def covers(self, target: str, source: str, stamp_ns: int) -> bool:
        """Return False while a later transform may still answer `lookup`."""
        try:
            newest_ns = self.newest_common_ns(target, source)
        except TransformError:
            return False
        return newest_ns == 0 or newest_ns >= stamp_ns

    def newest_common_ns(self, target: str, source: str) -> int:
        """Return the newest stamp at which `lookup` can answer; 0 where nothing between the two moves."""
        try:
            newest = self._buffer.get_latest_common_time(target.lstrip("/"), source.lstrip("/"))
        except self._tf2.TransformException as error:
            raise TransformError(ErrorCode.TF_FRAME_UNKNOWN, f"{error}; check frame_id and /tf") from error
        return int(newest.nanoseconds)

    def clear(self) -> None:
        """Forget all moving transforms; static ones stay."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Close the subscriptions of the listener, and the service and the clock's callback of the buffer."""
        self._listener.unregister()
        self._node.destroy_service(self._buffer.srv)
        jump_handle = getattr(self._buffer, "jump_handle", None)  # not in Humble
        if jump_handle is not None:
            jump_handle.unregister()

    def _parents(self) -> dict[str, str]:
        import yaml

        known = yaml.safe_load(self._buffer.all_frames_as_yaml()) or {}
        return {child: entry["parent"] for child, entry in known.items() if isinstance(entry, dict)}


class TransformSubscriptions:
    """Hands every transform of /tf and /tf_static on, for a source that does not listen by itself."""

    def __init__(self, node: Node, take: Callable[[Any, bool], None], times: CallbackTimes) -> None:
        from tf2_msgs.msg import TFMessage

        self._node, self._times = node, times
        self.received = 0
        self._subscriptions = [
            node.create_subscription(
                TFMessage,
                topic,
                partial(self._count, take, static),
                qos.transforms(static),
                qos_overriding_options=qos.overridable(),
            )
            for topic, static in (("/tf", False), ("/tf_static", True))
        ]

    def _count(self, take: Callable[[Any, bool], None], static: bool, message: Any) -> None:
        begun_s = time.perf_counter()
        self.received += 1
        take(message, static)
        self._times.seconds.append(time.perf_counter() - begun_s)

    def destroy(self) -> None:
        """Close both subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
