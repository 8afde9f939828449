"""`sparse_recon complete`: a folder of posed RGB-D files in, completed objects out."""

from __future__ import annotations

import argparse
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
from sparse_recon.errors import ErrorCode, InputError, clipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "files: NAME.color.png, NAME.depth.png (16 bit, mm or depth.unit_m), NAME.pose.txt (4x4 camera to "
        "world), intrinsics.K.txt; or a folder of TUM RGB-D (rgb.txt, depth.txt, groundtruth.txt, intrinsics.K.txt), "
        "or of nerfstudio (transforms.json)"
    )
    parser.add_argument("frames", type=Path, metavar="FRAMES_DIR", help="folder of the files named below")
    add_format_argument(parser)
    add_output_arguments(parser)
    add_request_arguments(parser)
    add_config_arguments(parser, up_default="0 0 0")


def add_format_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the layout of a folder."""
    parser.add_argument(
        "--format", choices=tuple(LAYOUTS), default="", help="layout of FRAMES_DIR (default: guessed from its files)"
    )


def run(args: argparse.Namespace) -> int:
    config = config_of(args, SessionConfig(up_world=UP_UNKNOWN, world_frame="world"))
    world_frame = config.world_frame
    if args.box_frame not in ("", world_frame):
        raise InputError(
            ErrorCode.USAGE,
            f"a folder of frames has only the frame {world_frame!r}, got --box-frame {clipped(args.box_frame)}",
        )
    request = request_of(args, np.eye(4))
    folder = open_folder(args.frames, config.depth, args.format)
    print(f"format: {folder.layout}, {len(folder)} frames", file=sys.stderr)
    with output_folder(args.out, args.overwrite):
        with ResultBag(args.out / BAG_NAME) as result_bag:
            outcome = run_session(
                folder,
                args.out,
                result_bag,
                intake=FrameIntake(lambda: config),
                request=lambda: request,
                depth_encoding=lambda: folder.depth_encoding,
                expected_frames=len(folder),
                max_frames=args.max_frames,
            )
        outcome.frames.left_out.update(folder.counts)
        outcome.frames.last_reason = outcome.frames.last_reason or folder.last_reason
        return finish(args, outcome, Counter(), folder.path.resolve().name)
