"""`sparse_recon bag-from-frames`: a folder of posed RGB-D files into a ROS 2 recording."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sparse_recon.bags.folders import open_folder
from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.posed_files import PosedFiles
from sparse_recon.cli.arguments import output_path
from sparse_recon.cli.complete import add_format_arguments
from sparse_recon.errors import EXIT_DONE, ErrorCode, FileError
from sparse_recon.files.atomic import whole_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", type=Path, metavar="FRAMES_DIR", help="folder of frames, as for complete")
    add_format_arguments(parser)
    parser.add_argument(
        "out", type=output_path, metavar="OUT", help="OUT.mcap or OUT.db3 for one file, else a bag folder"
    )
    parser.add_argument(
        "--world-frame",
        default="world",
        metavar="FRAME",
        help="name of the poses' frame; let it end in optical_frame if that is a camera, where z is not up",
    )
    parser.add_argument("--compressed", action="store_true", help="jpeg colour and compressedDepth")
    parser.add_argument("--overwrite", action="store_true", help="replace an older recording")
    parser.add_argument("--json", action="store_true", help="describe what was written on stdout")


def run(args: argparse.Namespace) -> int:
    folder = open_folder(args.frames, layout=args.format, pose_unit_m=args.pose_unit_m)
    if args.out.exists() and not args.overwrite:
        raise FileError(ErrorCode.USAGE, f"{args.out} exists; name another recording or add --overwrite")
    how = {"world_frame": args.world_frame, "compressed": args.compressed}
    if args.out.suffix in (".mcap", ".db3"):
        _write_file(folder, args.out, how)
    else:
        write_frames(folder, args.out, **how)
    for note in folder.notes:
        print(f"warning: {note}", file=sys.stderr)
    left_out = folder.counts.total()
    frames = len(folder) - left_out
    print(f"{args.out}: {frames} frames{f', {left_out} left out' if left_out else ''}", file=sys.stderr)
    if args.json:
        print(json.dumps({"bag": str(args.out), "frames": frames, "frames_left_out": left_out}))
    return EXIT_DONE


def _write_file(folder: PosedFiles, out: Path, how: dict[str, object]) -> None:
    storage = {".mcap": "mcap", ".db3": "sqlite3"}[out.suffix]
    with whole_file(out, "the recording") as new:
        bag = new.with_suffix("")
        write_frames(folder, bag, storage=storage, **how)  # type: ignore[arg-type]
        next(bag.glob(f"*{out.suffix}")).replace(new)
