"""What wrong camera poses cost, and what bringing the views together before fusion wins back.

    python benchmarks/pose_errors.py [--objects DIR] [--count 4] [--sensors mild d400] [--errors 0:0 4:1] [--json FILE]

Objects are seen by one, two (opposite) or four cameras 0.4 to 1.2 m away whose poses are off, each for itself: by up to
so many millimetres and degrees, drawn uniformly as by the condition `pose` of evaluation, or with `--normal` with that
standard deviation about each axis. Each case is completed without and with `registration.enabled`.

Chamfer distance and volume missed by the conservative mesh are of the result as it is in the world. A pose error that
all views share cannot be seen by anybody; `aligned` is the Chamfer distance after the whole result was moved onto the
truth, which leaves the shape alone. Labels: of the points beside surface that a camera truly saw, the share called
observed; of points called observed, the share beside such surface; and of all points, the share labelled right, each
after that move. Means over the objects; refused cases are counted and left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import SparseReconError
from sparse_recon.geometry.poses import pose, transform_points
from sparse_recon.lab.evaluate.cases import LABEL, Case, make_case
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.lab.evaluate.objects import ScoredObject, folder_objects, procedural_objects
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.scoring import Examiner
from sparse_recon.lab.simulate.recording import FIRST_STAMP_NS, PERIOD_NS
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Float64, Frame

ALIGN_POINTS, ALIGN_STEPS = 3000, 15
PROTOCOL = Protocol(samples=6000, volume_samples=20_000, novel_views=0)
SHOWN = ("chamfer_mm", "aligned_mm", "missed_pct", "seen_called_observed", "observed_right", "labels_right", "seconds")


def misplaced(frame: Frame, error_mm: float, error_deg: float, normal: bool, rng: np.random.Generator) -> Frame:
    """Return a frame whose pose is wrong."""
    direction, axis = rng.standard_normal((2, 3))
    if not normal:
        direction, axis = (rng.uniform() * v / np.linalg.norm(v) for v in (direction, axis))
    turn = Rotation.from_rotvec(np.deg2rad(error_deg) * axis).as_matrix()
    T = frame.T_world_cam @ pose(turn, (0, 0, 0))
    T[:3, 3] += 1e-3 * error_mm * direction
    return replace(frame, T_world_cam=T)


def delivered(case: Case, sensor: str, error: tuple[float, float], normal: bool, seed: int) -> Case:
    """Return a case as cameras of a kind with such pose errors deliver it; each camera's faults are always the same."""
    frames = []
    for i, ideal in enumerate(case.ideal):
        frame = sense(ideal, exact(SENSORS[sensor]), np.random.default_rng((seed, i)), stamp_ns=_stamp_ns(i))
        frames.append(misplaced(frame, *error, normal, np.random.default_rng((seed, i, 1))))
    return replace(case, frames=tuple(frames))


def _stamp_ns(i: int) -> int:
    return FIRST_STAMP_NS + i * PERIOD_NS


def onto_truth(prediction: Prediction, truth: Surface) -> Float64:
    """Return the motion (4, 4) of a surface onto the true one: point to plane, trimmed (Chen and Medioni 1992)."""
    assert prediction.surface is not None
    points = Surface.of_mesh(prediction.surface, ALIGN_POINTS, 1).points_world.astype(np.float64)
    T = np.eye(4)
    assert truth.normals_world is not None
    for _ in range(ALIGN_STEPS):
        moved = transform_points(T, points)
        distance, index = truth.tree.query(moved)
        near = distance < np.quantile(distance, 0.8)
        at, normal = moved[near], truth.normals_world[index[near]].astype(np.float64)
        centre = at.mean(axis=0)
        A = np.concatenate([np.cross(at - centre, normal), normal], axis=1)
        residual = np.einsum("nk,nk->n", at - truth.points_world[index[near]], normal)
        H = A.T @ A + 1e-3 * len(at) * np.diag([1e-3] * 3 + [1.0] * 3)  # a ball does not turn
        step = np.linalg.solve(H, -A.T @ residual)
        R = Rotation.from_rotvec(step[:3]).as_matrix()
        T = pose(R, centre - R @ centre + step[3:]) @ T
    return T


