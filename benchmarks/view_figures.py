"""How good drawn views of an object are, pixel by pixel and as far as they show one and the same thing."""

from __future__ import annotations

import numpy as np
import torch
from view_methods import Seen, Shown

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.complete.latent.perceptual import Perceptual
from sparse_recon.fuse.radiance.field import COLORS, RadianceField
from sparse_recon.fuse.radiance.rays import camera_rays
from sparse_recon.fuse.radiance.render import render
from sparse_recon.geometry.cameras import pixel_rays, project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import UInt8

# The cube of the fitted field, and of the hulls, reaches this far from the middle, in longest sides.
HALF = 0.6
FIELD, FIT_STEPS, FIT_RAYS, HULL = 40, 150, 1500, 48
WHITE = 247
# A point counts as seen by a picture whose depth there differs by less than this, in longest sides.
DEPTH_TOLERANCE = 0.03


def on_true_objects(images: UInt8, on_black: UInt8 | None, o: Shown) -> UInt8:
    """Return drawn views whose pixels of true objects are as they were drawn: what is black there is no hole."""
    if on_black is None:
        return images
    masks = np.stack([view.mask for view in o.truth])[..., None]
    return np.where(masks > 127, np.minimum(on_black.astype(np.int16) + (255 - masks), 255), images).astype(np.uint8)


def view_db(images: UInt8, o: Shown) -> tuple[float, float, float]:
    """Return the mean PSNR of the asked views: on pixels of the true object, on those of them that no shown picture
    shows, and on all."""
    found = []
    for k in o.asked:
        inside = o.truth[k].mask > 127
        squared = ((images[k].astype(np.float64) - o.truth[k].rgb) / 255) ** 2
        hidden = inside & ~seen_before(o.truth[k], o.shown)
        found.append([squared[m].mean() if m.any() else np.nan for m in (inside, hidden, np.ones_like(inside))])
    return tuple(psnr(column) for column in np.array(found).T)  # type: ignore[return-value]


def seen_before(view: Seen, shown: list[Seen]) -> np.ndarray:
    """Return (P, P) bool, whether the surface at a pixel is seen in any shown picture."""
    lens = model_intrinsics(len(view.rgb))
    depth = np.where(np.isfinite(view.depth), view.depth, 0.0).astype(np.float64)
    points = transform_points(view.camera.T_obj_cam(), (pixel_rays(lens) * depth[..., None]).reshape(-1, 3))
    found = np.zeros(len(points), bool)
    for other in shown:
        local = transform_points(inverse(other.camera.T_obj_cam()), points)
        u, v = np.round(project_points(local, lens)).T
        within = (u >= 0) & (v >= 0) & (u < lens.width) & (v < lens.height)
        row, column = (np.where(within, x, 0).astype(int) for x in (v, u))
        found |= within & (np.abs(other.depth[row, column] - local[:, 2]) < DEPTH_TOLERANCE)
    return found.reshape(depth.shape)


def sharpness(images: UInt8, o: Shown) -> float:
    """Return how strong differences of neighbouring pixels are where nothing was shown, the truth's being 1."""
    ours, theirs = 0.0, 0.0
    for k in o.asked:
        hidden = (o.truth[k].mask > 127) & ~seen_before(o.truth[k], o.shown)
        both = hidden[1:, 1:] & hidden[:-1, 1:] & hidden[1:, :-1]
        ours += float(gradient(images[k])[both].sum())
        theirs += float(gradient(o.truth[k].rgb)[both].sum())
    return ours / theirs if theirs else float("nan")


def gradient(rgb: UInt8) -> np.ndarray:
    x = rgb.astype(np.float64)
    down, right = x[1:, 1:] - x[:-1, 1:], x[1:, 1:] - x[1:, :-1]
    return np.sqrt((down**2 + right**2).sum(axis=-1))


def feature_distance(images: UInt8, o: Shown, distance: Perceptual) -> float:
    """Return the mean perceptual distance of the asked views."""

    def tensor(rgb: UInt8) -> torch.Tensor:
        return torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]

    with torch.no_grad():
        return float(np.mean([float(distance(tensor(images[k]), tensor(o.truth[k].rgb))) for k in o.asked]))


def psnr(errors: list[float] | np.ndarray) -> float:
    return float(np.nanmean(-10 * np.log10(np.maximum(errors, 1e-10))))


def fused(images: UInt8, cameras: list[SphericalCamera], seed: int) -> tuple[float, UInt8]:
    """Fit a radiance field to images on white; return its PSNR on their pixels that are not white, and its images."""
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
        return float("nan"), images
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
        rendered = torch.cat(
            [render(field, rays[k : k + 4096]).over(torch.ones(1, 3)) for k in range(0, len(rays), 4096)]
        )
    made = (rendered.clamp(0, 1) * 255).round().to(torch.uint8).numpy().reshape(images.shape)
    return psnr([float(((rendered[on] - colors[on]) ** 2).mean())]), made


def hull_iou(images: UInt8, o: Shown) -> float:
    """Return the IoU of the visual hulls of drawn views and of true masks, all 16."""
    drawn = list(zip(images.min(axis=-1) < WHITE, o.cameras, strict=True))
    return iou(hull(drawn), hull([(view.mask > 127, view.camera) for view in o.truth]))


def shown_hull_iou(o: Shown) -> float:
    """Return the IoU of the visual hulls of the shown masks and of all true masks of the views that are asked for."""
    shown, truth = ([(view.mask > 127, view.camera) for view in views] for views in (o.shown, o.truth))
    return iou(hull(shown), hull(truth))


def hull(masks: list[tuple[np.ndarray, SphericalCamera]]) -> np.ndarray:
    """Return which voxels all masks (P, P) hold."""
    axis = (np.arange(HULL) + 0.5) / HULL * 2 * HALF - HALF
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    held = np.ones(len(points), bool)
    for mask, camera in masks:
        lens = model_intrinsics(len(mask))
        u, v = np.round(project_points(transform_points(inverse(camera.T_obj_cam()), points), lens)).T
        within = (u >= 0) & (v >= 0) & (u < lens.width) & (v < lens.height)
        row, column = (np.where(within, x, 0).astype(int) for x in (v, u))
        held &= within & mask[row, column]
    return held


def iou(first: np.ndarray, second: np.ndarray) -> float:
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 0.0
