"""The node's health on /diagnostics (REP 107), published whatever state the node is in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from sparse_recon.ros.health import Health


class Diagnostics:
    """Publishes what `health` says, by the steady clock: also while simulated time stands still.

    Parameters
    ----------
    health : called in the executor's thread for the parts of the node as they are now.
    """

    def __init__(self, node: Node, period_s: float, health: Callable[[], Iterable[Health]]) -> None:
        self._node, self._health = node, health
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(period_s, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set_period(self, period_s: float) -> None:
        """Publish this often from now on."""
        self._timer.timer_period_ns = round(period_s * 1e9)

    def publish(self) -> None:
        """Publish one array now."""
        try:
            array = DiagnosticArray()
            array.header.stamp = self._node.get_clock().now().to_msg()
            name = self._node.get_fully_qualified_name().lstrip("/")
            array.status = [_status(name, item) for item in self._health()]
            self._publisher.publish(array)
        except Exception as error:  # a figure that cannot be read must not end the node
            self._node.get_logger().error(f"diagnostics: {error!r}", throttle_duration_sec=10.0)


class Stopwatch:
    """Share of one core that threads took since the last question."""

    def __init__(self) -> None:
        self._last_s, self._last_cpu_s = time.monotonic(), 0.0

    def percent(self, cpu_s: float) -> float:
        """Return the percentage since the last call, given all processor seconds so far."""
        now_s = time.monotonic()
        share = 100.0 * (cpu_s - self._last_cpu_s) / max(now_s - self._last_s, 1e-6)
        self._last_s, self._last_cpu_s = now_s, cpu_s
        return max(share, 0.0)


def _status(name: str, health: Health) -> DiagnosticStatus:
    values = {"code": f"{int(health.code)} {health.code.name}", **health.values}
    return DiagnosticStatus(
        level=bytes([health.level]),
        name=f"{name}: {health.part}",
        message=health.message,
        hardware_id=name,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
