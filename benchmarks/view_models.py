"""Novel views by the mini models and by trivial answers, on objects that none of them learned from.

    sparse_recon train --model syncdreamer --config config/training/mini-syncdreamer.yaml --generate \\
      --data out/views/ring16 --scans DIR --shapes DIR
    python benchmarks/view_models.py --data out/views/ring16 --objects 24 --sheet out/view_models.png

Each object is shown once, from a random one of its input views, and drawn from 16 azimuths at 30 degrees. Methods:

- input: the shown picture itself, for every view.
- carve: the coloured mesh that `model: carve` makes of the shown picture, its depth, mask and pose, ray-cast.
  Others do not know the depth.
- zero123, syncdreamer: mini weights.

Figures are means over objects: PSNR of the 15 views that were not asked for at the shown azimuth, on the pixels of the
true object, and of whole pictures; agreement: PSNR of a radiance field fitted to all 16 views, on those views, on the
pixels that they show of an object; hull IoU: of the visual hulls of drawn and true masks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy.spatial import cKDTree

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.config.session_config import load_config
from sparse_recon.fuse.radiance.field import COLORS, RadianceField
from sparse_recon.fuse.radiance.rays import camera_rays
from sparse_recon.fuse.radiance.render import render
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.views.bodies import Body
from sparse_recon.lab.training.views.raycast import Pictures, pictures
from sparse_recon.lab.training.views.shards import list_views, read_views, view_shards
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Float64, Frame, UInt8

VIEWS = 16
UNIT_M = 0.2
# The cube of the fitted field, and of the hulls, reaches this far from the middle, in longest sides.
HALF = 0.6
FIELD, FIT_STEPS, FIT_RAYS, HULL = 40, 150, 1500, 48
WHITE = 247
FINER = 4


@dataclass(frozen=True, eq=False)
class Shown:
    """One object: the picture that is shown, and the true pictures of the 16 views, from the shown azimuth on."""

    name: str
    rgb: UInt8
    mask: UInt8
    depth: np.ndarray
    camera: SphericalCamera
    truth: UInt8
    truth_mask: UInt8
    cameras: list[SphericalCamera]


T = TypeVar("T")
Method = Callable[[Shown, int], UInt8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="pictures of the policy ring16")
    parser.add_argument("--objects", type=int, default=24, help="held-out objects (default 24)")
    parser.add_argument("--fitted", type=int, default=12, help="objects of which agreement is measured (default 12)")
    parser.add_argument("--methods", nargs="+", default=["input", "carve", "zero123", "syncdreamer"])
    parser.add_argument("--steps", type=int, default=25, help="denoising steps (default 25)")
    parser.add_argument("--guidance", type=float, default=1.5, help="guidance scale (default 1.5)")
    parser.add_argument("--draws", type=int, default=1, help="draws whose mean a view is (default 1)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 0: all cores")
    parser.add_argument("--sheet", type=Path, help="also draw some of the views")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    stored = list_views(view_shards(args.data / HELD_OUT))
    stored = stored[:: max(1, len(stored) // args.objects)][: args.objects]
    objects = [shown_object(read_views(s), s.name, number) for number, s in enumerate(stored)]
    makers: dict[str, Callable[[argparse.Namespace], Method]] = {
        "input": lambda _: lambda o, number: np.repeat(o.rgb[None], VIEWS, axis=0),
        "carve": lambda _: carved,
        "zero123": zero123,
        "syncdreamer": syncdreamer,
    }
    rows = {}
    print(f"{len(objects)} objects, {args.steps} steps, guidance {args.guidance:g}, draws {args.draws}")
    print(
        "| | PSNR on the object, dB | PSNR, dB | agreement, dB | hull IoU | seconds an object |\n" + "| --- " * 6 + "|"
    )
    for name in args.methods:
        method, figures, drawn = makers[name](args), [], []
        for number, o in enumerate(objects):
            began = time.perf_counter()
            images = method(o, number)
            seconds = time.perf_counter() - began
            drawn.append(images)
            fitted = number < args.fitted and name != "input"
            agreement = agreement_db(images, o.cameras, number) if fitted else np.nan
            iou = hull_iou(images.min(axis=-1) < WHITE, o.truth_mask > 127, o.cameras) if name != "input" else np.nan
            figures.append((*view_db(images, o), agreement, iou, seconds))
        rows[name] = drawn
        found = [float(np.nanmean(c)) if np.isfinite(c).any() else np.nan for c in np.array(figures).T]
        cells = [f"{v:.{digits}f}" if np.isfinite(v) else "" for v, digits in zip(found, (2, 2, 2, 3, 1), strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if args.sheet:
        write_sheet(args.sheet, objects, rows)


def shown_object(seen: Pictures, name: str, number: int) -> Shown:
    """Choose the shown view of an object, and turn the others so that the first is at its azimuth."""
    first = int(np.random.default_rng([7, number]).integers(VIEWS))
    shown = VIEWS + first
    order = (first + np.arange(VIEWS)) % VIEWS
    cameras = [SphericalCamera(*(float(v) for v in row)) for row in seen.cameras]
    depth = seen.depth[shown].astype(np.float32)
    return Shown(
        name,
        seen.rgb[shown],
        seen.mask[shown],
        depth,
        cameras[shown],
        seen.rgb[order],
        seen.mask[order],
        [cameras[k] for k in order],
    )


def carved(o: Shown, number: int) -> UInt8:
    """Return views of the coloured mesh that carving makes of the shown picture with its depth."""
    session = CompletionSession(load_config({"model": "carve", "evidence.grid": 48}))
    inside = o.mask > 127
    depth_m = np.where(inside & np.isfinite(o.depth), o.depth * UNIT_M, np.nan).astype(np.float32)
    # Every pixel four times along both edges: as many points as a camera's image would have.
    intrinsics = model_intrinsics(FINER * len(o.rgb))
    frame = Frame(
        finer(o.rgb), finer(depth_m), intrinsics, o.camera.T_obj_cam(UNIT_M), 1, finer(inside.astype(np.int32))
    )
    session.add_frame(frame)
    try:
        done = session.complete(CompletionRequest(label=1))
    except Exception as error:  # whatever it refuses an object with, which then counts as an empty picture
        print(f"carve refuses {o.name}: {error}")
        return np.full_like(o.truth, 255)
    vertices = done.nominal.vertices_world.astype(np.float64)
    colors = done.colors[cKDTree(done.points_world).query(vertices)[1]].astype(np.float64) / 255
    faces = done.nominal.faces.astype(np.int32)

    def interpolated(face: np.ndarray, uv: np.ndarray, points: Float64) -> Float64:
        corner = colors[faces[face]]
        return corner[:, 0] * (1 - uv.sum(axis=1))[:, None] + corner[:, 1] * uv[:, :1] + corner[:, 2] * uv[:, 1:]

    return pictures(Body(o.name, vertices / UNIT_M, faces, interpolated), o.cameras, len(o.rgb)).rgb


def finer(image: T) -> T:
    """Return an image with every pixel repeated along both edges."""
    return image.repeat(FINER, 0).repeat(FINER, 1)  # type: ignore[attr-defined]


def zero123(args: argparse.Namespace) -> Method:
    """Return the mini of Zero-1-to-3: each view alone."""
    from sparse_recon.complete.zero123.model import Zero123Model
    from sparse_recon.complete.zero123.parameters import Zero123Config
    from sparse_recon.complete.zero123.sampling import ViewSampler
    from sparse_recon.complete.zero123.weights import mini

    size, tensors = mini()
    config = Zero123Config(steps=args.steps, guidance=args.guidance, sampler="ddim", draws=args.draws, at_once=VIEWS)
    sampler = ViewSampler(Zero123Model(tensors, size, "cpu", torch.float32), config)

    def draw(o: Shown, number: int) -> UInt8:
        seeds = [number * 1000 + k for k in range(VIEWS)]
        return sampler.generate(conditioning(o), o.cameras, seeds, config, lambda *step: None)

    return draw


def syncdreamer(args: argparse.Namespace) -> Method:
    """Return the mini of SyncDreamer: all views together."""
    from sparse_recon.complete.syncdreamer.model import SyncDreamerModel
    from sparse_recon.complete.syncdreamer.parameters import SyncDreamerConfig
    from sparse_recon.complete.syncdreamer.sampling import SetSampler
    from sparse_recon.complete.syncdreamer.weights import mini

    size, tensors = mini()
    config = SyncDreamerConfig(steps=args.steps, guidance=args.guidance, draws=args.draws, at_once=VIEWS)
    sampler = SetSampler(SyncDreamerModel(tensors, size, "cpu", torch.float32), config)
    return lambda o, number: sampler.generate(conditioning(o), number, config, lambda *step: None)


def conditioning(o: Shown) -> ConditioningImage:
    """Return the shown picture as models take it."""
    rgb, mask = (image.astype(np.float32) / np.float32(255) for image in (o.rgb, o.mask))
    return ConditioningImage(rgb, mask, o.camera, ())


def view_db(images: UInt8, o: Shown) -> tuple[float, float]:
    """Return the mean PSNR of all views but the first, on pixels of the true object and on all."""
    squared = ((images.astype(np.float64) - o.truth) / 255)[1:] ** 2
    inside = (o.truth_mask > 127)[1:]
    on_object = [s[m].mean() for s, m in zip(squared, inside, strict=True) if m.any()]
    return psnr(on_object), psnr([s.mean() for s in squared])


def psnr(errors: list[float]) -> float:
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-10))))


def agreement_db(images: UInt8, cameras: list[SphericalCamera], seed: int) -> float:
    """Fit a radiance field to images on white; return its PSNR on their pixels that are not white."""
    generator = torch.Generator().manual_seed(seed)
    side = images.shape[1]
    parts = []
    for camera in cameras:
        T_cube_cam = camera.T_obj_cam()
        T_cube_cam[:3, 3] /= HALF
        parts.append(camera_rays(model_intrinsics(side), T_cube_cam))
    origins, directions = (torch.cat([getattr(p, n) for p in parts]) for n in ("origins", "directions"))
    rays = type(parts[0])(origins, directions)
    colors = torch.from_numpy(images.reshape(-1, 3).astype(np.float32) / 255)
    seen = colors.amin(dim=1) < WHITE / 255
    if not seen.any():
        return float("nan")
    # Half of the rays show the object; the others keep what is beside it empty.
    on, beside = torch.nonzero(seen).squeeze(1), torch.nonzero(~seen).squeeze(1)
    field = RadianceField(COLORS, FIELD)
    optimizer = torch.optim.Adam(
        [{"params": [field.raw], "lr": 2.0}, {"params": [field.features], "lr": 0.2}], betas=(0.9, 0.95)
    )
    for step in range(FIT_STEPS):
        for group, first in zip(optimizer.param_groups, (2.0, 0.2), strict=True):
            group["lr"] = first * 0.05 ** (step / FIT_STEPS)
        chosen = torch.cat(
            [part[torch.randint(len(part), (FIT_RAYS // 2,), generator=generator)] for part in (on, beside)]
        )
        found = render(field, rays[chosen], jitter=torch.rand(len(chosen), generator=generator))
        loss = ((found.over(torch.ones(len(chosen), 3)) - colors[chosen]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        pieces = [render(field, rays[part]).over(torch.ones(len(part), 3)) for part in on.split(4096)]
        return psnr([float(((torch.cat(pieces) - colors[on]) ** 2).mean())])


def hull_iou(masks: np.ndarray, truth: np.ndarray, cameras: list[SphericalCamera]) -> float:
    """Return the IoU of the visual hulls (voxels that all masks (V, P, P) hold) of drawn and true masks."""
    axis = (np.arange(HULL) + 0.5) / HULL * 2 * HALF - HALF
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    hulls = np.ones((2, len(points)), bool)
    for k, camera in enumerate(cameras):
        u, v = np.round(
            project_points(transform_points(inverse(camera.T_obj_cam()), points), model_intrinsics(masks.shape[1]))
        ).T
        within = (u >= 0) & (v >= 0) & (u < masks.shape[2]) & (v < masks.shape[1])
        row, column = (np.where(within, x, 0).astype(int) for x in (v, u))
        for hull, of in zip(hulls, (masks[k], truth[k]), strict=True):
            hull &= within & of[row, column]
    union = int((hulls[0] | hulls[1]).sum())
    return float((hulls[0] & hulls[1]).sum() / union) if union else 0.0


def write_sheet(path: Path, objects: list[Shown], drawn: dict[str, list[UInt8]], count: int = 12) -> None:
    """Write the shown picture, then every fourth view: truth and each method, a row of rows an object."""
    import cv2

    strips = []
    for number, o in enumerate(objects[:count]):
        sets = [o.truth, *(images[number] for images in drawn.values())]
        tiles = [np.concatenate([o.rgb, *images[[0, 3, 6, 9, 12]]], axis=1) for images in sets]
        strips.append(np.concatenate(tiles, axis=0))
        strips.append(np.full((6, *strips[-1].shape[1:]), 128, np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(strips)[..., ::-1])


if __name__ == "__main__":
    main()
