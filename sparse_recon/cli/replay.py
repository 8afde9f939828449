"""`sparse_recon replay`: a recording in, completed objects out. No ROS needed."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.bags.topics import CameraTopics
from sparse_recon.bags.writer import ResultBag
from sparse_recon.cli.arguments import (
    UP_UNKNOWN,
    add_config_arguments,
    add_output_arguments,
    add_request_arguments,
    config_of,
    request_of,
    says_up,
)
from sparse_recon.cli.frame_intake import FrameIntake
from sparse_recon.cli.output_folder import BAG_NAME, output_folder
from sparse_recon.cli.report import finish
from sparse_recon.cli.run_session import run_session
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, InputError, clipped, listed, quoted, readable
from sparse_recon.frames.world_up import is_optical
from sparse_recon.requests import CompletionRequest

_ROLES = ("color", "depth", "info", "depth_info", "labels", "name")
EXAMPLES = """examples:
  sparse_recon replay my_bag --out out/my_bag
  sparse_recon replay my.mcap --out out --box 0.6 0.1 0.12 0.3 0.3 0.3 --box-frame base_link
  sparse_recon replay my_bag --out out --topics color=/cam/rgb depth=/cam/depth info=/cam/camera_info
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "bag", type=Path, metavar="BAG", help="bag folder, .mcap or .db3 file; may be compressed or cut"
    )
    add_output_arguments(parser)
    parser.add_argument(
        "--topics",
        nargs="+",
        action="append",
        default=[],
        metavar="ROLE=TOPIC",
        help=f"topics of one camera, roles {', '.join(_ROLES)}; repeat for more cameras (default: guessed)",
    )
    parser.add_argument(
        "--world-frame", default="", metavar="FRAME", help="frame to complete in (default: root of /tf)"
    )
    add_request_arguments(parser)
    add_config_arguments(parser, up_default="0 0 1, but 0 0 0 where the world frame is a camera's optical frame")


def run(args: argparse.Namespace) -> int:
    with ExitStack() as until_end:
        return _replay(args, until_end)


def _replay(args: argparse.Namespace, stack: ExitStack) -> int:
    if args.world_frame:
        args.set = [*args.set, f"world_frame={json.dumps(args.world_frame)}"]
    config = config_of(args)
    cameras = [camera_topics(group, k) for k, group in enumerate(args.topics)]
    request_of(args, np.eye(4))  # refuse an impossible box before reading
    with Bag(args.bag) as bag, ResultBag(args.out / BAG_NAME) as result_bag:
        intake = FrameIntake(lambda: settled_config(args, config, reader), lambda: reader.restarts)
        reader = FrameReader(bag, cameras, config=config, on_transforms=result_bag.copy_transforms, wanted=intake.wants)
        stack.enter_context(output_folder(args.out, args.overwrite))
        for camera in reader.cameras:
            used = ", ".join(getattr(camera, f.name) for f in fields(camera)[1:] if getattr(camera, f.name))
            print(readable(f"camera {camera.name}: {used}"), file=sys.stderr)
        newest = [0]

        def frames() -> object:
            for frame in reader:
                newest[0] = frame.stamp_ns
                yield frame

        def request() -> CompletionRequest:
            T_world_boxframe = np.eye(4)
            if args.box is not None and args.box_frame:
                T_world_boxframe = reader.transforms.lookup(reader.world_frame, args.box_frame, newest[0])
            return request_of(args, T_world_boxframe)

        def rejected() -> tuple[Counter[ErrorCode], list[str]]:
            return reader.counts, [rejection.message for rejection in reader.rejections]

        outcome = run_session(
            frames(),  # type: ignore[arg-type]
            args.out,
            result_bag,
            intake=intake,
            request=request,
            rejected=rejected,
            warnings=lambda: reader.warnings,
            depth_encoding=lambda: reader.depth_encoding,
            expected_frames=reader.expected_frames,
            max_frames=args.max_frames,
        )
    if reader.counts:
        reasons = ", ".join(f"{n} x {code.name}" for code, n in reader.counts.most_common())
        last = reader.rejections[-1].message
        print(readable(f"inputs that gave no frame: {reasons}; the last: {last}"), file=sys.stderr)
    for warning in reader.warnings:
        print(readable(f"warning: {warning}"), file=sys.stderr)
    return finish(args, outcome, reader.counts, args.bag.resolve().name)


def settled_config(args: argparse.Namespace, config: SessionConfig, reader: FrameReader) -> SessionConfig:
    """Return the parameters once the world frame is known: that of a camera's images has no fixed up direction."""
    config = replace(config, world_frame=reader.world_frame)
    optical = is_optical(reader.world_frame) or reader.world_frame in reader.optical_frames
    if not optical or says_up(args):
        return config
    print(
        f"the world frame {clipped(reader.world_frame)} is a camera's optical frame, where up is unknown: it is found "
        "from the support plane and the images (--up X Y Z says it)",
        file=sys.stderr,
    )
    return replace(config, up_world=UP_UNKNOWN)


def camera_topics(group: list[str], number: int) -> CameraTopics:
    """Read `role=topic` arguments of one camera.

    Raises
    ------
    InputError
        USAGE if a role is unknown or the colour topic is missing.
    """
    values: dict[str, str] = {}
    for item in group:
        role, equals, topic = item.partition("=")
        if not equals or role not in _ROLES or not topic:
            raise InputError(
                ErrorCode.USAGE, f"--topics takes ROLE=TOPIC with roles {', '.join(_ROLES)}, got {quoted(item)}"
            )
        values[role] = topic
    if "color" not in values:
        raise InputError(ErrorCode.USAGE, f"--topics {listed(group, 6, ' ')} names no colour topic; add color=TOPIC")
    name = values.pop("name", f"camera_{number}" if number else "camera")
    return CameraTopics(name, values.pop("color"), values.pop("info", ""), **values)
