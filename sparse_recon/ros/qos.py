"""Quality of service: camera streams are best effort, results stay for whoever comes later. YAML may override both."""

from __future__ import annotations

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = [
    "PublisherEventCallbacks",
    "SubscriptionEventCallbacks",
    "latched",
    "overridable",
    "policy_name",
    "sensor",
    "services",
    "transforms",
]

# Images of one second at 30 Hz: sending one large result keeps the executor from its callbacks for a third of that.
SENSOR_DEPTH = 30
REQUESTS_DEPTH = 4096  # room is taken for those alone that come


def policy_name(kind: int) -> str:
    """Return the name of a policy as `qos_overrides` writes it."""
    try:
        return QoSPolicyKind(kind).name.lower()
    except ValueError:
        return f"policy {kind}"


def sensor() -> QoSProfile:
    """Best effort and volatile: it matches every publisher, and a lost image is not sent again."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST, depth=SENSOR_DEPTH, reliability=QoSReliabilityPolicy.BEST_EFFORT
    )


def latched() -> QoSProfile:
    """Reliable and transient local: a subscriber that comes later receives the last message."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )


def transforms(static: bool) -> QoSProfile:
    """The profiles of tf2_ros for /tf and /tf_static."""
    durability = QoSDurabilityPolicy.TRANSIENT_LOCAL if static else QoSDurabilityPolicy.VOLATILE
    return QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=100, durability=durability)


def services() -> QoSProfile:
    """Room for many requests at once: by default the eleventh that waits pushes out the first without a word."""
    return QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=REQUESTS_DEPTH)


def overridable() -> QoSOverridingOptions:
    """Let parameters `qos_overrides.<topic>.<subscription or publisher>.<policy>` replace each policy."""
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    return QoSOverridingOptions(policy_kinds=kinds)
