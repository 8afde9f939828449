"""The executable `completion_node`: a lifecycle node that ends with 0 on SIGINT and SIGTERM in every state."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

_WIND_DOWN_S = 1.5  # running goals get this long to end
_FAREWELL_S = 0.3  # and their results this long to be sent
_LAST_RESORT_S = 4.5


class Signals:
    """Takes SIGINT and SIGTERM in a thread of its own: while rcl waits, Python's own handlers do not run."""

    def __init__(self) -> None:
        self.received = threading.Event()
        self._then: Callable[[], None] = lambda: None
        self._arrived, wake = socket.socketpair()
        wake.setblocking(False)
        self._wake = wake  # the interpreter keeps only its number
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def then(self, function: Callable[[], None]) -> None:
        """Call this when a signal comes, or now if one has come."""
        self._then = function
        if self.received.is_set():
            function()

    def _wait(self) -> None:
        self._arrived.recv(1)
        last_resort = threading.Timer(_LAST_RESORT_S, os._exit, [0])
        last_resort.daemon = True
        last_resort.start()
        self.received.set()
        self._then()


def spin(executor: Any, timeout_s: float | None = None) -> None:
    """Run callbacks once; one that fails by a mistake is logged and costs nothing else."""
    from rclpy.executors import ExternalShutdownException

    try:
        executor.spin_once(timeout_sec=timeout_s)
    except ExternalShutdownException:
        raise SystemExit(0) from None
    except Exception:
        logging.getLogger(__name__).exception("a callback failed; the node goes on")


def wind_down(node: Any, executor: Any) -> None:
    """End what runs, and go on until the clients of running goals know it."""
    node.wind_down()
    until_s = time.monotonic() + _WIND_DOWN_S
    if not node.calls_running:
        return
    while node.calls_running and time.monotonic() < until_s:
        spin(executor, 0.05)
    until_s = time.monotonic() + _FAREWELL_S
    while time.monotonic() < until_s:
        spin(executor, 0.05)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal comes; return the exit code."""
    signals = Signals()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from sparse_recon.machine.resident_memory import tame_allocator
    from sparse_recon.ros.log import RosLogHandler
    from sparse_recon.ros.node import CompletionNode

    tame_allocator()
    rclpy.init(args=None if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    node = CompletionNode()
    logging.getLogger("sparse_recon").addHandler(RosLogHandler(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def stop() -> None:
        node.stopping.set()
        node.executor_calls.call_soon(node.wind_down)  # wakes the executor

    signals.then(stop)
    node.executor_calls.call_soon(node.start_itself)
    while not node.stopping.is_set():
        spin(executor)
    wind_down(node, executor)
    ended = node.close()
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    if not ended:  # a native call that cannot be interrupted would hold up the interpreter's end
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
