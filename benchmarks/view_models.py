"""Novel views by the mini models and by trivial answers, on objects that none of them learned from.

    sparse_recon train --model syncdreamer --config config/training/mini-syncdreamer.yaml --generate \\
      --data out/views/ring16 --scans DIR --shapes DIR
    python benchmarks/view_models.py --data out/views/ring16 --objects 24 --sheet out/view_models.png
    python benchmarks/view_models.py --data out/views/ring16 --objects 24 --shown 1 2 3 6 \\
      --methods input hull carve eft sparsefusion

Each object is drawn from 16 azimuths at 30 degrees. Shown are random ones of its input views; where numbers of them are
compared, more views are those that fewer are, and some. Methods:

- input: the shown picture from the nearest direction, for every view.
- hull: nothing but what the shown masks allow.
- carve: the coloured mesh that `model: carve` makes of the shown pictures, their depth, masks and poses, ray-cast.
  Others do not know the depth.
- zero123, syncdreamer: mini weights, of the first picture alone. eft, sparsefusion: mini weights, of all.

Figures are means over objects, of the views at whose azimuth nothing is ever shown: PSNR on the pixels of the true
object, on those that no shown picture shows ("hidden"), and of whole pictures; perceptual distance by features of the
autoencoder that ships with the package; sharpness: differences of neighbouring hidden pixels, as a share of those of
the truth; agreement: PSNR of a radiance field fitted to all 16 views, on those views, on the pixels that show an
object; "fused": PSNR of the field's own images on the pixels of the true object; hull IoU: of the visual hulls of drawn
and true masks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from view_figures import feature_distance, fused, hull_iou, on_true_objects, sharpness, shown_hull_iou, view_db
from view_methods import METHODS, VIEWS, Shown, shown_object

from sparse_recon.complete.latent.perceptual import Perceptual, own_distance
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.views.shards import list_views, read_views, view_shards
from sparse_recon.types import UInt8

COLUMNS = (
    ("shown", 0),
    ("PSNR on the object, dB", 2),
    ("hidden, dB", 2),
    ("PSNR, dB", 2),
    ("perceptual distance", 3),
    ("sharpness", 2),
    ("agreement, dB", 2),
    ("fused, dB", 2),
    ("hull IoU", 3),
    ("seconds an object", 1),
)
# Methods that draw nothing of their own, or the same whatever the camera.
NO_VIEWS = ("input", "hull")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="pictures of the policy ring16")
    parser.add_argument("--objects", type=int, default=24, help="held-out objects (default 24)")
    parser.add_argument("--fitted", type=int, default=12, help="objects of which agreement is measured (default 12)")
    parser.add_argument("--methods", nargs="+", default=["input", "carve", "zero123", "syncdreamer"], choices=METHODS)
    parser.add_argument("--shown", type=int, nargs="+", default=[1], help="pictures that are shown (default 1)")
    parser.add_argument("--steps", type=int, default=25, help="denoising steps (default 25)")
    parser.add_argument("--posed-steps", type=int, default=50, help="those of sparsefusion (default 50)")
    parser.add_argument("--guidance", type=float, default=1.5, help="guidance scale (default 1.5)")
    parser.add_argument("--draws", type=int, default=1, help="draws whose mean a view is (default 1)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 0: all cores")
    parser.add_argument("--sheet", type=Path, help="also draw some of the views")
    args = parser.parse_args()
    if not 1 <= min(args.shown) <= max(args.shown) < VIEWS:
        parser.error(f"--shown takes numbers from 1 to {VIEWS - 1}: else nothing would be asked for")
    if args.threads:
        torch.set_num_threads(args.threads)
    stored = list_views(view_shards(args.data / HELD_OUT))
    stored = stored[:: max(1, len(stored) // args.objects)][: args.objects]
    objects = [shown_object(read_views(s), s.name, number, max(args.shown)) for number, s in enumerate(stored)]
    distance, rows = own_distance("cpu"), {}
    steps = f"{args.steps} steps, of sparsefusion {args.posed_steps}"
    print(f"{len(objects)} objects, {steps}, guidance {args.guidance:g}, draws {args.draws}")
    print(f"| | {' | '.join(name for name, _ in COLUMNS)} |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for name in args.methods:
        method = METHODS[name](args)
        for count in args.shown:
            figures, drawn = [], []
            for number, o in enumerate(o.of(count) for o in objects):
                began = time.perf_counter()
                images, on_black = method(o, number)
                seconds = time.perf_counter() - began
                drawn.append(images)
                found = measured(name, images, on_black, o, number < args.fitted, number, distance)
                figures.append([count, *found, seconds])
            rows[f"{name}, {count}"] = drawn
            means = [float(np.nanmean(c)) if np.isfinite(c).any() else np.nan for c in np.array(figures).T]
            cells = [f"{v:.{digits}f}" if np.isfinite(v) else "" for v, (_, digits) in zip(means, COLUMNS, strict=True)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if args.sheet:
        write_sheet(args.sheet, [o.of(max(args.shown)) for o in objects], rows)


def measured(
    name: str, images: UInt8, on_black: UInt8 | None, o: Shown, fit: bool, number: int, distance: Perceptual
) -> list[float]:
    """Return the figures of one object, in the order of `COLUMNS` but for the first and last."""
    nan = float("nan")
    if name == "hull":
        return [nan] * 7 + [shown_hull_iou(o)]
    drawn = on_true_objects(images, on_black, o)
    on_object, hidden, whole = view_db(drawn, o)
    if on_black is not None:
        whole = view_db(images, o)[2]
    agreement, rendered = (nan, None) if name in NO_VIEWS or not fit else fused(images, o.cameras, number)
    return [
        on_object,
        hidden,
        whole,
        feature_distance(images, o, distance),
        sharpness(drawn, o),
        agreement,
        nan if rendered is None else view_db(rendered, o)[0],
        nan if name in NO_VIEWS else hull_iou(images, o),
    ]


def write_sheet(path: Path, objects: list[Shown], drawn: dict[str, list[UInt8]], count: int = 12) -> None:
    """Write the first shown picture, then every third view: truth and each method, a row of rows an object."""
    import cv2

    strips = []
    for number, o in enumerate(objects[:count]):
        sets = [np.stack([view.rgb for view in o.truth]), *(images[number] for images in drawn.values())]
        tiles = [np.concatenate([o.shown[0].rgb, *images[[0, 3, 6, 9, 12]]], axis=1) for images in sets]
        strips.append(np.concatenate(tiles, axis=0))
        strips.append(np.full((6, *strips[-1].shape[1:]), 128, np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(strips)[..., ::-1])


if __name__ == "__main__":
    main()
