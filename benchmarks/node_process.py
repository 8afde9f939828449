"""The node as a process of its own, a client that asks it, and what /proc says of it, for `benchmarks/node.py`."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from camera_stream import DEPTH, IMAGE, INFO

NODE = "/completion_node"
PATIENCE_S = 60.0
_TICKS_HZ = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Client:
    """Talks to the node: goals, lifecycle, diagnostics; and notes when objects arrive."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.action import ActionClient
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sparse_recon.action import CompleteObject
        from sparse_recon.msg import CompletedObjectArray

        rclpy.init(args=[])
        self.node = rclpy.create_node("node_benchmark")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.figures: dict[str, dict[str, str]] = {}
        self.arrays = 0
        self.history: list[dict[str, float]] = []
        self.publish_latency_s: list[float] = []
        self.codes: list[str] = []
        self.goal_s: list[float] = []
        self.complete = ActionClient(self.node, CompleteObject, f"{NODE}/complete")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note_figures, 10)
        self.node.create_subscription(CompletedObjectArray, f"{NODE}/objects", self._note_objects, latched, raw=True)

    def spin_until(self, done: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
        until = time.monotonic() + patience_s
        while not done():
            if time.monotonic() > until:
                sys.exit(f"{what} has not happened within {patience_s:g} s; the node says {self.figures}")
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, kind: Any, service: str, **fields: Any) -> Any:
        client = self.node.create_client(kind, f"{NODE}/{service}")
        self.spin_until(client.service_is_ready, f"service {service}")
        future = client.call_async(kind.Request(**fields))
        self.spin_until(future.done, f"the answer of {service}")
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, transition: int) -> None:
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        if not self.call(ChangeState, "change_state", transition=Transition(id=transition)).success:
            sys.exit(f"transition {transition} failed; the node says {self.figures.get('node')}")

    def ask_for(self, object_id: str, **fields: Any) -> Any:
        """Send a goal; its code and duration are noted when it has ended. Returns whether it has."""
        from sparse_recon.action import CompleteObject

        goal = CompleteObject.Goal(select_by=CompleteObject.Goal.SELECT_BY_ID, object_id=object_id, **fields)
        started, ended = time.monotonic(), []

        def note(future: Any) -> None:
            result = future.result().result
            ended.append(True)
            self.goal_s.append(time.monotonic() - started)
            self.codes.append(f"{result.code} {result.message}".strip())

        def accepted(future: Any) -> None:
            handle = future.result()
            if handle.accepted:
                handle.get_result_async().add_done_callback(note)
            else:
                ended.append(True)
                self.codes.append("rejected")

        self.complete.send_goal_async(goal).add_done_callback(accepted)
        return lambda: bool(ended)

    def _note_figures(self, array: Any) -> None:
        for status in array.status:
            owner, _, part = status.name.partition(": ")
            if owner == NODE.lstrip("/"):
                self.figures[part] = {"message": status.message} | {item.key: item.value for item in status.values}
        self.arrays += 1
        ingest = self.figures.get("ingest")
        if ingest is not None:
            self.history.append({key: float(value) for key, value in ingest.items() if _is_number(value)})

    def _note_objects(self, data: bytes) -> None:
        sec, nanosec = struct.unpack_from("<iI", data, 4)  # the header's stamp: that of the newest frame used
        if sec:
            self.publish_latency_s.append((time.time_ns() - sec * 10**9 - nanosec) * 1e-9)


@contextmanager
def node_process(*parameters: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node; it must end with 0 on SIGINT."""
    remaps = [f"image:={IMAGE}", f"depth:={DEPTH}", f"camera_info:={INFO}"]
    words = [word for remap in remaps for word in ("-r", remap)]
    words += [word for parameter in parameters for word in ("-p", parameter)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparse_recon.ros.completion_node", "--ros-args", *words, "--log-level", "warn"],
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code: int | None = process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        if code:
            print(f"the node ended with {code}", file=sys.stderr)


def process_figures(pid: int) -> dict[str, float]:
    """Return resident bytes, threads, and processor seconds of a process and of its main thread."""
    folder = Path(f"/proc/{pid}")
    return {
        "rss_bytes": int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES,
        "threads": len(list((folder / "task").iterdir())),
        "cpu_s": _cpu_s(folder / "stat"),
        "main_cpu_s": _cpu_s(folder / "task" / str(pid) / "stat"),
    }


def _cpu_s(stat: Path) -> float:
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS_HZ


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d*)?", text) is not None
