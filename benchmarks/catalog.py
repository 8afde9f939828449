"""What a new frame costs the list of objects, by how many frames are kept: processor time of one core.

python benchmarks/catalog.py [--frames 64] [--repeats 3]

Simulated RealSense-like depth, 640x480, three household objects; a camera that goes 3 degrees a frame around the table,
one that stands still, and the moving one with label images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparse_recon import CompletionSession, load_config
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame

PLACES = ((-0.17, 0.0, 0.0), (0.17, 0.02, 0.0), (0.0, 0.19, 0.0))
SHOWN = (4, 8, 16, 32, 64, 128)


def frames_of(angles: Sequence[float], with_labels: bool) -> list[Frame]:
    rng = np.random.default_rng(0)
    scene = scene_of([make_shape(k, rng) for k in ("can", "mug", "box")], [pose(np.eye(3), p) for p in PLACES])
    eyes = [look_at((0.75 * np.cos(a), 0.75 * np.sin(a), 0.55), (0.0, 0.05, 0.03)) for a in angles]
    made = record(
        scene,
        tuple(eyes),
        sensor=exact(SENSORS["realsense"]),
        intrinsics=depth_camera(640, 480),
        with_labels=with_labels,
        seed=1,
    ).frames
    return [replace(frame, stamp_ns=(k + 1) * 1_200_000_000) for k, frame in enumerate(made)]


def seconds(frames: Sequence[Frame]) -> list[float]:
    """Return the processor time of the list after each frame."""
    session, taken_s = CompletionSession(load_config({"model": "carve", "keyframes.max_frames": 1000})), []
    for frame in frames:
        session.add_frame(frame)
        begun_s = time.thread_time()
        session.objects()
        taken_s.append(time.thread_time() - begun_s)
    return taken_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    around = np.deg2rad(3.0) * np.arange(args.frames) - 1.5
    still = np.full(args.frames, -1.5)
    print("ms of the frame that makes so many kept (median of it and the two before)")
    for name, angles, labels in (("moving", around, False), ("still", still, False), ("labels", around, True)):
        frames = frames_of(list(angles), labels)
        runs = np.median([seconds(frames) for _ in range(args.repeats)], axis=0)
        shown = [n for n in SHOWN if n <= args.frames]
        print(f"{name:8}", "  ".join(f"{n}: {1e3 * np.median(runs[n - 3 : n]):.0f}" for n in shown), flush=True)


if __name__ == "__main__":
    main()