def figures(prediction: Prediction, case: Case, examiner: Examiner) -> dict[str, float]:
    """Return what is shown of one answer."""
    score = examiner.score("compact", case, prediction).metrics
    truth, seen = examiner.true_surface, examiner.seen(case)
    T = onto_truth(prediction, truth)
    assert prediction.surface is not None
    vertices = transform_points(T, prediction.surface.vertices_world.astype(np.float64)).astype(np.float32)
    mesh = replace(prediction.surface, vertices_world=vertices)
    aligned = surface_distances(Surface.of_mesh(mesh, PROTOCOL.samples, 1), truth)
    points = transform_points(T, prediction.points_world.astype(np.float64))
    truly_seen, called = seen[truth.tree.query(points)[1]], ~prediction.inferred
    return {
        "chamfer_mm": score["chamfer_mm"],
        "aligned_mm": 1e3 * aligned.chamfer_m,
        "missed_pct": score["missed_pct"],
        "seen_called_observed": 100 * _share(called, truly_seen),
        "observed_right": 100 * _share(truly_seen, called),
        "labels_right": 100 * float(np.mean(truly_seen == called)),
    }


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else float("nan")


def completed(case: Case, config: SessionConfig) -> tuple[Prediction, tuple[str, ...], float]:
    """Return an answer, what was said with it, and seconds."""
    session = CompletionSession(config)
    session.load()
    for frame in case.frames:
        session.add_frame(frame)
    begun_s = time.thread_time()
    result = session.complete(CompletionRequest(label=LABEL))
    return Prediction.of(result), result.quality.warnings, time.thread_time() - begun_s


def measured(
    objects: Sequence[ScoredObject], sensor: str, error: tuple[float, float], args: argparse.Namespace
) -> list[dict[str, object]]:
    """Return one row per number of views, without and with registration."""
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for number, scored in enumerate(objects):
        full = make_case(scored, "clean", args.seed, PROTOCOL)
        examiner = Examiner(full, PROTOCOL)
        noisy = delivered(full, sensor, error, args.normal, args.seed + number)
        for views in args.views:
            case = noisy.seen_from(views)
            for how in args.registration if views > 1 else args.registration[:1]:
                config = load_config(
                    {"model": args.model, **({} if how == "asis" else {"registration.enabled": how == "on"})}
                )
                rows = found.setdefault((views, how), [])
                try:
                    prediction, said, seconds = completed(case, config)
                except SparseReconError as refusal:
                    print(f"    {scored.name}, {views} views, {how}: {refusal}", flush=True)
                    continue
                rows.append({**figures(prediction, case, examiner), "seconds": seconds})
                if args.verbose:
                    print(
                        f"    {scored.name}, {views} views, {how}: ",
                        ", ".join(f"{k} {v:.1f}" for k, v in rows[-1].items()),
                        *[w for w in said if "brought" in w or "earlier" in w],
                        flush=True,
                    )
    return [
        {
            "sensor": sensor,
            "error_mm": error[0],
            "error_deg": error[1],
            "views": views,
            "registration": how,
            "cases": len(rows),
            **{name: float(np.mean([r[name] for r in rows])) if rows else float("nan") for name in SHOWN},
        }
        for (views, how), rows in sorted(found.items())
    ]


def _error(text: str) -> tuple[float, float]:
    mm, deg = text.split(":")
    return float(mm), float(deg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, metavar="DIR", help="meshes; made-up household objects without")
    parser.add_argument("--names", nargs="*", default=(), help="only these of the folder")
    parser.add_argument("--count", type=int, default=4, help="so many objects")
    parser.add_argument("--sensors", nargs="+", default=["mild", "d400"], choices=sorted(SENSORS))
    parser.add_argument(
        "--errors", nargs="+", type=_error, default=[(0.0, 0.0), (1.0, 0.25), (2.0, 0.5), (4.0, 1.0)], metavar="MM:DEG"
    )
    parser.add_argument("--normal", action="store_true", help="errors are standard deviations, not the largest")
    parser.add_argument("--views", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--registration", nargs="+", default=["off", "on"], choices=["off", "on", "asis"])
    parser.add_argument("--model", default="compact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="every case")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.objects is None:
        objects = procedural_objects(args.count)
    else:
        objects = folder_objects(args.objects, names=args.names)
        objects = objects[:: max(1, len(objects) // args.count)][: args.count]
    rows = []
    print("sensor   mm   deg  views registration cases " + " ".join(f"{name:>20}" for name in SHOWN))
    for sensor in args.sensors:
        for error in args.errors:
            for row in measured(objects, sensor, error, args):
                rows.append(row)
                print(
                    f"{sensor:6} {error[0]:4.1f} {error[1]:5.2f} {row['views']:6} {row['registration']:>12} "
                    f"{row['cases']:5} " + " ".join(f"{row[name]:20.2f}" for name in SHOWN),
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
