"""Which rule colours unseen surface best? Rules against the true colours of scans, at true hidden points.

    python benchmarks/colors.py --objects DIR [--all] [--seeds 1] [--json FILE]

Mean absolute error per channel (0 to 255), mean over the objects with a texture of the scored list (or, with --all, of
the folder), cameras with mild noise, 1, 2 and 4 views. The fitted network that weighed all of these was no better and
is gone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from sparse_recon.fuse.colors import NEIGHBOURS, UNKNOWN_GREY, surface_colors
from sparse_recon.geometry.cameras import unproject_depth
from sparse_recon.geometry.poses import rotation_to_up, transform_points
from sparse_recon.lab.evaluate.cases import LABEL, Case, make_case
from sparse_recon.lab.evaluate.objects import folder_objects
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.types import Float32, UInt8

VIEWS = (1, 2, 4)
HIDDEN_M = 0.006  # true points farther than this from all measured ones
MOST_SEEN, MOST_HIDDEN = 6000, 1500
TEXTURED = 8.0  # least standard deviation of the true colours, of 255

Rule = Callable[[Float32, Float32, UInt8], np.ndarray]  # hidden points, seen points, seen colours; object's axes


def nearest(hidden: Float32, seen: Float32, colors: UInt8) -> np.ndarray:
    """Return the mean of the nearest measured colours."""
    return np.asarray(colors[cKDTree(seen).query(hidden, k=NEIGHBOURS)[1]].mean(axis=1))


def shipped(hidden: Float32, seen: Float32, colors: UInt8) -> np.ndarray:
    """Return what the package does."""
    return surface_colors(hidden, np.zeros(len(hidden), bool), seen, colors)


def turned(sign: tuple[int, int, int]) -> Rule:
    """Return a rule that looks at the mirror image: x away from the cameras, z up, about the seen middle."""

    def rule(hidden: Float32, seen: Float32, colors: UInt8) -> np.ndarray:
        middle = 0.5 * (seen.min(axis=0) + seen.max(axis=0))
        return nearest((hidden - middle) * np.array(sign, np.float32) + middle, seen, colors)

    return rule


def same_height(hidden: Float32, seen: Float32, colors: UInt8) -> np.ndarray:
    """Return the mean of what was measured at about the same height."""
    return nearest(hidden[:, 2:], seen[:, 2:], colors)


RULES: dict[str, Rule] = {
    "shipped": shipped,
    "median of all": lambda hidden, seen, colors: np.tile(np.median(colors, axis=0), (len(hidden), 1)),
    "nearest": nearest,
    "behind": turned((-1, 1, 1)),
    "beside": turned((1, -1, 1)),
    "turned by a half": turned((-1, -1, 1)),
    "same height": same_height,
    "grey": lambda hidden, seen, colors: np.full((len(hidden), 3), UNKNOWN_GREY),
}


def problems(case: Case) -> Iterator[tuple[int, Float32, UInt8, Float32, UInt8]]:
    """Yield views, hidden points and colours, seen points and colours, in axes with x away from the cameras."""
    truth, colors = case.truth.vertices_world, case.scene.objects[0].shape.colors
    rng = np.random.default_rng(case.seed)
    for views in VIEWS:
        points, seen_colors, away = [], [], []
        for frame in case.frames[:views]:
            assert frame.depth_m is not None and frame.labels is not None
            mask = (frame.labels == LABEL) & (frame.depth_m > 0)
            points.append(transform_points(frame.T_world_cam, unproject_depth(frame.depth_m, frame.intrinsics, mask)))
            seen_colors.append(frame.rgb[mask])
            away.append(frame.T_world_cam[:3, 2])
        seen, tints = np.concatenate(points), np.concatenate(seen_colors)
        kept = rng.permutation(len(seen))[:MOST_SEEN]
        hidden = np.flatnonzero(cKDTree(seen[kept]).query(truth)[0] > HIDDEN_M)
        hidden = rng.permutation(hidden)[:MOST_HIDDEN]
        if len(hidden) < 50:
            continue
        R = rotation_to_up(np.array([0.0, 0.0, 1.0]), np.mean(away, axis=0)).astype(np.float32)
        yield views, truth[hidden] @ R, colors[hidden], seen[kept].astype(np.float32) @ R, tints[kept]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, metavar="DIR", help="folder of textured meshes")
    parser.add_argument("--all", action="store_true", help="not only those of the scored list")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    protocol = replace(Protocol(), views=VIEWS, novel_views=0)
    errors: dict[str, dict[int, list[float]]] = {name: {v: [] for v in VIEWS} for name in RULES}
    count = 0
    for scored in folder_objects(args.objects, everything=args.all):
        if scored.load().colors.std(axis=0).max() < TEXTURED:
            continue
        count += 1
        for seed in range(args.seeds):
            for views, hidden, true, seen, tints in problems(make_case(scored, "mild", seed, protocol)):
                for name, rule in RULES.items():
                    errors[name][views].append(float(np.abs(rule(hidden, seen, tints) - true.astype(float)).mean()))
    table = {name: {views: float(np.mean(found)) for views, found in row.items()} for name, row in errors.items()}
    print(f"{count} textured objects\n{'rule':20}" + "".join(f"{v:>9} views" for v in VIEWS))
    for name, means in table.items():
        print(f"{name:20}" + "".join(f"{means[v]:15.1f}" for v in VIEWS))
    if args.json:
        args.json.write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
