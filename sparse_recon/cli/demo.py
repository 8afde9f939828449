"""`sparse_recon demo`: simulate a tabletop recording, complete its objects by replay and by the node, compare."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.bags.writer import ResultBag
from sparse_recon.cli.arguments import add_config_arguments, config_of, output_path
from sparse_recon.cli.demo_node import run_node
from sparse_recon.cli.frame_intake import FrameIntake
from sparse_recon.cli.output_folder import (
    BAG_NAME,
    earlier_results,
    foreign_content,
    output_folder,
    remove_earlier,
)
from sparse_recon.cli.report import PICTURE, as_record, draw, not_listed, refusals
from sparse_recon.cli.run_session import SessionOutcome, run_session
from sparse_recon.cli.simulate import is_sample, write_recording
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, ErrorCode, FileError
from sparse_recon.lab.simulate.recording import Recording, tabletop_recording
from sparse_recon.lab.simulate.truth import nearest_object, surface_distance

SAMPLE_NAME = "tabletop_bag"
_SEED = 7  # a carton, a drill and a mug: flat, branched and hollow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=output_path,
        default=Path("out/demo"),
        metavar="DIR",
        help="folder for everything (default out/demo)",
    )
    parser.add_argument("--no-picture", action="store_true", help=f"do not draw {PICTURE}")
    parser.add_argument("--no-ros", action="store_true", help="end after the replay, before the node is started")
    parser.add_argument("--json", action="store_true", help="machine-readable result on stdout")
    add_config_arguments(parser, up_default="0 0 1")


def run(args: argparse.Namespace) -> int:
    config = config_of_demo(args)
    _check_only_demos(args.out, args.out / SAMPLE_NAME)
    with output_folder(args.out, overwrite=True):
        return _demo(args, config)


def _demo(args: argparse.Namespace, config: SessionConfig) -> int:
    sample = args.out / SAMPLE_NAME
    recording = tabletop_recording(config.seed)
    write_recording(recording, sample)
    names = ", ".join(o.name for o in recording.scene.objects)
    print(f"{sample}: {len(recording.frames)} simulated RGB-D frames of {names}", file=sys.stderr)
    with Bag(sample) as bag, ResultBag(args.out / BAG_NAME) as result_bag:
        intake = FrameIntake(lambda: replace(config, world_frame=reader.world_frame), lambda: reader.restarts)
        reader = FrameReader(bag, config=config, on_transforms=result_bag.copy_transforms, wanted=intake.wants)
        outcome = run_session(
            reader,
            args.out,
            result_bag,
            intake=intake,
            expected_frames=reader.expected_frames,
        )
    if outcome.completed:
        remove_earlier(args.out, outcome.folders)
    truth = _compared(recording, outcome)
    notes = {
        object_id: {
            "truth": row["truth"],
            "Chamfer, observed": f"{row['observed_chamfer_mm']:.2f} mm",
            "Chamfer, completed": f"{row['completed_chamfer_mm']:.2f} mm",
        }
        for object_id, row in truth.items()
    }
    picture = None if args.no_picture else draw(outcome, args.out, "Simulated tabletop", notes)
    print(demo_table(outcome, truth), file=sys.stderr)
    if picture is not None:
        places = f"results are in {args.out}/object_*, as a bag in {args.out / BAG_NAME}"
        print(f"look at {picture}; {places}", file=sys.stderr)
    live = None if args.no_ros else run_node(sample, reader.cameras[0], outcome)
    code = outcome.exit_code or (EXIT_FAILED if live and live.get("problem") else EXIT_DONE)
    if args.json:
        record = as_record(outcome, args.out, reader.counts, picture)
        print(json.dumps({**record, "exit_code": code, "sample_bag": str(sample), "truth": truth, "live": live}))
    return code


def config_of_demo(args: argparse.Namespace) -> SessionConfig:
    """Return the parameters; where nothing names a seed, the one of the demo."""
    return config_of(args, SessionConfig(seed=_SEED))


def _check_only_demos(out: Path, sample: Path) -> None:
    """Refuse to replace what an earlier demo did not write."""
    held = foreign_content(out)
    if not sample.exists():
        held += earlier_results(out)
    elif not is_sample(sample):
        held.append(sample)
    if held:
        names = ", ".join(path.name for path in held)
        raise FileError(
            ErrorCode.USAGE, f"{out} holds {names}, which no earlier demo wrote; name another folder with --out"
        )


def demo_table(outcome: SessionOutcome, truth: dict[str, dict[str, Any]]) -> str:
    """Return the result as lines for people, with the distance to the true surface before and after completion."""
    lines = [
        f"{'':<10} {'':<8} {'':>8} {'':>8} {'90 % of rest':>13} {'Chamfer distance to truth':>27} {'':>7}",
        f"{'object':<10} {'truth':<8} {'points':>8} {'observed':>8} {'within':>13} "
        f"{'observed':>14} {'completed':>12} {'time':>7}",
    ]
    for item in outcome.objects:
        if item.error is not None:
            continue
        r, t = item.record, truth[item.object_id]
        lines.append(
            f"{item.object_id:<10} {t['truth']:<8} {r['points']:>8} {100 * r['observed_fraction']:>6.0f} % "
            f"{1e3 * r['radius90_m']:>10.1f} mm {t['observed_chamfer_mm']:>11.2f} mm "
            f"{t['completed_chamfer_mm']:>9.2f} mm {sum(r['run']['timings_s'].values()):>5.1f} s"
        )
    return "\n".join([*lines, *refusals(outcome), *not_listed(outcome)])


def _compared(recording: Recording, outcome: SessionOutcome) -> dict[str, dict[str, Any]]:
    """Chamfer distances (mean of both directions) by object id, of the measured and of the completed points."""
    rows = {}
    for completed in outcome.completed:
        true_object = nearest_object(recording.scene, completed.box.T_world_box[:3, 3])
        rows[completed.object_id] = {
            "truth": true_object.name,
            "observed_chamfer_mm": 1e3 * surface_distance(completed.observed_points_world, true_object).chamfer_m,
            "completed_chamfer_mm": 1e3 * surface_distance(completed.points_world, true_object).chamfer_m,
        }
    return rows
