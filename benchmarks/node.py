"""How does the node keep up with a camera while it completes objects? Nothing here is asserted.

    python benchmarks/node.py [--seconds 60] [--every 2] [--json FILE]
    python benchmarks/node.py --keep-up [--repeats 5] [--json FILE]
    python benchmarks/node.py --cycles 1000 [--json FILE]

The first: another process sends 640x480 RGB-D at 30 Hz with a moving camera (`benchmarks/camera_stream.py`), a client
asks for an object every 2 s, best-effort images as from a camera driver. Told are

- images sent, received and dropped, and keyframes lost, as the node counts them;
- duration of the input callbacks (p50, p99), as the node measures them over its last 4096;
- ingest: share of one core of the threads that take and use messages, as the node measures it; and by /proc the share
  of its main thread, which runs all callbacks, and of the process with its completions;
- memory: resident bytes each second, and their slope (linear fit) after the warm-up;
- latency: from the stamp of the newest image used to the arrival of the objects in this process; and from the goal.

The second: what a stream costs a goal, and a robot's /tf the input: see `benchmarks/node_keep_up.py`.

The third: configure, activate, deactivate and clean up so many times; threads, memory, blocks that Python allocated
and subscriptions before and after. The node gets `ROS_DOMAIN_ID` of the caller. Run it on a quiet machine; the load
before the start is told.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from camera_stream import render
from node_keep_up import keep_up_table, measure_keep_up
from node_process import NODE, PATIENCE_S, Client, node_process, process_figures

HERE = Path(__file__).resolve().parent
STREAM = HERE / "camera_stream.py"
PROFILE = HERE.parent / "config" / "dds" / "fastdds_large_images.xml"


def measure_stream(frames: Path, seconds: float, every_s: float, warm_up_s: float) -> dict[str, Any]:
    """Stream, complete, and return all figures."""
    client = Client()
    with node_process("autostart:=true") as process:
        stream = subprocess.Popen(
            [sys.executable, str(STREAM), "--frames", str(frames), "--seconds", str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert stream.stdout is not None
            if stream.stdout.readline().strip() != "ready":
                sys.exit("the stream could not begin")
            objects = _seen_objects(client)
            samples, overruns = _watch(client, process.pid, objects, every_s, lambda: stream.poll() is not None)
            sent = json.loads(stream.stdout.read())
            client.spin_until(lambda: client.figures["worker"]["message"] == "idle", "the last completion")
            seen = len(client.history)
            client.spin_until(lambda: len(client.history) > seen + 1, "the last diagnostics")
        finally:
            if stream.poll() is None:
                stream.terminate()
            stream.wait()
    return _stream_report(client, sent, samples, overruns, warm_up_s)


def _seen_objects(client: Client) -> list[str]:
    """Wait until the node sees objects; return their names."""
    from sparse_recon.srv import GetObjects

    client.spin_until(client.complete.server_is_ready, "the action server")
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        answer = client.call(GetObjects, "get_objects", with_completed=False)
        if answer.candidates:
            return [candidate.object_id for candidate in answer.candidates]
        time.sleep(0.2)
    sys.exit(f"the node sees no object: {answer.code} {answer.message}; it says {client.figures}")


def _watch(
    client: Client, pid: int, objects: Sequence[str], every_s: float, ended: Callable[[], bool]
) -> tuple[list[dict[str, float]], int]:
    """Ask for one object after the other, sample the process each second; a goal still running is an overrun."""
    started = time.monotonic()
    next_goal = next_sample = started
    number, overruns, finished = 0, 0, lambda: True
    samples = []
    while not ended():
        client.executor.spin_once(timeout_sec=0.05)
        now = time.monotonic()
        if now >= next_goal:
            next_goal += every_s
            if finished():
                finished = client.ask_for(objects[number % len(objects)])
                number += 1
            else:
                overruns += 1
        if now >= next_sample:
            next_sample += 1.0
            samples.append({"at_s": now - started, **process_figures(pid)})
    client.spin_until(finished, "the last goal")
    return samples, overruns


def _stream_report(
    client: Client, sent: dict[str, Any], samples: list[dict[str, float]], overruns: int, warm_up_s: float
) -> dict[str, Any]:
    inputs = next(figures for part, figures in client.figures.items() if part.startswith("inputs"))
    received = {
        name: int(found.group(1))
        for name in ("image", "depth", "camera_info")
        if (found := re.search(r"(\d+) messages", inputs.get(name, ""))) is not None
    }
    ingest, memory = client.figures["ingest"], client.figures["memory"]
    warm = [sample for sample in samples if sample["at_s"] >= min(warm_up_s, samples[-1]["at_s"] / 2)]
    span_s = samples[-1]["at_s"] - samples[0]["at_s"]
    shares = [entry["ingest_cpu_percent"] for entry in client.history[2:-2]]
    return {
        "stream": sent,
        "received": received,
        "dropped": int(ingest["dropped"]),
        "rejected": int(ingest["rejected"]),
        "keyframes_kept": int(ingest["keyframes_kept"]),
        "keyframes_lost": int(ingest["keyframes_lost"]),
        "callback_p50_ms": float(ingest["callback_p50_ms"]),
        "callback_p99_ms": float(ingest["callback_p99_ms"]),
        "callback_p99_ms_worst": max(entry["callback_p99_ms"] for entry in client.history),
        "ingest_cpu_percent": float(np.mean(shares)) if shares else float("nan"),
        "ingest_cpu_percent_worst": max(shares, default=float("nan")),
        "main_thread_cpu_percent": 100 * (samples[-1]["main_cpu_s"] - samples[0]["main_cpu_s"]) / span_s,
        "process_cpu_percent": 100 * (samples[-1]["cpu_s"] - samples[0]["cpu_s"]) / span_s,
        "rss_bytes": samples[-1]["rss_bytes"],
        "rss_bytes_most": max(sample["rss_bytes"] for sample in samples),
        "memory_budget_bytes": int(memory["memory_budget_bytes"]),
        "frames_held": int(memory["frames"]),
        "frame_bytes": int(memory["frame_bytes"]),
        "rss_slope_mb_per_min": _slope(warm) * 60 / 1e6,
        "threads": samples[-1]["threads"],
        "goals": {"done": len(client.codes), "overruns": overruns, "codes": _counted(client.codes)},
        "goal_s": _percentiles(client.goal_s),
        "last_frame_to_objects_s": _percentiles(client.publish_latency_s),
        "samples": samples,
    }


def measure_cycles(cycles: int, warm_up: int = 3) -> dict[str, Any]:
    """Go through the lifecycle and compare the process before and after."""
    from lifecycle_msgs.msg import Transition as T

    client = Client()
    way = (T.TRANSITION_CONFIGURE, T.TRANSITION_ACTIVATE, T.TRANSITION_DEACTIVATE, T.TRANSITION_CLEANUP)
    with node_process("autostart:=false") as process:

        def state() -> dict[str, float]:
            seen = client.arrays
            client.spin_until(lambda: client.arrays > seen + 1, "diagnostics")  # the first may be of the state before
            open_files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            blocks = int(client.figures["node"].get("allocated_blocks", 0))
            counted = {"subscriptions": _subscriptions(client), "open_files": open_files, "python_blocks": blocks}
            return {**process_figures(process.pid), **counted}

        def turn(look: bool) -> dict[str, float]:
            for transition in way[:2]:
                client.change_state(transition)
            active = {}
            if look:
                client.spin_until(lambda: _subscriptions(client) > 0, "subscriptions")
                active = {f"{name}_active": value for name, value in state().items()}
            for transition in way[2:]:
                client.change_state(transition)
            return active

        for _ in range(warm_up):
            turn(look=False)
        before = {**turn(look=True), **state()}
        started, sizes = time.monotonic(), []
        for number in range(cycles):
            turn(look=False)
            sizes.append({"at_s": float(number), "rss_bytes": process_figures(process.pid)["rss_bytes"]})
        seconds = time.monotonic() - started
        after = {**turn(look=True), **state()}
        return {
            "cycles": cycles,
            "warm_up_cycles": warm_up,
            "ms_per_cycle": 1e3 * seconds / cycles,
            "before": before,
            "after": after,
            "rss_kb_per_cycle": _slope(sizes[len(sizes) // 2 :]) / 1e3,
        }


def _subscriptions(client: Client) -> int:
    names = client.node.get_subscriber_names_and_types_by_node(NODE.lstrip("/"), "/")
    return len(names)


def _slope(samples: Sequence[dict[str, float]]) -> float:
    """Return resident bytes per `at_s`, by a linear fit."""
    if len(samples) < 3:
        return float("nan")
    return float(np.polyfit([s["at_s"] for s in samples], [s["rss_bytes"] for s in samples], 1)[0])


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {name: float(np.percentile(seconds, q)) for name, q in (("p50", 50), ("p90", 90), ("worst", 100))}


def _counted(texts: Sequence[str]) -> dict[str, int]:
    return {text: texts.count(text) for text in dict.fromkeys(texts)}


def stream_table(report: dict[str, Any]) -> str:
    """Return the figures as lines: what, value, bar."""
    sent, r = report["stream"], report

    def spread(name: str) -> str:
        return ", ".join(f"{key} {value:.2f} s" for key, value in r[name].items()) or "none"

    rows = [
        ("images sent", f"{sent['sent']} in {sent['elapsed_s']:.1f} s, at most {sent['late_ms']:.0f} ms late", ""),
        ("received: image, depth, camera info", " ".join(map(str, r["received"].values())), f"{sent['sent']}"),
        ("dropped by full queues, rejected", f"{r['dropped']}, {r['rejected']}", ""),
        ("keyframes kept", f"{r['keyframes_kept']}", ""),
        ("keyframes lost", f"{r['keyframes_lost']}", "0"),
        ("callback p50", f"{r['callback_p50_ms']:.2f} ms", ""),
        ("callback p99 at the end, worst", f"{r['callback_p99_ms']:.2f} ms, {r['callback_p99_ms_worst']:.2f}", "10 ms"),
        (
            "ingest, mean, worst second",
            f"{r['ingest_cpu_percent']:.0f} %, {r['ingest_cpu_percent_worst']:.0f} %",
            "60 %",
        ),
        ("  main thread by /proc", f"{r['main_thread_cpu_percent']:.0f} %", ""),
        ("  process with completions by /proc", f"{r['process_cpu_percent']:.0f} %", ""),
        ("resident memory at the end, most", f"{r['rss_bytes'] / 1e6:.0f} MB, {r['rss_bytes_most'] / 1e6:.0f} MB", ""),
        ("  frames held at the end", f"{r['frames_held']} in {r['frame_bytes'] / 1e6:.0f} MB", ""),
        ("  its slope after the warm-up", f"{r['rss_slope_mb_per_min']:.2f} MB/min", "1 MB/min"),
        ("goals done, skipped while one ran", f"{r['goals']['done']}, {r['goals']['overruns']}", ""),
        ("  their codes", ", ".join(f"{n} x {code}" for code, n in r["goals"]["codes"].items()), ""),
        ("goal to result", spread("goal_s"), ""),
        ("newest frame to published objects", spread("last_frame_to_objects_s"), ""),
    ]
    return "\n".join(f"{what:<38} {value:<40} {'bar ' + bar if bar else ''}".rstrip() for what, value, bar in rows)


def cycles_table(report: dict[str, Any]) -> str:
    """Return what changed over the cycles as lines."""
    before, after = report["before"], report["after"]
    rows = [f"{report['cycles']} cycles, {report['ms_per_cycle']:.0f} ms each, {report['warm_up_cycles']} before"]
    for name in ("threads", "subscriptions", "open_files", "python_blocks"):
        for moment in ("", "_active"):
            what = name.replace("_", " ") + (", active" if moment else ", unconfigured")
            rows.append(f"{what:<28} {before[name + moment]:>8} {after[name + moment]:>8}")
    rows.append(f"{'resident memory':<28} {before['rss_bytes'] / 1e6:>5.0f} MB {after['rss_bytes'] / 1e6:>5.0f} MB")
    rows.append(f"{'its slope, second half':<28} {report['rss_kb_per_cycle']:>5.1f} kB a cycle")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the camera sends (default 60)")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="time between goals (default 2)")
    parser.add_argument("--warm-up", type=float, default=20.0, metavar="S", help="left out of the slope (default 20)")
    parser.add_argument("--cycles", type=int, default=0, metavar="N", help="lifecycle cycles instead of a stream")
    parser.add_argument("--keep-up", action="store_true", help="a goal beside a stream against the same one offline")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="goals of each kind there (default 5)")
    parser.add_argument("--model", default="compact", help="that completes there (default compact)")
    parser.add_argument("--frames", type=Path, metavar="FILE", help="keep the rendered frames in this .npz file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    args = parser.parse_args()
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(name, str(PROFILE))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
    if args.cycles:
        report = measure_cycles(args.cycles)
        print(cycles_table(report))
    else:
        with tempfile.TemporaryDirectory() as folder:
            frames = args.frames or Path(folder) / "frames.npz"
            if not frames.exists():
                render(frames)
            if args.keep_up:
                report = measure_keep_up(frames, args.repeats, args.seconds, args.model)
            else:
                report = measure_stream(frames, args.seconds, args.every, args.warm_up)
        print(keep_up_table(report) if args.keep_up else stream_table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
