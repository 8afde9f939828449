"""Where the node's camera poses come from: /tf and /tf_static, kept in this package's own tree or in tf2_ros."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rclpy.node import Node

from sparse_recon.config.session_config import AssemblyConfig
from sparse_recon.errors import DependencyError
from sparse_recon.geometry.transforms import TransformSource, TransformTree
from sparse_recon.ros import qos
from sparse_recon.ros.camera_inputs import CallbackTimes
from sparse_recon.ros.tf2_transforms import Tf2Transforms


def transform_source(kind: str, node: Node, config: AssemblyConfig) -> TransformSource:
    """Return the source that parameter `transform_source` names.

    Raises
    ------
    DependencyError
        If it is tf2_ros, and that cannot be imported.
    """
    if kind == "tf2_ros":
        try:
            return Tf2Transforms(config, node)
        except ImportError as error:
            needed_for, cure = (
                f"parameter transform_source = tf2_ros ({error})",
                "sudo apt install ros-$ROS_DISTRO-tf2-ros",
            )
            raise DependencyError("tf2_ros", needed_for, cure) from error
    return TransformTree(history_s=config.history_s, max_gap_s=config.max_gap_s)


class TransformSubscriptions:
    """Hands on every message of /tf and /tf_static, and of those in other namespaces, as bytes.

    Parameters
    ----------
    namespaces : whose tf and tf_static are read too.
    take : gets the serialised TFMessage, and whether it is static.
    """

    def __init__(
        self,
        node: Node,
        namespaces: Sequence[str],
        take: Callable[[bytes, bool], None],
        times: CallbackTimes,
    ) -> None:
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
                raw=True,
            )
            for namespace in ("", *namespaces)
            for topic, static in ((f"{namespace}/tf", False), (f"{namespace}/tf_static", True))
        ]

    def _refuse(self, topic: str, event: Any) -> None:
        self.incompatible[topic] = qos.policy_name(event.last_policy_kind)

    def _count(self, take: Callable[[bytes, bool], None], static: bool, message: bytes) -> None:
        begun_s = time.perf_counter()
        self.received += 1
        take(message, static)
        self._times.seconds.append(time.perf_counter() - begun_s)

    def unread(self) -> list[str]:
        """Return the topics of transforms that are published and not read here."""
        read = {subscription.topic_name for subscription in self._subscriptions}
        return sorted(
            topic
            for topic, kinds in self._node.get_topic_names_and_types()
            if topic.rpartition("/")[2] in ("tf", "tf_static")
            and topic not in read
            and "tf2_msgs/msg/TFMessage" in kinds
            and self._node.count_publishers(topic)
        )

    def destroy(self) -> None:
        """Close all subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
