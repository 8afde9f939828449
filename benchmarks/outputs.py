"""How long does it take to publish one object, and how long are other threads kept out meanwhile? Nothing is asserted.

    source ws/env.sh && python benchmarks/outputs.py [--rounds 5] [--json FILE]

One object of 60 000 points and 20 480 faces, made here, without subscribers:

- both ways to bytes: fields to a rclpy message that rclpy serialises, and `ros.serialised`;
- both ways to a rclpy message, as an action result needs one: `to_message`, and deserialising those bytes;
- `Outputs.publish` of everything, and each topic's share;
- the picture of far sides, which is drawn only for subscribers.

Each figure is the median over rounds. A second thread that sleeps half a millisecond at a time, as a camera callback
waits for its turn, tells how long it was kept out at worst.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.types import CompletedObject, OrientedBox, QualityRecord, TriangleMesh

POINTS = 60_000
_NAP_S = 0.0005


def big_object() -> CompletedObject:
    """Return a ball of 60 000 points and 20 480 faces."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.05)
    mesh = TriangleMesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32), True)
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(POINTS, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = normals * np.float32(0.05)
    provenance = np.where(points[:, 2] > 0, 1, 2).astype(np.uint8)
    quality = QualityRecord(3, 0.5, 0.0, 0.8, 0.004, True, True, False, {"fuse": 0.5}, 10**9, "hash")
    return CompletedObject(
        *("object_0", "world", 5, "carve", 0, points, normals, rng.integers(0, 255, (POINTS, 3), dtype=np.uint8)),
        *(rng.random(POINTS, dtype=np.float32), provenance, points[provenance == 1], mesh, mesh),
        *(np.ones(len(mesh.vertices_world), np.float32), OrientedBox(np.eye(4), np.full(3, 0.1)), quality),
    )


def measure(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return the median time of `work` and of the longest wait of another thread, after one round to warm up."""
    work()
    times, waits = [], []
    for _ in range(rounds):
        gaps, done = [0.0], threading.Event()

        def nap(gaps: list[float] = gaps, done: threading.Event = done) -> None:
            while not done.is_set():
                begun = time.perf_counter()
                time.sleep(_NAP_S)
                gaps.append(time.perf_counter() - begun - _NAP_S)

        other = threading.Thread(target=nap)
        other.start()
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
        done.set()
        other.join()
        waits.append(max(gaps))
        del result
    return {"ms": 1e3 * statistics.median(times), "longest_wait_ms": 1e3 * statistics.median(waits)}


def figures(rounds: int) -> dict[str, dict[str, float]]:
    """Measure everything in this process."""
    import rclpy
    from rclpy.serialization import deserialize_message, serialize_message
    from sparse_recon.msg import CompletedObject as Message

    from sparse_recon.messages import fields as messages
    from sparse_recon.messages.footprints import footprint_grid_fields
    from sparse_recon.messages.markers import marker_array_fields
    from sparse_recon.ros.convert import to_message
    from sparse_recon.ros.outputs import Outputs
    from sparse_recon.ros.serialised import serialised
    from sparse_recon.viz.novel_views import novel_views

    completed, seeds = big_object(), itertools.count()
    fields = messages.completed_object_fields(completed)
    data = serialised(Message, fields)
    rclpy.init()
    node = rclpy.create_node("completion_node")
    outputs = Outputs(node)
    publisher = node.create_publisher(Message, "raw", 1)
    works: dict[str, Callable[[], Any]] = {
        "fields": lambda: messages.completed_object_fields(completed),
        "bytes through a message": lambda: serialize_message(to_message(Message, fields)),
        "bytes by ros.serialised": lambda: serialised(Message, fields),
        "publish a message": lambda: publisher.publish(to_message(Message, fields)),
        "publish bytes": lambda: publisher.publish(data),
        "message by to_message": lambda: to_message(Message, fields),
        "message by deserialising": lambda: deserialize_message(data, Message),
        "marker fields": lambda: marker_array_fields([completed], "world", 5),
        "footprint fields": lambda: footprint_grid_fields([completed], "world", 5),
        "Outputs.publish": lambda: outputs.publish([replace(completed, seed=next(seeds))], "world", 5),
        "novel views": lambda: novel_views([completed]),
    }
    found = {name: measure(work, rounds) for name, work in works.items()}
    node.destroy_node()
    rclpy.shutdown()
    return found


def main() -> None:
    """Print a table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    found = figures(args.rounds)
    for name, figure in found.items():
        print(f"{name:26s} {figure['ms']:8.1f} ms   others wait at most {figure['longest_wait_ms']:6.1f} ms")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
