"""Does geometry from pictures without depth work? Measured with an oracle in place of a diffusion model.

    python benchmarks/distillation.py [--what distill ablations fast calibrate] [--object ycb_035_power_drill ...]
        [--objects ../shared/data/objects] [--iterations 400] [--size 64] [--grid 64] [--pictures DIR] [--json FILE]

The oracle answers with renderings of a scanned object, on white, at whatever camera is asked for: what a model that is
always right would say. It measures the machinery, not a model.

- distill: score distillation; PSNR of held-out cameras, F-score of the mesh from the field alone (imagined) and with
  one measured view (fused).
- ablations: the same without one term at a time, and with the weights that Zero-1-to-3 publishes for latents.
- fast: a field fitted to 8 pictures on a ring and one measured view; also with pictures that do not agree, whose
  cameras are off by --jitter degrees, and with outlines alone.
- calibrate: fits the constants of `fuse/radiance/agreement.py` to scans and prints them with their calibration error on
  other scans.

Distances are not aligned; the threshold of the F-score is 2 % (1 %) of the diagonal of the scan's box. Pictures of
colours need other weights than latents: what is set is in `WEIGHTS`. Nothing is written unless told.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparse_recon.completion import Completion
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.model_config import DistillConfig, FitConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.evidence import Evidence
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.fuse.fusion import fuse
from sparse_recon.fuse.imagined import imagined_field
from sparse_recon.fuse.mesh import isosurface
from sparse_recon.fuse.radiance.agreement import NAMES, WITH_PICTURES, WITHOUT_PICTURES, agreement_features
from sparse_recon.fuse.radiance.depth import Placed, depth_cameras, depth_views, read_depth
from sparse_recon.fuse.radiance.distill import Distillation
from sparse_recon.fuse.radiance.fit import fit
from sparse_recon.fuse.radiance.rays import square_camera
from sparse_recon.fuse.radiance.viewpoints import random_viewpoints, towards_origin
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.evaluate.metrics.calibration import expected_calibration_error, reliability
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.shapes import Shape, scanned_shape
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import (
    CameraIntrinsics,
    Float64,
    Frame,
    GeneratedView,
    ObjectFrame,
    ObjectView,
    ObjectViews,
    TriangleMesh,
)

FIELD_OF_VIEW_RAD = np.deg2rad(49.1)
RADIUS, HEIGHT = (1.8, 2.2), (-0.5, 2.2)  # as Zero-1-to-3
HELD_OUT = 12
FITTED_FOR = 150  # iterations, for calibration
RIDGE = 1e-3  # of the calibration: few scans must not make a reason decisive
# Colours in [0, 1] of 3 x 64 x 64 pixels instead of latents under guidance of 100: the score term is a hundred times
# weaker, and so must be what stands against it. Adamax at twice the published rate, for 400 instead of 10000 steps.
WEIGHTS: dict[str, float] = {
    "learning_rate": 0.1,
    "view_weight": 2500.0,
    "near_view_weight": 10.0,
    "smooth_weight": 10.0,
    "emptiness_weight": 300.0,
    "emptiness_growth": 2.0,
    "solidity_weight": 600.0,
}
PUBLISHED: dict[str, float] = {
    "view_weight": 1e4,
    "near_view_weight": 1e4,
    "smooth_weight": 1e4,
    "emptiness_weight": 0.0,
    "solidity_weight": 0.0,
}


class Studio:
    """A scanned object alone, its box centred in the object frame, and renderings of it on white."""

    def __init__(self, shape: Shape) -> None:
        middle = 0.5 * (shape.vertices_obj.min(axis=0) + shape.vertices_obj.max(axis=0))
        self.shape = replace(shape, vertices_obj=shape.vertices_obj - middle)
        nothing = Shape("none", np.eye(3) * 1e-6, np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
        self._renderer = Renderer(replace(scene_of([self.shape], [np.eye(4)]), table=nothing))
        self.unit_m = float(self.shape.size_m.max())
        self.object_frame = ObjectFrame(np.eye(4), 0.625 * self.unit_m)
        self.truth = TriangleMesh(self.shape.vertices_obj.astype(np.float32), self.shape.faces)

    def shot(self, camera: CameraIntrinsics, T_obj_cam: Float64) -> tuple[Any, Any, Any]:
        """Return colours (H, W, 3) float on white, mask and depth in metres."""
        seen = self._renderer.render(camera, T_obj_cam, shadows=False)
        mask = seen.labels == 1
        return np.where(mask[..., None], seen.rgb, 255).astype(np.float32) / 255.0, mask, seen.depth_m

    def figures(self, vertices: Any, faces: Any) -> dict[str, float]:
        """Return the F-scores and the Chamfer distance of a mesh."""
        mesh = TriangleMesh(np.asarray(vertices, np.float32), faces)
        found = surface_distances(Surface.of_mesh(mesh, 20_000, 0), Surface.of_mesh(self.truth, 20_000, 0))
        diagonal_m = float(np.linalg.norm(self.shape.size_m))
        f_2pct, f_1pct = (found.f_score(share * diagonal_m) for share in (0.02, 0.01))
        return {"f_2pct": f_2pct, "f_1pct": f_1pct, "chamfer_mm": 1e3 * found.chamfer_m}


class OracleScore:
    """A `PictureScore` that is always right."""

    def __init__(self, studio: Studio, size: int) -> None:
        self._studio = studio
        self.channels, self.size, self.device = 3, size, "cpu"
        self.focal = 0.5 * size / np.tan(0.5 * FIELD_OF_VIEW_RAD)
        self.unit_m = studio.unit_m
        self.background = torch.ones(3, size, size)
        kept = np.cumprod(1.0 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
        self.sigmas = np.sqrt((1.0 - kept) / kept)[::-1][30:-10]
        self.radius, self.height = RADIUS, HEIGHT
        self.T_obj_input = look_at((1.5, 0.8, 1.05), (0, 0, 0))
        self.conditioning_image = self.picture(self.T_obj_input)

    def picture(self, T_obj_cam: Float64) -> Tensor:
        """Return the truth (3, S, S) from a camera in model units, with four rays a pixel."""
        T = pose(T_obj_cam[:3, :3], self.unit_m * T_obj_cam[:3, 3])
        rgb, _, _ = self._studio.shot(square_camera(2 * self.size, 2 * self.focal), T)
        return torch.from_numpy(rgb.reshape(self.size, 2, self.size, 2, 3).mean((1, 3))).permute(2, 0, 1)

    def denoised(self, noisy: Tensor, sigma: Tensor, T_obj_cam: Float64) -> Tensor:
        return torch.stack([self.picture(T) for T in T_obj_cam])

    def decoded(self, pictures: Tensor) -> Tensor:
        return pictures


def measured_views(studio: Studio, count: int = 1) -> ObjectViews:
    """Return exact depth views from a little above."""
    camera, views = depth_camera(320, 240), []
    for number in range(count):
        turn = 0.6 + 2.1 * number
        T = look_at(3.0 * studio.unit_m * np.array([0.8 * np.cos(turn), 0.8 * np.sin(turn), 0.6]), (0, 0, 0))
        rgb, mask, depth_m = studio.shot(camera, T)
        depth_m = np.where(mask, depth_m, np.nan).astype(np.float32)
        frame = Frame((rgb * 255).astype(np.uint8), depth_m, camera, T, number)
        views.append(ObjectView(frame, mask, np.zeros(mask.shape, bool), depth_sigma(depth_m, DepthConfig())))
    return ObjectViews("scan", tuple(views), studio.object_frame)


def ring_views(
    studio: Studio, count: int = 8, size: int = 256, jitter_deg: float = 0.0, seed: int = 0
) -> tuple[GeneratedView, ...]:
    """Return pictures without depth, alternately from above and below; with `jitter_deg` taken from elsewhere."""
    rng = np.random.default_rng(seed)
    camera, views = square_camera(size, 0.5 * size / np.tan(0.5 * FIELD_OF_VIEW_RAD)), []
    for number in range(count):
        turn, up = 2 * np.pi * number / count, np.deg2rad((30.0, -20.0)[number % 2])
        eye = 2.0 * np.array([np.cos(turn) * np.cos(up), np.sin(turn) * np.cos(up), np.sin(up)])
        moved = eye + 2.0 * np.deg2rad(jitter_deg) * rng.normal(size=3)
        rgb, mask, _ = studio.shot(camera, look_at(studio.unit_m * moved, (0, 0, 0)))
        frame = Frame((rgb * 255).astype(np.uint8), None, camera, look_at(studio.unit_m * eye, (0, 0, 0)), number)
        views.append(GeneratedView(frame, mask, np.full(mask.shape, 0.9, np.float32), "oracle", seed))
    return tuple(views)


def evidence_of(observed: ObjectViews, config: SessionConfig) -> Evidence:
    grid = VoxelGrid.cube(config.evidence.grid, observed.object_frame.half_side_m)
    return Evidence.of(observed, grid, config.evidence)


def geometry(studio: Studio, completion: Completion, config: SessionConfig) -> dict[str, float]:
    """Return the figures of what a completion becomes, alone and with one measured view."""
    observed = measured_views(studio)
    evidence = evidence_of(observed, config)
    surface = imagined_field(completion, observed, evidence, config)
    alone = studio.figures(*isosurface(surface.sdf_m, evidence.grid))
    fused = fuse(observed, surface, evidence, config, np.random.default_rng(0), lambda stage: None)
    whole = studio.figures(fused.nominal.vertices_world, fused.nominal.faces)
    return {f"imagined_{k}": v for k, v in alone.items()} | {f"fused_{k}": v for k, v in whole.items()}


def distilled(
    studio: Studio, args: argparse.Namespace, pictures: Path | None = None, **change: float
) -> dict[str, float]:
    """Distil once and measure."""
    score = OracleScore(studio, args.size)
    weights: dict[str, Any] = {**WEIGHTS, **change}
    config = DistillConfig(iterations=args.iterations, grid=args.grid, **weights)
    started = time.perf_counter()
    distillation = Distillation(score, config, args.seed)
    for iteration in range(config.iterations):
        distillation.iterate(iteration)
    seconds = time.perf_counter() - started
    eyes = random_viewpoints(HELD_OUT, RADIUS, HEIGHT, torch.Generator().manual_seed(99))
    psnr, shown = [], []
    with torch.no_grad():
        for T in towards_origin(eyes):
            made, true = distillation.picture(T)[0][0], score.picture(T)
            psnr.append(-10.0 * float(torch.log10((made - true).square().mean())))
            shown.append(torch.cat([true, made], 1))
    if pictures is not None:
        import cv2

        image = torch.cat(shown[:6], 2).clamp(0, 1).permute(1, 2, 0).numpy()[..., ::-1]
        cv2.imwrite(str(pictures), (image * 255).astype(np.uint8))
    placed = Placed(distillation.field, score.unit_m, np.zeros(3))
    views = depth_views(placed, studio.object_frame, config.views, "oracle", args.seed)
    confidence, right = trusted(studio, views)
    found = {"seconds": seconds, "psnr_db": float(np.mean(psnr)), "psnr_least_db": min(psnr)}
    found |= {"within_5mm": float(right.mean()), "claimed": float(confidence.mean())} if len(right) else {}
    return found | geometry(studio, Completion("oracle", args.seed, views=views), SessionConfig(seed=args.seed))


def trusted(studio: Studio, views: Sequence[GeneratedView]) -> tuple[Any, Any]:
    """Return the confidence of all pixels of an object, and whether their depth is within 5 mm."""
    confidence, right = [], []
    for view in views:
        _, _, depth_m = studio.shot(view.frame.intrinsics, view.frame.T_world_cam)
        assert view.frame.depth_m is not None
        error_m = np.abs(view.frame.depth_m - depth_m)[view.mask]
        confidence.append(view.confidence[view.mask])
        right.append(np.nan_to_num(error_m, nan=1.0) < 0.005)
    return np.concatenate(confidence), np.concatenate(right)


def fitted(studio: Studio, jitter_deg: float, iterations: int) -> dict[str, float]:
    """Fit to pictures on a ring and measure."""
    config = SessionConfig(fit=replace(FitConfig(), iterations=iterations))
    completion = Completion("oracle", 0, views=ring_views(studio, jitter_deg=jitter_deg))
    observed = measured_views(studio)
    started = time.perf_counter()
    imagined_field(completion, observed, evidence_of(observed, config), config)
    return {"seconds": time.perf_counter() - started, **geometry(studio, completion, config)}


def reasons(studio: Studio, jitter_deg: float, seed: int) -> tuple[Float64, Any]:
    """Return reasons for features (P, 7) and rightness (P,) of pixels of a field fitted to pictures."""
    config = SessionConfig(fit=FitConfig(iterations=FITTED_FOR))
    pictures, observed = ring_views(studio, jitter_deg=jitter_deg, seed=seed), measured_views(studio)
    field = fit(pictures, observed, evidence_of(observed, config), config.fit, seed)
    placed = Placed(field, studio.object_frame.half_side_m, np.zeros(3))
    read = read_depth(placed, depth_cameras(pictures, studio.object_frame, config.fit.views))
    found, right = [], []
    for seen in read[::3]:
        _, _, depth_m = studio.shot(seen.intrinsics, seen.T_obj_cam)
        error_m = np.nan_to_num(np.abs(seen.depth_m - depth_m)[seen.mask], nan=1.0)
        columns = agreement_features(seen, read, list(zip(pictures, read, strict=False)), placed.voxel_m).columns(
            seen.mask
        )
        found.append(columns[::5])
        right.append(error_m[::5] < 0.005)
    return np.concatenate(found), np.concatenate(right)


def calibrated(x: Float64, right: Any, used: Sequence[bool]) -> Float64:
    """Fit P = sigmoid(c0 - c . x) with c >= 0 by maximum likelihood, constants held small."""
    from scipy.optimize import minimize

    sign = np.where(right, 1.0, -1.0)

    def loss(c: Float64) -> tuple[float, Float64]:
        margin = sign * (c[0] - x @ c[1:])
        slope = -sign / (1.0 + np.exp(margin)) / len(sign)
        gradient = np.concatenate([[slope.sum()], -slope @ x]) + 2.0 * RIDGE * c
        return float(np.logaddexp(0.0, -margin).mean() + RIDGE * c @ c), gradient

    bounds = [(None, None), *((0.0, None if use else 0.0) for use in used)]
    return np.asarray(minimize(loss, np.zeros(1 + x.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B").x)


def calibration(args: argparse.Namespace) -> dict[str, Any]:
    """Fit the constants on all scans, of agreeing and of disagreeing pictures; errors are of the half not fitted to."""
    halves: tuple[list[tuple[Float64, Any]], ...] = ([], [])
    for number, name in enumerate(args.object):
        for jitter_deg in (0.0, 2.0, 5.0):
            halves[number % 2].append(reasons(studio_of(args, name), jitter_deg, number))
    x, right = (tuple(np.concatenate([part[i] for part in half]) for half in halves) for i in (0, 1))
    report: dict[str, Any] = {"pixels": sum(map(len, right)), "right": float(np.concatenate(right).mean())}
    for kind, used, now in (
        ("with_pictures", [True] * len(NAMES), WITH_PICTURES),
        ("without_pictures", [name not in ("outside", "unlike") for name in NAMES], WITHOUT_PICTURES),
    ):
        report[kind] = [round(float(v), 2) for v in calibrated(np.concatenate(x), np.concatenate(right), used)]
        for label, constants in (
            ("fitted", [calibrated(x[1 - i], right[1 - i], used) for i in (0, 1)]),
            ("in_use", [np.asarray(now)] * 2),
        ):
            claimed = np.concatenate([1.0 / (1.0 + np.exp(x[i] @ c[1:] - c[0])) for i, c in enumerate(constants)])
            table = reliability(claimed.astype(np.float32), np.concatenate(right))
            report[f"{kind}_{label}_ece"] = expected_calibration_error(table)
    return report


def studio_of(args: argparse.Namespace, name: str) -> Studio:
    return Studio(scanned_shape(args.objects / f"{name}.glb"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("distill", "ablations", "fast", "calibrate")
    parser.add_argument("--what", nargs="+", choices=kinds, default=["distill", "ablations", "fast"])
    parser.add_argument("--object", nargs="+", default=["ycb_035_power_drill"])
    parser.add_argument("--objects", type=Path, default=Path("../shared/data/objects"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--grid", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--jitter", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report: dict[str, Any] = {}

    def note(title: str, figures: dict[str, Any]) -> None:
        report[title] = figures
        text = "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
        print(f"{title:44}", text, flush=True)

    for name in args.object if set(args.what) - {"calibrate"} else ():
        studio = studio_of(args, name)
        if "fast" in args.what:
            note(f"{name}: fit", fitted(studio, 0.0, FitConfig().iterations))
            note(f"{name}: fit, {args.jitter:g} deg off", fitted(studio, args.jitter, FitConfig().iterations))
            note(f"{name}: outlines alone", fitted(studio, 0.0, 0))
        if "distill" in args.what:
            picture = None if args.pictures is None else args.pictures / f"{name}.png"
            note(f"{name}: distilled", distilled(studio, args, picture))
        if "ablations" in args.what:
            for term in ("near_view", "emptiness", "solidity", "smooth"):
                note(f"{name}: without {term}", distilled(studio, args, None, **{f"{term}_weight": 0.0}))
            note(f"{name}: published weights", distilled(studio, args, None, **PUBLISHED))
    if "calibrate" in args.what:
        note("calibration", calibration(args))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
