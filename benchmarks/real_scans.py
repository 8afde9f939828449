"""How good and how safe is a completion of scanned household objects? Noisy views in, metric meshes out, no alignment.

    python benchmarks/real_scans.py --objects ../shared/data/objects [--count 20] [--views 1 2 4] [--json FILE]

Each scanned object stands on a simulated table and is looked at from 1, 2 and 4 sides (elevation 15 to 60 degrees, 0.4
to 1.2 m, seeded) with RealSense-like and Kinect-like depth noise in turn, exact poses, masks as rendered. Distances
are to the scan's own surface: 20 000 points on each, F-scores at 1 and 2 % of the diagonal. Errors of confidence count
inferred points only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sparse_recon.config import DepthConfig, SessionConfig, load_config
from sparse_recon.errors import SparseReconError
from sparse_recon.evidence.depth_filter import without_flying_pixels
from sparse_recon.fuse.mesh import is_closed
from sparse_recon.fuse.surface_points import scattered
from sparse_recon.geometry.poses import pose
from sparse_recon.requests import CompletionRequest
from sparse_recon.session import CompletionSession
from sparse_recon.simulate.cameras import camera_ring
from sparse_recon.simulate.recording import Recording, record
from sparse_recon.simulate.scene import scene_of
from sparse_recon.simulate.sensor import SENSORS, exact
from sparse_recon.simulate.shapes import scanned_shape
from sparse_recon.simulate.truth import seen_empty
from sparse_recon.types import CompletedObject, Provenance

SAMPLES = 20_000
MIN_THICKNESS_M = 0.03
NOISE_PCT = 0.1
# Three sigmas of a Kinect-like camera at 0.9 m, and a fine voxel.
TOLERANCE_M = 0.0066


@dataclass(frozen=True)
class Score:
    """One completion against its scan; lengths in % of the diagonal unless the name says otherwise."""

    name: str
    views: int
    code: str = "OK"
    chamfer_pct: float = float("nan")
    observed_chamfer_pct: float = float("nan")
    f1: float = float("nan")
    f2: float = float("nan")
    violating_share: float = float("nan")
    closed: bool = False
    coverage90: float = float("nan")
    seconds: float = float("nan")
    reliability: list[list[float]] = field(default_factory=list)


def score(completed: CompletedObject, recording: Recording, views: int, name: str) -> Score:
    """Compare a completion with the scan that stands on the simulated table."""
    from scipy.spatial import cKDTree

    truth = recording.scene.objects[0].mesh_world
    true_points = scattered(truth.vertices_world, truth.faces, 1e-5, SAMPLES)
    points = scattered(completed.nominal.vertices_world, completed.nominal.faces, 1e-5, SAMPLES)
    tree = cKDTree(true_points)
    accuracy, completeness = tree.query(points)[0], cKDTree(points).query(true_points)[0]
    observed = completed.observed_points_world
    seen = 0.5 * float(tree.query(observed)[0].mean() + cKDTree(observed).query(true_points)[0].mean())
    diagonal = float(np.linalg.norm(np.ptp(true_points, axis=0)))
    inferred = completed.provenance == Provenance.INFERRED
    error = tree.query(completed.points_world[inferred])[0]
    return Score(
        name=name,
        views=views,
        chamfer_pct=100 * 0.5 * float(accuracy.mean() + completeness.mean()) / diagonal,
        observed_chamfer_pct=100 * seen / diagonal,
        f1=f_score(accuracy, completeness, 0.01 * diagonal),
        f2=f_score(accuracy, completeness, 0.02 * diagonal),
        violating_share=violating_share(completed, recording),
        closed=all(is_closed(m.vertices_world, m.faces) for m in (completed.nominal, completed.conservative)),
        reliability=reliability(completed.confidence[inferred], error < 0.005),
        coverage90=float(np.mean(error < completed.quality.radius90_m)) if len(error) else float("nan"),
        seconds=sum(completed.quality.timings_s.values()),
    )


def violating_share(completed: CompletedObject, recording: Recording) -> float:
    """Return the share of both surfaces that stands in space that a camera clearly measured to be empty.

    The depth images judge, without their flying pixels, not the evidence made from them; the surface may be off by
    three depth sigmas and a voxel.
    """
    surface = [scattered(m.vertices_world, m.faces, 1e-3, SAMPLES) for m in (completed.nominal, completed.conservative)]
    frames = [replace(f, depth_m=without_flying_pixels(f.depth_m, DepthConfig().edge_jump_m)) for f in recording.frames]
    return float(seen_empty(np.concatenate(surface), frames, TOLERANCE_M).mean())


def f_score(accuracy: np.ndarray, completeness: np.ndarray, limit: float) -> float:
    """Return the F-score, in %, of distances from both sides."""
    precision, recall = float(np.mean(accuracy < limit)), float(np.mean(completeness < limit))
    return 100 * 2 * precision * recall / max(precision + recall, 1e-9)


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[list[float]]:
    """Return, for each bin of confidence, how many points it holds, their summed confidence, and how many are right."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = [np.bincount(index, weights=w, minlength=bins) for w in (np.ones(len(index)), confidence, right)]
    return np.stack(sums, axis=1).tolist()


