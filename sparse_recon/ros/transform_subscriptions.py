"""Where the node's camera poses come from: /tf and /tf_static, kept in this package's own tree or in tf2_ros."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.executors import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy
from rclpy.subscription import Subscription

from sparse_recon.config.input_config import AssemblyConfig
from sparse_recon.errors import DependencyError
from sparse_recon.geometry.transforms import TransformSource, TransformTree
from sparse_recon.ros import qos
from sparse_recon.ros.tf2_transforms import Tf2Transforms

_LOOKS_HZ = 50.0
_RELIABLE, _LATCHED = QoSReliabilityPolicy.RELIABLE, QoSDurabilityPolicy.TRANSIENT_LOCAL
_TAKEN_AT_ONCE = 1000  # messages


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
    """Hands on all messages of /tf and /tf_static, and of those in other namespaces, as bytes.

    A thread looks for them `_LOOKS_HZ` times a second and takes all that have come. The executor does not wait for
    them: waking it costs as much as fifty of these messages, and robots send hundreds a second. Nor does it wait for
    events of these subscriptions, for it would wake with every message that has not been taken.

    Parameters
    ----------
    namespaces : whose tf and tf_static are read too.
    take : gets serialised TFMessages, and whether they are static, in that thread.

    Attributes
    ----------
    received : messages so far.
    cpu_s : processor seconds of the thread.
    """

    def __init__(self, node: Node, namespaces: Sequence[str], take: Callable[[list[bytes], bool], None]) -> None:
        from tf2_msgs.msg import TFMessage

        self._node, self._take = node, take
        self.received, self.cpu_s = 0, 0.0
        group = _Unawaited()
        self._subscriptions = {
            node.create_subscription(
                TFMessage,
                topic,
                partial(self._hand_on_one, static),
                qos.transforms(static),
                callback_group=group,
                event_callbacks=qos.SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=qos.overridable(),
                raw=True,
            ): static
            for namespace in ("", *namespaces)
            for static in (True, False)
            for topic in (f"{namespace}/tf_static" if static else f"{namespace}/tf",)
        }
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="transforms", daemon=True)
        self._thread.start()

    @property
    def incompatible(self) -> dict[str, str]:
        """Policies by topic, where a publisher offers less than is asked for, as tf2 asks."""
        found = {}
        for subscription in self._subscriptions:
            asked = subscription.qos_profile
            for publisher in self._node.get_publishers_info_by_topic(subscription.topic_name):
                offered = publisher.qos_profile
                if asked.reliability == _RELIABLE != offered.reliability:
                    found[subscription.topic_name] = "reliability"
                elif asked.durability == _LATCHED != offered.durability:
                    found[subscription.topic_name] = "durability"
        return found

    def _look(self) -> None:
        while not self._ended.wait(1.0 / _LOOKS_HZ):
            for subscription, static in self._subscriptions.items():
                try:
                    with subscription.handle:
                        messages = list(islice(_waiting(subscription), _TAKEN_AT_ONCE))
                except InvalidHandle:  # it was destroyed meanwhile
                    return
                if messages:
                    self._hand_on(messages, static)
            self.cpu_s = time.thread_time()

    def _hand_on_one(self, static: bool, message: bytes) -> None:
        """Take what an executor has that waits all the same."""
        self._hand_on([message], static)

    def _hand_on(self, messages: list[bytes], static: bool) -> None:
        self.received += len(messages)
        self._take(messages, static)

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
        """End the thread and close all subscriptions."""
        self._ended.set()
        self._thread.join()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class _Unawaited(CallbackGroup):
    """Subscriptions that no executor waits for."""

    def can_execute(self, entity: Any) -> bool:
        """Return whether an executor may wait for it."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return whether an executor may go on with it."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing."""


def _waiting(subscription: Subscription) -> Iterator[bytes]:
    """Yield the serialised messages that have come, until there are none."""
    while (found := subscription.handle.take_message(subscription.msg_type, True)) is not None:
        yield found[0]
