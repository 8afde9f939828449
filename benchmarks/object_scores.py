"""Scores of being an object, beside the truth: true and phantom candidates at each limit, and calibration.

python benchmarks/object_scores.py [--meshes DIR] [--scenes 60] [--first 0] [--instances network] [--captures DIR ...]
    [--min-score 0.5] [--fit] [--json FILE]

Simulated clutter on tables, in trays, corners and shelves, 640x480, seen by cameras with faults, from 1 and from 3
sides with exact poses; `--captures` adds real frames with known objects. All candidates are listed (segment.min_score
0). One is true where half of its pixels or more are on true objects. `--fit` finds the weights of the score, and
measures those of the first half of the simulated candidates on the second half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from sparse_recon import Frame, SessionConfig, load_config
from sparse_recon.lab.evaluate.captures.folder import capture_names, read_capture
from sparse_recon.lab.simulate.clutter import PaintedRenderer, clutter_cameras, draw_clutter
from sparse_recon.lab.simulate.profiles import SENSORS, varied
from sparse_recon.lab.simulate.sensor import exact, sense
from sparse_recon.lab.training.segmenter.scenes import draw_shapes, mesh_files
from sparse_recon.observe.catalog import ObjectCatalog
from sparse_recon.observe.object_score import ObjectCues, object_score
from sparse_recon.viz.raster import silhouettes

CAMERAS = ("d400", "zed", "orbbec", "azure_kinect", "kinect_v2", "l515")
VIEWS = (1, 3)
TRUE_SHARE = 0.5
LIMITS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RIDGE = 1e-2
UP_UNKNOWN = (0.0, 0.0, 0.0)


def clutter_frames(number: int, meshes: Sequence[Path]) -> list[Frame]:
    """Return the labelled frames of one scene."""
    rng = np.random.default_rng((23, number))
    clutter = draw_clutter(draw_shapes(rng, meshes), rng)
    renderer = PaintedRenderer(clutter)
    sensor = exact(varied(SENSORS[str(rng.choice(CAMERAS))], rng))
    frames = []
    for k, (intrinsics, T_world_cam) in enumerate(clutter_cameras(clutter, max(VIEWS), rng, 640, 480)):
        view = renderer.render(intrinsics, T_world_cam, shadows=bool(rng.random() < 0.6))
        frames.append(sense(view, sensor, np.random.default_rng((23, number, k)), stamp_ns=(k + 1) * 10**9))
    return frames


def judged(frames: Sequence[Frame], config: SessionConfig) -> Iterator[dict]:
    """Give the cues and the truth of all that is listed in frames, whose labels are the truth."""
    bare = [replace(f, labels=None) for f in frames]
    for found in ObjectCatalog(config).objects(bare):
        masks = [found.region.mask(f) for f in bare]
        pixels = sum(int(m.sum()) for m in masks)
        on_true = sum(int((f.labels[m] > 0).sum()) for f, m in zip(frames, masks, strict=True))
        if pixels and found.cues is not None:
            yield {**asdict(found.cues), "true": on_true >= TRUE_SHARE * pixels, "cut": found.candidate.cut_by_image}


def simulated(args: argparse.Namespace, config: SessionConfig) -> list[dict]:
    meshes, rows = mesh_files(args.meshes) if args.meshes else [], []
    for number in tqdm(range(args.first, args.first + args.scenes)):
        frames = clutter_frames(number, meshes)
        for views in VIEWS:
            rows += [{**row, "from": f"clutter, {views} view(s)"} for row in judged(frames[:views], config)]
    return rows


def captured(folders: Sequence[Path], config: SessionConfig) -> list[dict]:
    config, rows = replace(config, up_world=UP_UNKNOWN), []
    for folder in folders:
        for name in capture_names(folder):
            capture = read_capture(folder, name, config.depth)
            if capture.objects is not None and capture.complete:
                meshes = [o.mesh for o in capture.objects]
                frames = [replace(f, labels=silhouettes(meshes, f)) for f in capture.frames]
                rows += [{**row, "from": "captures"} for row in judged(frames, config)]
    return rows


def cues_of(row: dict) -> ObjectCues:
    return ObjectCues(row["objectness"], row["agreement"], row["relief"], row["pixels"])


def fitted(rows: Sequence[dict]) -> np.ndarray:
    """Return the weights of a logistic regression of the truth; by gaps alone true and phantom ones count alike."""
    X = np.array([cues_of(row).features() for row in rows])
    sign = np.where([row["true"] for row in rows], 1.0, -1.0)
    share = np.mean(sign > 0)
    counts = np.ones(len(X)) if X[:, 1].any() else np.where(sign > 0, 0.5 / share, 0.5 / (1.0 - share))
    used = np.ptp(X, axis=0) > 0
    used[0] = True

    def loss(weights: np.ndarray) -> float:
        return float(
            np.mean(counts * np.logaddexp(0.0, -sign * (X[:, used] @ weights))) + RIDGE * np.mean(weights[1:] ** 2)
        )

    weights = np.zeros(X.shape[1])
    weights[used] = minimize(loss, np.zeros(int(used.sum())), method="BFGS").x
    return weights


def report(name: str, rows: Sequence[dict], weights: np.ndarray | None = None) -> dict:
    score = np.array([object_score(cues_of(row), weights) for row in rows])
    true = np.array([row["true"] for row in rows], bool)
    print(f"\n{name}: {true.sum()} true, {(~true).sum()} phantoms")
    print("limit   true listed   phantoms listed   phantoms of listed")
    for limit in LIMITS:
        kept = score >= limit
        t, p = kept[true].mean() if true.any() else np.nan, kept[~true].mean() if (~true).any() else np.nan
        of_listed = 100 * (~true & kept).sum() / max(kept.sum(), 1)
        print(f"{limit:5.1f} {100 * t:11.1f} % {100 * p:15.1f} % {of_listed:18.1f} %")
    edges = np.linspace(0, 1, 6)
    bins = np.minimum((score * 5).astype(int), 4)
    rows_ = [(edges[b], edges[b + 1], int((bins == b).sum()), score[bins == b].mean(), true[bins == b].mean())
             for b in range(5) if (bins == b).any()]  # fmt: skip
    error = sum(n * abs(s - t) for _, _, n, s, t in rows_) / max(len(score), 1)
    print("scores      count   mean score   true")
    for low, high, n, s, t in rows_:
        print(f"{low:.1f}-{high:.1f} {n:10d} {s:12.2f} {t:6.2f}")
    print(f"expected calibration error {error:.3f}")
    return {"true": int(true.sum()), "phantoms": int((~true).sum()), "ece": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meshes", type=Path, help="folder of meshes, metres, z up, beside boxes and household shapes")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--instances", default="network", choices=("network", "clusters"))
    parser.add_argument("--captures", type=Path, nargs="*", default=[])
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", type=Path, help="file of all candidates")
    args = parser.parse_args()
    config = load_config({"segment.min_score": 0.0, "segment.instances": args.instances})
    rows = [*simulated(args, config), *captured(args.captures, config)]
    for name in dict.fromkeys(row["from"] for row in rows):
        report(name, [row for row in rows if row["from"] == name])
    if args.fit:
        rows_ = [r for r in rows if r["from"] != "captures"]
        half = len(rows_) // 2
        report("second half of the clutter with weights of the first", rows_[half:], fitted(rows_[:half]))
        print("weights of all", np.round(fitted(rows_), 2).tolist())
    if args.json:
        args.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
