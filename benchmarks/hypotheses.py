"""What several answers are worth: the collision mesh with and without them, and how well they cover the truth.

    python benchmarks/hypotheses.py [--objects DIR] [--names NAME ...] [--made-up 6] [--counts 0 4 8] [--json FILE]

Each object is seen by one camera with exact poses, and by two opposite ones whose poses are off by up to 4 mm and
1 degree each (uniformly, as by the condition `pose` of evaluation), both with the depth noise `mild`. Scans are the
unscored ones of the list of evaluation, made-up objects have seeds that nothing else uses. The network draws once, as
many hypotheses as the largest count asks for; smaller counts take the first of them.

- missed and wasted: true volume outside the conservative mesh, and free volume inside it, over the true volume.
- F: F-score at 2 % of the diameter of the answer, of a hypothesis in the mean, and of the best one.
- hidden: true volume nearest to surface that no camera saw, outside the answer, and outside all hypotheses.
- apart: mean Chamfer distance of two hypotheses, mm. energy: energy score of the hypotheses, and of the answer, mm.
- seconds of this process for drawing (of the largest count) and for fusing.

With `--pose-error-m` the two views are fused once more as by `fusion.pose_error_m`. Means over the objects, and the
median of what is wasted; with `--verbose` every case.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pose_errors import delivered

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.registry import create
from sparse_recon.completion import SampledField
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import SparseReconError
from sparse_recon.fuse.fusion import fuse
from sparse_recon.lab.evaluate.cases import LABEL, Case, make_case
from sparse_recon.lab.evaluate.objects import UNSCORED, ScoredObject, folder_objects, procedural_objects
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.scoring import Examiner
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import CompletionRun, Imagined
from sparse_recon.session.session import CompletionSession, Observation
from sparse_recon.types import Provenance

PROTOCOL = Protocol(views=(1, 2), samples=6000, volume_samples=30_000, novel_views=0)
POSE_ERROR = (4.0, 1.0)  # mm, deg
POSES_OFF = "two views, poses off"
MADE_UP_SEED = 900
SHOWN = (
    *("missed_pct", "wasted_pct", "f_2pct", "hypothesis_f_2pct", "best_f_2pct", "hidden_missed_pct"),
    *("hidden_outside_pct", "pairwise_mm", "energy_mm", "energy_answer_mm", "draw_s", "fuse_s"),
)


def imagined(seen: Observation, completer: ViewCompleter, config: SessionConfig) -> tuple[Imagined, float]:
    """Return what the model says of an object, and seconds."""
    run = CompletionRun(config, CompletionRequest(label=LABEL), None, None)
    run.enter("complete")
    begun_s = time.thread_time()
    found = run.imagine(completer, seen.views, seen.evidence, seen.bounds)
    return found, time.thread_time() - begun_s


def answer(
    seen: Observation, said: Imagined, count: int, pose_error_m: float, config: SessionConfig
) -> tuple[Prediction, float]:
    """Return what is published with the first `count` hypotheses, and seconds."""
    draws = tuple(SampledField(draw.sdf_m, 1.0 / count) for draw in said.hypotheses[:count])
    slack_m = max(pose_error_m, seen.pose_error_m if draws else 0.0)
    begun_s = time.thread_time()
    fused = fuse(
        seen.views, said.surface, seen.evidence, config, np.random.default_rng(0), lambda stage: None, draws, slack_m
    )
    seconds = time.thread_time() - begun_s
    prediction = Prediction(
        surface=fused.nominal,
        points_world=fused.points_world,
        inferred=np.asarray(fused.provenance == Provenance.INFERRED),
        conservative=fused.conservative,
        hypotheses=fused.hypotheses,
    )
    return prediction, seconds


def cases(scored: ScoredObject, seed: int) -> list[tuple[str, Case, Examiner]]:
    """Return how an object is seen: from one side, and from two by cameras that stand elsewhere than they say."""
    one = make_case(scored, "mild", seed, PROTOCOL)
    two = delivered(make_case(scored, "clean", seed, PROTOCOL), "mild", POSE_ERROR, False, seed)
    examiner = Examiner(one, PROTOCOL)
    return [("one view", one.seen_from(1), examiner), (POSES_OFF, two.seen_from(2), examiner)]


def measured(objects: Sequence[ScoredObject], args: argparse.Namespace) -> list[dict[str, object]]:
    """Return one record for each case, count and pose error."""
    config = load_config({"compact.samples": max(args.counts), "compact.steps": args.steps})
    completer, session = create("compact"), CompletionSession(config)
    completer.load(config, lambda share, text: None)
    records: list[dict[str, object]] = []
    for number, scored in enumerate(objects):
        for condition, case, examiner in cases(scored, args.seed + number):
            session.reset()
            for frame in case.frames:
                session.add_frame(frame)
            try:
                seen = session.observe(CompletionRequest(label=LABEL))
                said, draw_s = imagined(seen, completer, config)
                for count in args.counts:
                    for slack_m in (0.0, *(args.pose_error_m if condition == POSES_OFF else ())):
                        prediction, fuse_s = answer(seen, said, count, slack_m, config)
                        metrics = examiner.score("compact", case, prediction).metrics
                        record = {name: float(metrics.get(name, np.nan)) for name in SHOWN}
                        record |= {"draw_s": draw_s, "fuse_s": fuse_s}
                        name = condition + (f", pose_error_m {slack_m:g}" if slack_m else "")
                        records.append({"object": scored.name, "condition": name, "count": count, **record})
                        if args.verbose:
                            print(f"  {scored.name:28} {name:40} K {count:2}: {_row(record)}", flush=True)
            except SparseReconError as refusal:
                print(f"  {scored.name}, {condition}: {refusal}", flush=True)
        if args.json:
            args.json.write_text(json.dumps(records, indent=1))
    return records


def _row(record: dict[str, float]) -> str:
    return " ".join(f"{name.removesuffix('_pct')} {record[name]:.1f}" for name in SHOWN)


def report(records: Sequence[dict[str, object]]) -> str:
    """Return the means as a table."""
    rows = [
        "| views | K | missed, % (most) | wasted, % (median) | F, % | mean F | best F | hidden missed, % "
        "| outside all, % | apart, mm | energy, mm | of the answer | drawing, s | fusing, s |",
        "| --- " * 14 + "|",
    ]
    for condition, count in dict.fromkeys((r["condition"], r["count"]) for r in records):
        some = [r for r in records if (r["condition"], r["count"]) == (condition, count)]
        column = {name: np.array([r[name] for r in some], np.float64) for name in SHOWN}
        cells = [
            f"{column['missed_pct'].mean():.2f} ({column['missed_pct'].max():.1f})",
            f"{column['wasted_pct'].mean():.0f} ({np.median(column['wasted_pct']):.0f})",
            *(f"{column[name].mean():.1f}" for name in SHOWN[2:7]),
            *(f"{column[name].mean():.2f}" for name in SHOWN[7:10]),
            *(f"{column[name].mean():.1f}" for name in SHOWN[10:]),
        ]
        rows.append(f"| {condition} ({len(some)}) | {count} | " + " | ".join(cells).replace("nan", "-") + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, metavar="DIR", help="folder that holds the unscored scans")
    parser.add_argument(
        "--names", nargs="*", default=(), help="only these of the folder; 12 of the unscored ones without"
    )
    parser.add_argument("--made-up", type=int, default=6, help="so many made-up objects")
    parser.add_argument("--counts", nargs="+", type=int, default=[0, 4, 8], metavar="K")
    parser.add_argument("--steps", type=int, default=4, help="of a hypothesis")
    parser.add_argument("--pose-error-m", nargs="*", type=float, default=[0.002], metavar="M")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="every case")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    objects = list(procedural_objects(args.made_up, seed=MADE_UP_SEED))
    if args.objects is not None:
        objects = [*folder_objects(args.objects, names=args.names or UNSCORED[:12]), *objects]
    print(report(measured(objects, args)))


if __name__ == "__main__":
    main()
