"""How long does a replay take, stage by stage, and how much memory does it need? Nothing here is asserted.

    python benchmarks/replay_speed.py [--frames-dir ../shared/data/rgbd/tabletop_box] [--json FILE]

Every figure comes from a process of its own, so that caches and memory of one part do not help or burden another:

- replay: 25 RGB-D frames of 640x480 in a bag, one object completed with the default model, all files written; seconds
  after import, and the peak resident memory of that process alone (VmHWM).
- evidence: adding one view of that object to the evidence at 64^3 (median over all views, five rounds).
- cloud: 1 000 000 completed points into a rclpy PointCloud2, and as a ratio the same point by point.
- import: `import sparse_recon`, and which heavy modules it loads.

Frames are those of FRAMES_DIR where it exists (a glue bottle is completed), else simulated ones (the largest object).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FRAMES_DIR = Path(__file__).resolve().parents[2] / "shared" / "data" / "rgbd" / "tabletop_box"
POSE_FILE = "elmers_glue_pose_estimate.json"  # of the bottle in the world frame of FRAMES_DIR
BOTTLE_SIZE_M = (0.18, 0.09, 0.07)
CLOUD_POINTS = 1_000_000
HEAVY = ("torch", "open3d", "rclpy", "scipy", "cv2", "rosbags", "skimage", "trimesh", "manifold3d", "PIL", "numba")


def measure_replay(bag: Path, box: list[str]) -> dict[str, Any]:
    """Replay in this process; imports are done before the clock starts."""
    started = time.perf_counter()
    import cv2  # noqa: F401
    import manifold3d  # noqa: F401
    import open3d  # noqa: F401
    import rosbags.rosbag2
    import rosbags.typesys.stores.ros2_jazzy  # noqa: F401
    import skimage.measure  # noqa: F401

    import sparse_recon.cli.replay
    import sparse_recon.viz.overview  # noqa: F401
    from sparse_recon.cli.main import main

    imported, cpu_s = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as out, _captured() as text:
        code = main(["replay", str(bag), "--out", out, "--json", *box])
        total_s, cpu_s = time.perf_counter() - imported, time.process_time() - cpu_s
    assert code == 0, f"replay ended with {code}"
    report = json.loads(text.getvalue())
    return {
        "import_s": imported - started,
        "stages_s": report["seconds"],
        "complete_s": report["objects"][0]["run"]["timings_s"],
        "after_import_s": total_s,
        "processor_s": cpu_s,
        "peak_memory_bytes": _peak_memory_bytes(),
        "frames": report["frames_read"],
        "points": report["objects"][0]["points"],
    }


def measure_evidence(bag: Path, box: list[str]) -> dict[str, Any]:
    """Time `Evidence.add` for the views of the object."""
    from sparse_recon.bags.reader import Bag, FrameReader
    from sparse_recon.config.session_config import SessionConfig
    from sparse_recon.evidence import Evidence
    from sparse_recon.geometry.grids import VoxelGrid
    from sparse_recon.geometry.transforms import pose_from_quaternion
    from sparse_recon.observe.catalog import ObjectCatalog
    from sparse_recon.observe.views import collect_views
    from sparse_recon.requests import CompletionRequest
    from sparse_recon.types import OrientedBox

    config = SessionConfig(up_world=(0.0, 0.0, 0.0) if "--up" in box else (0.0, 0.0, 1.0))
    with Bag(bag) as opened:
        frames = list(FrameReader(opened, config=config))
    request = CompletionRequest(object_id="object_0")
    if "--box" in box:
        numbers = [float(v) for v in box[1:7]]
        quat_xyzw = [float(v) for v in box[8:12]]
        request = CompletionRequest(
            box=OrientedBox(pose_from_quaternion(quat_xyzw, numbers[:3]), np.array(numbers[3:]))
        )
    found = ObjectCatalog(config).resolve(request, frames)
    views = collect_views("object", frames, found.region, found.plane, found.up_world, config, 64)
    grid = VoxelGrid.cube(64, views.object_frame.half_side_m)
    seconds = []
    for _ in range(5):
        evidence = Evidence.empty(views.object_frame, grid, config.evidence)
        for view in views.views:
            started = time.perf_counter()
            evidence.add(view)
            seconds.append(time.perf_counter() - started)
    return {"views": len(views.views), "add_ms": 1e3 * statistics.median(seconds), "slowest_ms": 1e3 * max(seconds)}


def measure_cloud() -> dict[str, Any]:
    """Time a million points into a message, packed at once and point by point."""
    try:
        from sensor_msgs.msg import PointCloud2
    except ImportError:
        return {"skipped": "rclpy is not installed here"}
    from sparse_recon.messages.fields import COMPLETED_POINT, cloud_fields, header_fields, pack_points
    from sparse_recon.ros.convert import to_message

    rng = np.random.default_rng(0)
    columns = {name: rng.random(CLOUD_POINTS, dtype=np.float32) for name in ("rgb", "confidence")}
    columns |= {name: rng.random((CLOUD_POINTS, 3), dtype=np.float32) for name in ("xyz", "normal")}
    columns["provenance"] = np.ones(CLOUD_POINTS, np.uint8)

    def packed() -> Any:
        records = pack_points(COMPLETED_POINT, columns)
        return to_message(PointCloud2, cloud_fields(records, header_fields("map", 1)))

    def point_by_point() -> bytes:
        rows = zip(
            columns["xyz"], columns["rgb"], columns["normal"], columns["confidence"], columns["provenance"], strict=True
        )
        point = struct.Struct("<3ff3ffB3x")
        return b"".join(point.pack(*xyz, rgb, *normal, c, int(p)) for xyz, rgb, normal, c, p in rows)

    message = packed()
    seconds = [_seconds(packed) for _ in range(5)]
    started = time.perf_counter()
    naive = point_by_point()
    naive_s = time.perf_counter() - started
    assert bytes(message.data) == naive
    return {"message_ms": 1e3 * statistics.median(seconds), "times_faster": naive_s / statistics.median(seconds)}


def measure_import() -> dict[str, Any]:
    """Import the package and look at what came with it; NumPy is what it stands on."""
    started = time.perf_counter()
    import sparse_recon  # noqa: F401

    return {
        "import_s": time.perf_counter() - started,
        "heavy_modules": sorted(name for name in HEAVY if name in sys.modules),
    }


def prepared_bag(frames_dir: Path, folder: Path) -> tuple[Path, list[str]]:
    """Write the recording; return it and the arguments that name the object."""
    from sparse_recon.bags.frames_bag import write_frames
    from sparse_recon.bags.frames_dir import FramesFolder
    from sparse_recon.lab.simulate.recording import tabletop_recording

    bag = folder / "bag"
    if not frames_dir.is_dir():
        write_frames(tabletop_recording(7, frames=25).frames, bag, world_frame="world")
        return bag, ["--max-objects", "1"]
    write_frames(FramesFolder(frames_dir), bag, world_frame="world")
    return bag, bottle_arguments(frames_dir)


def bottle_arguments(frames_dir: Path) -> list[str]:
    """Return the box around the bottle, and that the world frame has no up direction."""
    from scipy.spatial.transform import Rotation

    T_world_object = np.array(json.loads((frames_dir / POSE_FILE).read_text())["T_world_object"])
    box = [*T_world_object[:3, 3], *BOTTLE_SIZE_M]
    quat_xyzw = Rotation.from_matrix(T_world_object[:3, :3]).as_quat()
    numbers = [[f"{v:.6f}" for v in values] for values in (box, quat_xyzw)]
    return ["--box", *numbers[0], "--box-quat-xyzw", *numbers[1], "--up", "0", "0", "0"]


def in_new_process(part: str, *arguments: str) -> dict[str, Any]:
    """Run one `measure_*` function alone."""
    command = [sys.executable, __file__, "--part", part, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{part} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(report: dict[str, Any]) -> str:
    """Return all figures as lines: what, value, bar of the project on 2 cores."""
    replay, evidence, cloud, alone = (report[name] for name in ("replay", "evidence", "cloud", "import"))
    stages = [(f"  {name}", f"{s:.2f} s", "") for name, s in replay["stages_s"].items()]
    steps = [(f"    {name}", f"{s:.2f} s", "") for name, s in replay["complete_s"].items()]
    at = [name for name, _, _ in stages].index("  complete") + 1
    message = cloud.get("skipped") or f"{cloud['message_ms']:.0f} ms, {cloud['times_faster']:.0f}x faster than by point"
    rows = [
        (f"replay of {replay['frames']} frames, one object, after import", f"{replay['after_import_s']:.2f} s", "6 s"),
        *stages[:at],
        *steps,
        *stages[at:],
        ("  processor time, all threads", f"{replay['processor_s']:.2f} s", ""),
        ("  peak memory", f"{replay['peak_memory_bytes'] / 1e9:.2f} GB", "1.2 GB"),
        ("  imports before the clock starts", f"{replay['import_s']:.2f} s", ""),
        (f"one of {evidence['views']} views into the evidence at 64^3", f"{evidence['add_ms']:.1f} ms", "40 ms"),
        ("  slowest", f"{evidence['slowest_ms']:.1f} ms", ""),
        (f"{CLOUD_POINTS:,} points into a PointCloud2", message, "50 ms"),
        ("import sparse_recon", f"{alone['import_s']:.2f} s", "1 s"),
        ("  heavy modules that it loads", ", ".join(alone["heavy_modules"]) or "none", "none"),
    ]
    return "\n".join(f"{what:<58} {value:>12}  {'bar ' + bar if bar else ''}".rstrip() for what, value, bar in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames-dir", type=Path, default=FRAMES_DIR, help="folder of the frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args()
    parts = {"replay": measure_replay, "evidence": measure_evidence, "cloud": measure_cloud, "import": measure_import}
    if args.part:
        arguments = (Path(rest[0]), rest[1:]) if rest else ()
        print(json.dumps(parts[args.part](*arguments)))  # type: ignore[operator]
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        bag, box = prepared_bag(args.frames_dir, Path(folder))
        report: dict[str, Any] = {
            "cores": os.cpu_count(),
            "load": load,
            "frames": "real" if "--box" in box else "simulated",
        }
        for part in parts:
            report[part] = in_new_process(part, *([str(bag), *box] if part in ("replay", "evidence") else []))
    print(f"{report['frames']} frames, {report['cores']} cores, load {load:.1f} before the start")
    print(table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


@contextlib.contextmanager
def _captured() -> Any:
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        yield text


def _seconds(what: Any) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def _peak_memory_bytes() -> int:
    """Return this process's peak; ru_maxrss would count the parent's pages that a fork began with."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
