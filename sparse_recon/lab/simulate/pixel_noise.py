"""Depth errors of single pixels and their neighbours: noise, ragged edges, flying pixels, small holes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.stats import norm

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.sensor_model import SensorModel
from sparse_recon.types import Bool, Float32

_JUMP_M = 0.02


def pixel_noise(view: RenderedView, model: SensorModel, rng: np.random.Generator) -> Float32:
    """Return (H, W) float32 depth, metres, NaN in holes, with the errors of a model that has no `faults`."""
    depth_m = _wandering_edges(view.depth_m, model, rng)
    depth_m = _flying_pixels(depth_m, model, rng)
    depth_m = _noisy(depth_m, view.intrinsics.fx, model, rng)
    depth_m[_holes(view, model, rng)] = np.nan
    return depth_m


def _field(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Float32:
    """Gaussian field of unit variance, alike over `sigma_px`."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px <= 0:
        return noise
    spike = np.zeros(2 * int(4 * sigma_px + 1) + 1)
    spike[len(spike) // 2] = 1.0
    gain = np.sum(ndimage.gaussian_filter1d(spike, sigma_px) ** 2)  # of a separable filter's variance, per axis
    return ndimage.gaussian_filter(noise, sigma_px, mode="wrap") / np.float32(gain)


def _wandering_edges(depth_m: Float32, model: SensorModel, rng: np.random.Generator) -> Float32:
    if model.edge_px == 0:
        return depth_m.copy()
    height, width = depth_m.shape
    shift = np.rint(model.edge_px * _field((2, height, width), 0.0, rng)).astype(np.int32)
    # Only outlines move: inside a surface a shifted look-up would be slope, which the axial noise already covers.
    near_edge = ndimage.binary_dilation(_edges(depth_m), iterations=2)
    v, u = np.nonzero(near_edge)
    seen = depth_m.copy()
    seen[v, u] = depth_m[np.clip(v + shift[0, v, u], 0, height - 1), np.clip(u + shift[1, v, u], 0, width - 1)]
    return seen


def _flying_pixels(depth_m: Float32, model: SensorModel, rng: np.random.Generator) -> Float32:
    if model.flying == 0:
        return depth_m
    front = ndimage.minimum_filter(np.nan_to_num(depth_m, nan=np.inf), 3)
    back = ndimage.maximum_filter(np.nan_to_num(depth_m, nan=-np.inf), 3)
    chosen = (back - front > _JUMP_M) & (rng.random(depth_m.shape, dtype=np.float32) < model.flying)
    flown = depth_m.copy()
    flown[chosen] = front[chosen] + rng.random(int(chosen.sum()), dtype=np.float32) * (back - front)[chosen]
    return flown


def _noisy(depth_m: Float32, focal_px: float, model: SensorModel, rng: np.random.Generator) -> Float32:
    noise = _field(depth_m.shape, model.correlation_px, rng)
    seen = depth_m + model.axial_m(depth_m) * noise
    if model.disparity_sigma_px or model.disparity_step_px:
        scale = focal_px * model.baseline_m
        disparity = scale / seen + model.disparity_sigma_px * noise
        if model.disparity_step_px:
            disparity = np.round(disparity / model.disparity_step_px) * model.disparity_step_px
        seen = scale / np.where(disparity > 0, disparity, np.nan)
    return np.array(seen, dtype=np.float32)


def _holes(view: RenderedView, model: SensorModel, rng: np.random.Generator) -> Bool:
    rays = pixel_rays(view.intrinsics)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    normals_cam = view.normals_world @ view.T_world_cam[:3, :3].astype(np.float32)
    facing = -np.einsum("hwc,hwc->hw", normals_cam, rays)
    # Stereo matching fails gradually: the limit itself is uncertain by 2 degrees.
    limit_deg = model.grazing_deg + 2.0 * _field(facing.shape, 2.0, rng)
    obliquely_deg = np.degrees(np.arccos(np.clip(facing, -1.0, 1.0)))
    holes = obliquely_deg > (limit_deg if model.grazing_deg < 90 else 91.0)
    if model.specular_deg > 0:
        holes |= (obliquely_deg < model.specular_deg + _field(facing.shape, 2.0, rng)) & (view.labels > 0)
    if model.dropout > 0:
        holes |= _field(facing.shape, 1.5, rng) > norm.ppf(1.0 - model.dropout)
    return holes


def _edges(depth_m: Float32) -> Bool:
    depth = np.nan_to_num(depth_m, nan=1e3)
    return ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > _JUMP_M
