"""The executable `completion_node`: a lifecycle node that ends with 0 on SIGINT and SIGTERM in every state."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

_LAST_RESORT_S = 4.0


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal comes; return the exit code."""
    signals = Signals()
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from sparse_recon.ros.log import RosLogHandler
    from sparse_recon.ros.node import CompletionNode

    rclpy.init(args=None if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    node = CompletionNode()
    logging.getLogger("sparse_recon").addHandler(RosLogHandler(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopped = threading.Event()

    def stop() -> None:
        node.stopping.set()
        node.posts.post(stopped.set)

    signals.then(stop)
    node.posts.post(node.start_itself)
    while not stopped.is_set():
        try:
            executor.spin_once()
        except ExternalShutdownException:
            break
        except Exception:
            logging.getLogger(__name__).exception("a callback failed; the node goes on")
    ended = node.close()
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    if not ended:  # a native call that cannot be interrupted would hold up the interpreter's end
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