def calibration_error(scores: list[Score]) -> float:
    """Return the expected calibration error (Naeini et al. 2015) over the inferred points of all scores together."""
    count, claimed, right = np.sum([s.reliability for s in scores], axis=0).T
    return float(np.abs(claimed - right).sum() / max(count.sum(), 1))


def run(path: Path, number: int, views: int, config: SessionConfig) -> Score:
    """Render, complete and score one object from `views` sides."""
    shape = scanned_shape(path)
    low, high = shape.vertices_obj.min(axis=0), shape.vertices_obj.max(axis=0)
    centred = pose(np.eye(3), (-0.5 * (low + high)[0], -0.5 * (low + high)[1], -low[2]))
    scene = scene_of([shape], [centred])
    rng = np.random.default_rng((number, views))
    away, start = 0.4 * float(np.linalg.norm(high - low)), float(rng.uniform(0, 360))
    cameras = camera_ring(
        views,
        rng,
        scene.centre_world,
        distance_m=(0.4 + away, 0.7 + away),
        elevation_deg=(15, 60),
        azimuth_deg=(start, start + 360),
    )
    sensor = exact(SENSORS["realsense" if (number + views) % 2 else "kinect"])
    session = CompletionSession(config)
    recording = record(scene, cameras, sensor=sensor, seed=number)
    for frame in recording.frames:
        session.add_frame(frame)
    try:
        return score(session.complete(CompletionRequest(label=1)), recording, views, path.stem)
    except SparseReconError as error:
        return Score(path.stem, views, code=error.code.name)


def table(scores: list[Score]) -> str:
    """Return means by number of views as text."""
    lines = [
        "views objects refused  Chamfer %  (observed)   F1 %  F2 %  in empty %  closed    ECE  in radius90  seconds"
    ]
    for views in sorted({s.views for s in scores}):
        done = [s for s in scores if s.views == views and s.code == "OK"]
        refused = sum(s.views == views for s in scores) - len(done)
        names = ("chamfer_pct", "observed_chamfer_pct", "f1", "f2", "violating_share", "coverage90", "seconds")
        mean = {name: float(np.nanmean([getattr(s, name) for s in done])) for name in names}
        lines.append(
            f"{views:5d} {len(done):7d} {refused:7d} {mean['chamfer_pct']:10.2f} {mean['observed_chamfer_pct']:11.2f} "
            f"{mean['f1']:6.0f} {mean['f2']:5.0f} {100 * mean['violating_share']:11.3f} "
            f"{sum(s.closed for s in done):7d} {calibration_error(done):6.3f} "
            f"{mean['coverage90']:12.2f} {mean['seconds']:8.2f}"
        )
    return "\n".join(lines)


def worse_with_more(scores: list[Score]) -> list[str]:
    """Return the objects whose Chamfer distance grew by more than `NOISE_PCT` of the diagonal with more views."""
    by_object: dict[str, list[Score]] = {}
    for s in sorted(scores, key=lambda s: s.views):
        by_object.setdefault(s.name, []).append(s)
    return [
        f"{name}: {a.chamfer_pct:.2f} % at {a.views} views, {b.chamfer_pct:.2f} % at {b.views}"
        for name, runs in by_object.items()
        for a, b in itertools.pairwise(runs)
        if b.chamfer_pct > a.chamfer_pct + NOISE_PCT
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, default=Path("../shared/data/objects"), help="folder of .glb, z up, m")
    parser.add_argument("--count", type=int, default=20, help="objects, spread evenly over the folder; 0 for all")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--set", nargs="*", default=[], help="parameters, as group.name=value")
    parser.add_argument("--json", type=Path, help="write every score to this file")
    args = parser.parse_args()
    paths = [p for p in sorted(args.objects.glob("*.glb")) if min(scanned_shape(p).size_m) >= MIN_THICKNESS_M]
    if not paths:
        print(
            f"{args.objects} holds no .glb thicker than {MIN_THICKNESS_M} m; name a folder: --objects", file=sys.stderr
        )
        return 2
    if args.count and args.count < len(paths):
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, args.count).round().astype(int)]
    config = load_config({name: json.loads(value) for name, _, value in (item.partition("=") for item in args.set)})
    jobs = [(i, path, views) for i, path in enumerate(paths) for views in args.views]
    scores = [run(path, i, views, config) for i, path, views in tqdm(jobs, unit="completion")]
    print(table(scores))
    worse = worse_with_more(scores)
    print(f"worse with more views by more than {NOISE_PCT} % of the diagonal: {len(worse)}", *worse, sep="\n  ")
    if args.json:
        args.json.write_text(json.dumps([asdict(s) for s in scores], indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
