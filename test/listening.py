"""A second process to talk to: commands started beside the test, and what arrives from them on topics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120.0
QUIET_S = 0.5


class Listener:
    """Subscriptions in the test's own process; `received` holds serialised messages by topic, in order of arrival."""

    def __init__(self, domain_id: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, domain_id=domain_id)
        self.node = rclpy.create_node("listener", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.received: dict[str, list[bytes]] = {}

    def subscribe(
        self,
        topic: str,
        message_type: Any,
        *,
        reliable: bool = True,
        latched: bool = False,
        depth: int = 1000,
        key: str = "",
    ) -> None:
        """Collect what arrives on a topic under its name, or under `key`."""
        qos = QoSProfile(
            depth=depth,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        arrived = self.received[key or topic] = []
        self.node.create_subscription(message_type, topic, arrived.append, qos, raw=True)

    def spin_until(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Take messages until `done` says so; fails after `patience_s`."""
        deadline = time.monotonic() + patience_s
        while not done():
            assert time.monotonic() < deadline, {topic: len(got) for topic, got in self.received.items()}
            self._executor.spin_once(timeout_sec=0.05)

    def spin_until_ended(self, process: subprocess.Popen[str]) -> None:
        """Take messages until a process has ended, and those that it left on their way."""
        self.spin_until(lambda: process.poll() is not None)
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + QUIET_S:
            before = sum(map(len, self.received.values()))
            self._executor.spin_once(timeout_sec=0.05)
            if sum(map(len, self.received.values())) > before:
                quiet_since = time.monotonic()

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@contextmanager
def command(words: Sequence[str], domain_id: int, without: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Start `sparse_recon WORDS` as a process of its own session; it is killed at the end if it still runs.

    `without` names variables of the environment that it does not get.
    """
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment["ROS_DOMAIN_ID"] = str(domain_id)
    # Ctrl-C reaches the command even where the tests run in the background of a shell, which ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "sparse_recon.cli.main", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
