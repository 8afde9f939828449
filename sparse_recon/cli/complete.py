"""`sparse_recon complete`: a folder of posed RGB-D files in, completed objects out."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from sparse_recon.bags.folders import LAYOUTS, open_folder
from sparse_recon.bags.writer import ResultBag
from sparse_recon.cli.arguments import (
    UP_UNKNOWN,
    add_config_arguments,
    add_output_arguments,
    add_request_arguments,
    config_of,
    request_of,
)
from sparse_recon.cli.frame_intake import FrameIntake
from sparse_recon.cli.output_folder import BAG_NAME, output_folder
from sparse_recon.cli.report import finish
from sparse_recon.cli.run_session import run_session
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, InputError, clipped, quoted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "files: NAME.color.png, NAME.depth.png (16 bit, mm or depth.unit_m), NAME.pose.txt (4x4 camera to "
        "world), intrinsics.K.txt; or a folder of another format: "
        + ", ".join(kind.layout for kind in list(LAYOUTS.values())[1:])
    )
    parser.add_argument("frames", type=Path, metavar="FRAMES_DIR", help="folder of the files named below")
    add_format_arguments(parser)
    add_output_arguments(parser)
    add_request_arguments(parser)
    add_config_arguments(parser, up_default="0 0 0")


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the layout of a folder, and the unit of its poses."""
    parser.add_argument(
        "--format", choices=tuple(LAYOUTS), default="", help="layout of FRAMES_DIR (default: guessed from its files)"
    )
    parser.add_argument(
        "--pose-unit-m",
        type=_metres,
        default=0.0,
        metavar="M",
        help="metres that a unit of the poses is, where it is not that of the format: that of COLMAP is arbitrary",
    )


def _metres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"takes metres from 1e-6 to 1e6, got {quoted(text)}")
    return value


def run(args: argparse.Namespace) -> int:
    config = config_of(args, SessionConfig(up_world=UP_UNKNOWN, world_frame="world"))
    world_frame = config.world_frame
    if args.box_frame not in ("", world_frame):
        raise InputError(
            ErrorCode.USAGE,
            f"a folder of frames has only the frame {world_frame!r}, got --box-frame {clipped(args.box_frame)}",
        )
    request = request_of(args, np.eye(4))
    folder = open_folder(args.frames, config.depth, args.format, args.pose_unit_m)
    print(f"format: {folder.layout}, {len(folder)} frames", file=sys.stderr)
    with output_folder(args.out, args.overwrite):
        with ResultBag(args.out / BAG_NAME) as result_bag:
            outcome = run_session(
                folder,
                args.out,
                result_bag,
                intake=FrameIntake(lambda: config),
                request=lambda: request,
                warnings=lambda: folder.warnings,
                depth_encoding=lambda: folder.depth_encoding,
                expected_frames=len(folder),
                max_frames=args.max_frames,
            )
        for note in folder.notes:
            print(f"warning: {note}", file=sys.stderr)
        outcome.frames.left_out.update(folder.counts)
        outcome.frames.last_reason = outcome.frames.last_reason or folder.last_reason
        return finish(args, outcome, Counter(), folder.path.resolve().name)
