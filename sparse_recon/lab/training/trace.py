"""True depth images of baked objects by sphere tracing (Hart 1996); no renderer, CPU and GPU alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import inverse
from sparse_recon.lab.training.bake import BakedObject
from sparse_recon.types import CameraIntrinsics, Float32, Float64

STEPS = 80
# The trilinear field may overshoot; a ray has arrived this close to the surface.
STEP_SHARE, ARRIVED_VOXELS = 0.95, 0.03


@dataclass(frozen=True, eq=False)
class Hits:
    """What the rays of an image meet: depth along optical z, inf for nothing, and outward unit normals."""

    depth_m: Float32
    normals_world: Float32


@dataclass(frozen=True, eq=False)
class Slab:
    """A box that may stand before or beside the object: its pose and half edges, metres."""

    T_world_box: Float64
    half_size_m: Float64


def trace_object(
    baked: BakedObject, T_world_obj: Float64, intrinsics: CameraIntrinsics, T_world_cam: Float64, device: str = "cpu"
) -> Hits:
    """Return the first surface of an object along each pixel's ray."""
    T_obj_cam = inverse(T_world_obj) @ T_world_cam
    rays = torch.from_numpy(pixel_rays(intrinsics).reshape(-1, 3)).to(device)
    directions = rays @ torch.tensor(T_obj_cam[:3, :3].T, dtype=torch.float32, device=device)
    origin = torch.tensor(T_obj_cam[:3, 3], dtype=torch.float32, device=device)
    low = torch.tensor(baked.grid.low_m, device=device)
    high = low + torch.tensor(baked.grid.shape, device=device) * baked.grid.voxel_m
    near, far = _slab_span(origin, directions, low, high)
    depth = torch.full_like(near, torch.inf)
    active = torch.nonzero(near < far).squeeze(1)
    t, d, end = near[active].clamp(min=1e-3), directions[active], far[active]
    speed = d.norm(dim=-1)
    for _ in range(STEPS):
        distance = baked.distance(origin + t[:, None] * d)
        arrived = distance < ARRIVED_VOXELS * baked.grid.voxel_m
        depth[active[arrived]] = (t + distance / speed)[arrived]
        t = t + STEP_SHARE * distance / speed
        going = ~arrived & (t < end)
        if not going.any():
            break
        active, t, d, end, speed = active[going], t[going], d[going], end[going], speed[going]
    normals = _normals(baked, origin, directions, depth)
    shape = (intrinsics.height, intrinsics.width)
    world = normals @ torch.tensor(T_world_obj[:3, :3].T, dtype=torch.float32, device=device)
    return Hits(depth.reshape(shape).cpu().numpy(), world.reshape(*shape, 3).cpu().numpy())


def trace_slab(slab: Slab, intrinsics: CameraIntrinsics, T_world_cam: Float64) -> Hits:
    """Return the first surface of a box along each pixel's ray."""
    T_box_cam = inverse(slab.T_world_box) @ T_world_cam
    d = pixel_rays(intrinsics) @ T_box_cam[:3, :3].T.astype(np.float32)
    half = slab.half_size_m.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-half - T_box_cam[:3, 3].astype(np.float32)) / d, (half - T_box_cam[:3, 3].astype(np.float32)) / d
    first, last = np.minimum(a, b), np.maximum(a, b)
    near, far, axis = first.max(axis=-1), last.min(axis=-1), first.argmax(axis=-1)
    hit = (near < far) & (near > 0)
    normals = -np.sign(np.take_along_axis(d, axis[..., None], -1)) * np.eye(3, dtype=np.float32)[axis]
    world = normals @ slab.T_world_box[:3, :3].T.astype(np.float32)
    return Hits(np.where(hit, near, np.inf).astype(np.float32), np.where(hit[..., None], world, 0).astype(np.float32))


def trace_floor(height_m: float, reach_m: float, intrinsics: CameraIntrinsics, T_world_cam: Float64) -> Hits:
    """Return where each pixel's ray meets a level disc around the z axis."""
    d = pixel_rays(intrinsics) @ T_world_cam[:3, :3].T.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (np.float32(height_m) - np.float32(T_world_cam[2, 3])) / d[..., 2]
        x, y = T_world_cam[0, 3] + t * d[..., 0], T_world_cam[1, 3] + t * d[..., 1]
        hit = (t > 0) & (np.hypot(x, y) < reach_m)
    up = np.zeros((*hit.shape, 3), np.float32)
    up[hit] = (0, 0, 1)
    return Hits(np.where(hit, t, np.inf).astype(np.float32), up)


def _slab_span(origin: Tensor, directions: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    a, b = (low - origin) / directions, (high - origin) / directions
    return torch.minimum(a, b).amax(dim=-1), torch.maximum(a, b).amin(dim=-1)


def _normals(baked: BakedObject, origin: Tensor, directions: Tensor, depth: Tensor) -> Tensor:
    normals = torch.zeros_like(directions)
    hit = torch.isfinite(depth)
    points = origin + depth[hit][:, None] * directions[hit]
    h = 0.75 * baked.grid.voxel_m
    steps = torch.eye(3, device=points.device) * h
    gradient = torch.stack([baked.distance(points + s) - baked.distance(points - s) for s in steps], dim=-1)
    normals[hit] = torch.nn.functional.normalize(gradient, dim=-1)
    return normals
