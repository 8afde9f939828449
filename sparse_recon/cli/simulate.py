"""`sparse_recon simulate`: write a sample tabletop bag, as a robot's RGB-D camera and TF would have recorded it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.cli.arguments import at_least, output_path
from sparse_recon.errors import EXIT_DONE
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.recording import FIRST_STAMP_NS, Recording, tabletop_recording
from sparse_recon.lab.simulate.sensor import SENSORS

WORLD_FRAME = "world"
# The robot stands in front of the table and looks at its middle.
_T_WORLD_BASE = pose(np.diag([-1.0, -1.0, 1.0]), (0.85, 0.0, 0.0))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out", type=output_path, metavar="BAG", help="folder of the bag to write; an older bag is replaced"
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of shapes, placement, cameras and noise (default 0)"
    )
    parser.add_argument("--objects", type=at_least(1), default=3, metavar="N", help="objects on the table (default 3)")
    parser.add_argument("--frames", type=at_least(1), default=5, metavar="N", help="RGB-D frames (default 5)")
    parser.add_argument("--sensor", choices=sorted(SENSORS), default="realsense", help="noise of the camera")
    parser.add_argument("--labels", action="store_true", help="also write label images, as a segmentation node would")
    parser.add_argument("--compressed", action="store_true", help="jpeg colour and compressedDepth")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage plugin (default mcap)")
    parser.add_argument("--json", action="store_true", help="describe what was written on stdout")


def run(args: argparse.Namespace) -> int:
    recording = tabletop_recording(
        args.seed, objects=args.objects, frames=args.frames, sensor=SENSORS[args.sensor], with_labels=args.labels
    )
    write_recording(recording, args.out, compressed=args.compressed, storage=args.storage)
    names = [o.name for o in recording.scene.objects]
    print(f"{args.out}: {len(recording.frames)} frames of {', '.join(names)}", file=sys.stderr)
    if args.json:
        print(json.dumps({"bag": str(args.out), "frames": len(recording.frames), "objects": names, "seed": args.seed}))
    return EXIT_DONE


def write_recording(recording: Recording, path: Path, *, compressed: bool = False, storage: str = "mcap") -> None:
    """Write simulated frames as a bag whose transforms lead from `WORLD_FRAME` over base_link to the camera.

    Raises
    ------
    FileError
        If the folder cannot be written.
    """
    write_frames(
        recording.frames,
        path,
        world_frame=WORLD_FRAME,
        compressed=compressed,
        storage="mcap" if storage == "mcap" else "sqlite3",
        T_world_base=_T_WORLD_BASE,
    )


def is_sample(path: Path) -> bool:
    """Return whether a bag was simulated: no real recording begins at that very nanosecond."""
    try:
        text = (path / "metadata.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f"nanoseconds_since_epoch: {FIRST_STAMP_NS}\n" in text
