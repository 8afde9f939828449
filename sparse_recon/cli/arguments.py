"""Arguments that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.complete.registry import check_known
from sparse_recon.config.parameter_file import parse_yaml, read_parameter_file
from sparse_recon.config.parameters import parameters
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import EXIT_DONE, ConfigError, ErrorCode, InputError, clipped, quoted
from sparse_recon.files.named_paths import path_of
from sparse_recon.geometry.transforms import pose_from_quaternion
from sparse_recon.requests import CompletionRequest
from sparse_recon.types import OrientedBox

UP_Z, UP_UNKNOWN = (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)


def at_least(low: int) -> Callable[[str], int]:
    """Return an argparse type: whole numbers from `low` on."""

    def number(text: str) -> int:
        if not text.lstrip("+-").isdigit() or int(text) < low:
            raise argparse.ArgumentTypeError(f"takes a whole number of at least {low}, got {quoted(text)}")
        return int(text)

    return number


def output_path(text: str) -> Path:
    """Turn an argument into a path to write to, `~` and `~user` included: an argparse type."""
    try:
        return path_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error.message) from None


class _ShowParameters(argparse.Action):
    """Prints every parameter with its default, unit and range, and ends the program."""

    def __init__(self, option_strings: list[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=rest.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print("\n".join(parameter_lines()))
        parser.exit(EXIT_DONE)


def add_config_arguments(parser: argparse.ArgumentParser, up_default: str) -> None:
    """Add --config, --set, --model, --seed, --up, --max-objects and --help-parameters."""
    group = parser.add_argument_group("parameters", "later ones win: --config, then --set, then the named ones")
    group.add_argument(
        "--config", type=Path, metavar="YAML", help="file of parameters, as for the node, such as config/tabletop.yaml"
    )
    group.add_argument(
        "--set", action="append", default=[], metavar="GROUP.NAME=VALUE", help="one parameter; may be repeated"
    )
    group.add_argument("--model", metavar="NAME", help="completer to use")
    group.add_argument("--seed", type=int, help="of everything random; same input and seed give the same files")
    group.add_argument(
        "--up",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help=f"up direction in the world frame; 0 0 0: found from support plane and images (default: {up_default})",
    )
    group.add_argument(
        "--max-objects", type=int, metavar="N", help="the N largest, when all are completed (default: max_objects)"
    )
    group.add_argument(
        "--force", action="store_true", help="go on though the views do not belong together: evidence.check_views=false"
    )
    group.add_argument("--help-parameters", action=_ShowParameters, help="list all parameters and exit")


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --box, --box-quat-xyzw, --box-frame, --label, --max-views and --deadline-s."""
    group = parser.add_argument_group("which object", "without --box or --label: all objects on the support plane")
    group.add_argument(
        "--box",
        type=float,
        nargs=6,
        metavar=("CX", "CY", "CZ", "SX", "SY", "SZ"),
        help="centre and edge lengths, metres, of a box that holds the object",
    )
    group.add_argument(
        "--box-quat-xyzw",
        type=float,
        nargs=4,
        metavar=("QX", "QY", "QZ", "QW"),
        help="rotation of --box (default: none)",
    )
    group.add_argument("--box-frame", default="", metavar="FRAME", help="frame of --box (default: the world frame)")
    group.add_argument("--label", type=int, help="value of the object in the label images")
    group.add_argument("--max-views", type=int, default=0, metavar="N", help="frames used at most for one object")
    group.add_argument("--deadline-s", type=float, default=0.0, metavar="S", help="best answer after this time")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --out, --max-frames, --overwrite, --no-picture and --json."""
    parser.add_argument("--out", type=output_path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--max-frames", type=at_least(0), default=0, metavar="N", help="stop reading after so many frames (0: all)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier run in DIR")
    parser.add_argument("--no-picture", action="store_true", help="do not draw overview.png")
    parser.add_argument("--json", action="store_true", help="machine-readable result on stdout")


def config_of(args: argparse.Namespace, base: SessionConfig | None = None) -> SessionConfig:
    """Return the parameters that the arguments ask for; those they do not name are those of `base`.

    Raises
    ------
    ConfigError
        If a name is unknown or a value is outside its range.
    ModelError
        MODEL_UNKNOWN.
    FileError
        INPUT_MISSING if the file cannot be read.
    """
    config = base or SessionConfig()
    if args.config is not None:
        config = _from_file(args.config, config)
    for assignment in args.set:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(
                f"--set takes GROUP.NAME=VALUE, got {quoted(assignment)}; example: --set fusion.max_faces=5000"
            )
        config = load_config({name.strip(): _yaml_value(text, assignment)}, config)
    named = {"model": args.model, "seed": args.seed, "up_world": args.up, "max_objects": args.max_objects}
    config = load_config({name: value for name, value in named.items() if value is not None}, config)
    if getattr(args, "force", False):
        config = load_config({"evidence.check_views": False}, config)
    check_known(config.model)
    return config


def says_up(args: argparse.Namespace) -> bool:
    """Return whether --up, --set or --config name the up direction."""
    bases = [SessionConfig(up_world=up) for up in (UP_Z, UP_UNKNOWN)]
    return config_of(args, bases[0]).up_world == config_of(args, bases[1]).up_world


def request_of(args: argparse.Namespace, T_world_boxframe: np.ndarray) -> CompletionRequest:
    """Return the request that the arguments describe; without --box and --label it names no object: all are wanted.

    Raises
    ------
    InputError
        USAGE if both are named, or the box is impossible.
    """
    if args.box is not None and args.label is not None:
        raise InputError(ErrorCode.USAGE, "give --box or --label, not both")
    if args.box is None and (args.box_quat_xyzw is not None or args.box_frame):
        raise InputError(ErrorCode.USAGE, "--box-quat-xyzw and --box-frame describe the pose of --box; give --box too")
    box = None
    if args.box is not None:
        try:
            T_boxframe_box = pose_from_quaternion(args.box_quat_xyzw or (0.0, 0.0, 0.0, 1.0), args.box[:3])
        except InputError as error:
            raise InputError(ErrorCode.USAGE, f"--box-quat-xyzw: {error.message}") from None
        there = OrientedBox(T_boxframe_box, np.array(args.box[3:]))
        box = OrientedBox(T_world_boxframe @ there.T_world_box, there.size_m)
    return CompletionRequest(box=box, label=args.label, max_views=args.max_views, deadline_s=args.deadline_s)


def parameter_lines() -> list[str]:
    """Return one line a parameter: name, default, unit, range, meaning."""
    lines = []
    for p in parameters(SessionConfig):
        span = "" if p.low is None else f" [{p.low:g} .. {p.high:g}]"
        lines.append(f"{p.name} = {p.default!r}{' ' + p.unit if p.unit else ''}{span}\n    {p.text}")
    return lines


def _from_file(path: Path, base: SessionConfig) -> SessionConfig:
    """Return the session's part of a file that also serves the node; all of it is checked."""
    from sparse_recon.ros.node_config import NodeConfig, load_node_config

    node = NodeConfig(**{f.name: getattr(base, f.name) for f in fields(base)})
    return load_node_config(read_parameter_file(path), node).session


def _yaml_value(text: str, assignment: str) -> Any:
    import yaml

    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {clipped(assignment)}: the value is not YAML: {error}") from error
