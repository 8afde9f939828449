"""A radiance field fitted to generated views and to what cameras saw and measured: the fast way to depth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparse_recon.config.model_config import FitConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.evidence import Evidence
from sparse_recon.fuse.radiance.field import DENSITY_SHIFT, RadianceField
from sparse_recon.fuse.radiance.pixels import Pixels, pixels_of
from sparse_recon.fuse.radiance.render import Rendered, render
from sparse_recon.fuse.radiance.terms import total_variation
from sparse_recon.fuse.radiance.visual_hull import visual_hull
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.machine.processor import chosen_device
from sparse_recon.types import Bool, GeneratedView, ObjectViews

# At first a sample within the hull takes this share of the light, one outside of it none, for good.
INITIAL_ALPHA, EMPTY_DENSITY = 0.12, -15.0
COLOR_RATE = 0.1  # of the learning rate of density
FINAL_RATE_SHARE = 0.1  # of the first
SHORTCUT_ITERATIONS = 10
# The first steps fit a field with half as many voxels along an edge: half the samples a ray for what is wrong at large.
COARSE_SHARE = 0.5
# Light that ends farther than this from the measured depth, in units of the cube, costs no more.
DEPTH_REACH = 0.25

OnStep = Callable[[int, int], None]


def fit(
    generated: Sequence[GeneratedView],
    observed: ObjectViews,
    evidence: Evidence,
    config: FitConfig,
    seed: int,
    on_step: OnStep = lambda step, steps: None,
    checkpoint: Callable[[], None] = lambda: None,
    deadline_passed: Callable[[], bool] = lambda: False,
) -> RadianceField:
    """Fit a field over the cube of the observed object, whose half edge is one unit; its channels are colours.

    Parameters
    ----------
    generated : images with masks and known cameras; depth, where they have it, is not used.
    observed : what cameras saw, trusted fully, depth included.
    evidence : of the observed views; what it knows to be free stays empty.
    seed : of the sampled pixels; the same seed gives the same field on a processor.
    on_step, checkpoint, deadline_passed : as in `distil`.

    Raises
    ------
    ModelError
        MODEL_FAILED if no image shows anything, or their outlines have no space in common.
    ConfigError
        If the device is not there.
    """
    if not any(view.mask.any() for view in generated):
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"none of the {len(generated)} generated views shows the object: their masks are empty; try another seed",
        )
    device = chosen_device(config.device)
    generator = torch.Generator().manual_seed(seed)
    pixels = pixels_of(generated, observed.views, observed.object_frame, device)
    checkpoint()
    grid = VoxelGrid.cube(config.grid, observed.object_frame.half_side_m)
    possible = visual_hull(generated, observed.object_frame, evidence, grid, checkpoint)
    checkpoint()
    if not possible.any():
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"the masks of {len(generated)} generated views do not intersect outside observed free space: camera poses "
            "or the size of the object are wrong; try another seed or view",
        )
    coarse = int(COARSE_SHARE * config.iterations)
    field = _first_field(torch.from_numpy(_halved(possible) if coarse else possible), device)
    optimizer, shortcuts = _optimizer(field), field.shortcuts()
    for iteration in range(config.iterations):
        checkpoint()
        if iteration == coarse > 0:
            field = _refined(field, possible)
            optimizer = _optimizer(field)
        for group, share in zip(optimizer.param_groups, (1.0, COLOR_RATE), strict=True):
            group["lr"] = share * config.learning_rate * FINAL_RATE_SHARE ** (iteration / config.iterations)
        if iteration % SHORTCUT_ITERATIONS == 0 or iteration == coarse:
            shortcuts = field.shortcuts()
        batch = pixels.sample(config.rays, generator)
        background = torch.rand((config.rays, 3), generator=generator).to(device)
        jitter = torch.rand(config.rays, generator=generator).to(device)
        loss = fit_loss(render(field, batch.rays, shortcuts, jitter), batch, background, config)
        if config.smooth_weight > 0:
            loss = loss + config.smooth_weight * total_variation(field)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        on_step(iteration + 1, config.iterations)
        if iteration + 1 < config.iterations and deadline_passed():
            break
    return field if field.grid == config.grid else _refined(field, possible)


def fit_loss(rendered: Rendered, pixels: Pixels, background: Tensor, config: FitConfig) -> Tensor:
    """Return how far what rays see lies from the pixels that they belong to, a scalar.

    Parameters
    ----------
    background : (P, 3) colours put behind the image and the pixel alike, drawn anew each time: what lets them through
        cannot pass for paint.
    """
    known = ~torch.isnan(pixels.inside)
    inside = torch.where(known, pixels.inside, 0.0)
    trust = pixels.trust * known
    wanted = inside[:, None] * pixels.colors + (1.0 - inside)[:, None] * background
    color = functional.huber_loss(rendered.over(background), wanted, reduction="none", delta=0.1).sum(1) / 0.1
    opacity = rendered.opacity.clamp(1e-4, 1.0 - 1e-4)
    mask = functional.binary_cross_entropy(opacity, inside, reduction="none")
    per_ray = trust * (config.color_weight * color + config.mask_weight * mask)
    return per_ray.mean() + config.depth_weight * depth_loss(rendered, pixels)


def depth_loss(rendered: Rendered, pixels: Pixels) -> Tensor:
    """Return the mean over rays of the distance between where light ends and where it was measured to.

    On the object all light ends at the measured depth. Beside it, none ends before the depth.
    """
    depth = pixels.depth[rendered.ray]
    step = rendered.interval[rendered.ray]
    away = (rendered.depths - depth).abs() - step
    before = depth - rendered.depths - 2.0 * step
    away = torch.where(pixels.inside[rendered.ray] == 1.0, away, before).clamp(0.0, DEPTH_REACH) / DEPTH_REACH
    return (rendered.weights * torch.nan_to_num(away)).sum() / max(1, len(pixels.depth))


def _optimizer(field: RadianceField) -> torch.optim.Optimizer:
    """Return an optimiser of density and colours; their rates are set anew in each step."""
    return torch.optim.Adam([{"params": [field.raw]}, {"params": [field.features]}], fused=True)


def _halved(possible: Bool) -> Bool:
    """Return the voxels of half the resolution that hold a possible one: what is thin is not lost."""
    coarse = possible[::2, ::2, ::2].copy()
    for corner in itertools.product((0, 1), repeat=3):
        part = possible[tuple(slice(first, None, 2) for first in corner)]
        coarse[tuple(slice(0, n) for n in part.shape)] |= part
    return coarse


def _refined(field: RadianceField, possible: Bool) -> RadianceField:
    """Return a field of twice the resolution that looks alike, empty where nothing is possible."""
    fine = field.resampled(len(possible))
    with torch.no_grad():
        fine.raw[0, 0][~torch.from_numpy(possible).to(fine.device)] = EMPTY_DENSITY
    return fine


def _first_field(possible: Tensor, device: str) -> RadianceField:
    field = RadianceField(3, len(possible), None, device)
    density = -np.log1p(-INITIAL_ALPHA) / field.step
    first = np.log(np.expm1(density)) - DENSITY_SHIFT
    with torch.no_grad():
        field.raw[0, 0] = torch.where(possible, float(first), EMPTY_DENSITY).to(device)
    field.scale.requires_grad_(False)
    return field
