"""What a 30 Hz stream costs a goal, and what a robot's /tf costs the input, for `benchmarks/node.py --keep-up`.

A camera on a robot of 30 links (/tf at 50 Hz) visits eight views of a table and stays at the last, at 30 Hz. Then, in
turns: a goal for an object from eight views beside the stream, the same goal while the stream is stopped, and the same
completion offline, in a process of its own with the same eight frames, while the stream is stopped and the node idle.
Before that, for some seconds without goals, the node's own figure of what its input takes of a core. Medians are told,
of seconds and of the processor seconds of the whole process meanwhile, which other work on the machine hardly changes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from node_process import NODE, PATIENCE_S, Client, node_process, process_figures

STREAM = Path(__file__).with_name("camera_stream.py")
VIEWS = 8
SETTLE_S = 10.0
KINDS = ("streaming", "paused", "offline")

Taken = tuple[float, float]  # seconds, and processor seconds


def measure_keep_up(frames: Path, repeats: int, seconds: float, model: str) -> dict[str, Any]:
    """Return goal durations of the three kinds, and the share of a core that input takes."""
    client = Client()
    report: dict[str, Any] = {kind: [] for kind in KINDS} | {"model": model}
    with (
        node_process("autostart:=true", f"model:={model}") as process,
        _stream(frames) as stream,
        _Offline(frames, model) as offline,
    ):
        name = _seen_object(client)
        report["ingest_cpu_percent"], report["node_cpu_percent"] = _input_share(client, process.pid, seconds)
        offline.complete()  # what is slow the first time is over
        _goal(client, process.pid, name)
        for _ in range(repeats):
            report["streaming"].append(_goal(client, process.pid, name))
            stream.send_signal(signal.SIGSTOP)
            _wait(client, 1.0)  # what is on its way arrives
            report["paused"].append(_goal(client, process.pid, name))
            report["offline"].append(offline.complete())
            stream.send_signal(signal.SIGCONT)
            _wait(client, 2.0)
        report["codes"] = sorted(set(client.codes))
        report["dropped"] = int(client.figures["ingest"]["dropped"])
    return report


@contextmanager
def _stream(frames: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(STREAM), "--frames", str(frames), "--seconds", "100000", "--robot", "--still"]
    stream = subprocess.Popen([*command, str(VIEWS)], stdout=subprocess.PIPE, text=True)
    try:
        assert stream.stdout is not None
        if stream.stdout.readline().strip() != "ready":
            sys.exit("the stream could not begin")
        yield stream
    finally:
        stream.kill()
        stream.wait()


class _Offline:
    """A process that completes the same object from the same views, once for each line that it gets."""

    def __init__(self, frames: Path, model: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(frames), model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def complete(self) -> Taken:
        """Return what it took."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("complete\n")
        self._process.stdin.flush()
        seconds, cpu_s = map(float, self._process.stdout.readline().split())
        return seconds, cpu_s

    def __enter__(self) -> _Offline:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _seen_object(client: Client) -> str:
    """Wait until the camera has been everywhere; return the name of the first object."""
    from sparse_recon.srv import GetObjects

    client.spin_until(client.complete.server_is_ready, "the action server")

    def views() -> float:
        return float(client.figures.get("ingest", {}).get("new_views", 0))

    client.spin_until(lambda: views() >= VIEWS, "eight views")
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        answer = client.call(GetObjects, "get_objects", with_completed=False)
        if answer.candidates:
            return str(answer.candidates[0].object_id)
    sys.exit(f"{NODE} sees no object: {answer.code} {answer.message}; it says {client.figures}")


def _input_share(client: Client, pid: int, seconds: float) -> tuple[float, float]:
    """Return what input takes of a core, as the node measures it, and what the whole node takes, without goals."""
    _wait(client, SETTLE_S)
    seen, before, started = len(client.history), process_figures(pid), time.monotonic()
    _wait(client, seconds)
    shares = [entry["ingest_cpu_percent"] for entry in client.history[seen:]]
    cpu_s = process_figures(pid)["cpu_s"] - before["cpu_s"]
    return float(np.mean(shares)), 100 * cpu_s / (time.monotonic() - started)


def _goal(client: Client, pid: int, name: str) -> Taken:
    before = process_figures(pid)["cpu_s"]
    client.spin_until(client.ask_for(name, max_views=VIEWS), "a goal", 10 * PATIENCE_S)
    return client.goal_s[-1], process_figures(pid)["cpu_s"] - before


def _wait(client: Client, seconds: float) -> None:
    until = time.monotonic() + seconds
    client.spin_until(lambda: time.monotonic() > until, "time")


def keep_up_table(report: dict[str, Any]) -> str:
    """Return the figures as lines."""
    median = {kind: np.median(report[kind], axis=0) for kind in KINDS}

    def told(kind: str) -> str:
        times = ", ".join(f"{seconds:.2f}" for seconds, _ in sorted(report[kind]))
        ratio, cpu_ratio = median[kind] / median["offline"]
        return (
            f"{median[kind][0]:.2f} s ({times}), {ratio:.2f} : 1; {median[kind][1]:.2f} s of processor time, "
            f"{cpu_ratio:.2f} : 1"
        )

    rows = [
        (f"goal beside the 30 Hz stream, {report['model']}", told("streaming")),
        ("the same while the stream is stopped", told("paused")),
        ("the same offline", told("offline")),
        ("codes, messages dropped", f"{', '.join(report['codes'])}, {report['dropped']}"),
        ("input with the robot's /tf, of a core", f"{report['ingest_cpu_percent']:.1f} %"),
        ("  the whole node, without goals", f"{report['node_cpu_percent']:.1f} %"),
    ]
    return "\n".join(f"{what:<42} {value}" for what, value in rows)


def _complete_offline(frames: Path, model: str) -> None:
    """Complete the first object that stands there whenever a line comes; print the seconds."""
    from sparse_recon.config.session_config import load_config
    from sparse_recon.requests import CompletionRequest
    from sparse_recon.session.session import CompletionSession
    from sparse_recon.types import CameraIntrinsics, Frame

    data = np.load(frames)
    session = CompletionSession(load_config({"model": model}))
    height, width = data["depth_mm"].shape[1:]
    camera = CameraIntrinsics(width, height, data["K"])
    for number, k in enumerate(np.linspace(0, len(data["rgb"]) - 1, VIEWS)):
        view = round(k)
        depth_m = data["depth_mm"][view] * np.float32(1e-3)
        depth_m[depth_m == 0] = np.nan
        session.add_frame(Frame(data["rgb"][view], depth_m, camera, data["T_world_cam"][view], 1 + number * 10**9))
    name = session.objects()[0].object_id
    for _ in sys.stdin:
        started, started_cpu = time.perf_counter(), time.process_time()
        session.complete(CompletionRequest(object_id=name, max_views=VIEWS))
        print(time.perf_counter() - started, time.process_time() - started_cpu, flush=True)


if __name__ == "__main__":
    _complete_offline(Path(sys.argv[1]), sys.argv[2])
    sys.exit(0)
