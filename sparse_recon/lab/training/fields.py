"""Implicit solids as functions of points, and how to combine and bend them; negative inside, in any unit.

Only the zero set and the sign count: every field is measured anew after it is baked (`training.bake`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sparse_recon.geometry.grids import VoxelGrid

Field = Callable[[Tensor], Tensor]  # (N, 3) points to (N,) values


def box(half_size: Sequence[float], rounding: float = 0.0) -> Field:
    """Return a box around the origin whose edges are rounded by a radius."""
    inner = torch.tensor([max(h - rounding, 1e-4) for h in half_size], dtype=torch.float32)

    def field(p: Tensor) -> Tensor:
        q = p.abs() - inner.to(p)
        return q.clamp(min=0).norm(dim=-1) + q.amax(dim=-1).clamp(max=0) - rounding

    return field


def superquadric(half_size: Sequence[float], e1: float, e2: float) -> Field:
    """Return a superquadric (Barr 1981) with exponents `e1` along z and `e2` around it."""
    size = torch.tensor(half_size, dtype=torch.float32)

    def field(p: Tensor) -> Tensor:
        x, y, z = (p.abs() / size.to(p) + 1e-6).unbind(-1)
        inside = (x ** (2 / e2) + y ** (2 / e2)) ** (e2 / e1) + z ** (2 / e1)
        return (inside ** (e1 / 2) - 1) * float(size.min())

    return field


def cone(radius_low: float, radius_high: float, half_height: float, rounding: float = 0.0) -> Field:
    """Return a cylinder or frustum along z."""

    def field(p: Tensor) -> Tensor:
        share = (p[:, 2] / (2 * half_height) + 0.5).clamp(0, 1)
        radius = radius_low + (radius_high - radius_low) * share
        q = torch.stack([p[:, :2].norm(dim=-1) - radius + rounding, p[:, 2].abs() - half_height + rounding], dim=-1)
        return q.clamp(min=0).norm(dim=-1) + q.amax(dim=-1).clamp(max=0) - rounding

    return field


def capsule(a: Sequence[float], b: Sequence[float], radius_a: float, radius_b: float) -> Field:
    """Return a rod with round ends between two points, thicker at one of them perhaps."""
    start, end = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)

    def field(p: Tensor) -> Tensor:
        axis = (end - start).to(p)
        share = ((p - start.to(p)) @ axis / (axis @ axis + 1e-9)).clamp(0, 1)
        return (p - start.to(p) - share[:, None] * axis).norm(dim=-1) - (radius_a + (radius_b - radius_a) * share)

    return field


def torus(major: float, minor: float, flatness: float = 1.0) -> Field:
    """Return a ring around z; its section is `flatness` times as high as wide."""

    def field(p: Tensor) -> Tensor:
        ring = p[:, :2].norm(dim=-1) - major
        return torch.hypot(ring, p[:, 2] / flatness) - minor

    return field


def tube(path: np.ndarray, radius: float, flatness: float = 1.0) -> Field:
    """Return a bent rod along a polyline (K, 3); across y it is `flatness` times as thick."""
    squeeze = torch.tensor([1.0, 1.0 / flatness, 1.0])
    knots = torch.as_tensor(path, dtype=torch.float32) * squeeze

    def field(p: Tensor) -> Tensor:
        q = p * squeeze.to(p)
        best = torch.full((len(p),), torch.inf, dtype=p.dtype, device=p.device)
        for a, b in zip(knots[:-1].to(p), knots[1:].to(p), strict=True):
            axis = b - a
            share = ((q - a) @ axis / (axis @ axis + 1e-9)).clamp(0, 1)
            best = torch.minimum(best, (q - a - share[:, None] * axis).norm(dim=-1))
        return best - radius

    return field


def revolution(heights: np.ndarray, radii: np.ndarray, wall: float = 0.0, floor: float = 0.0) -> Field:
    """Return a solid of revolution about z with radii at increasing heights (K,); a shell open on top with a `wall`."""
    z_low, z_high = float(heights[0]), float(heights[-1])
    table = torch.as_tensor(np.interp(np.linspace(z_low, z_high, 256), heights, radii), dtype=torch.float32)
    slope = torch.gradient(table, spacing=(z_high - z_low) / 255)[0]

    def field(p: Tensor) -> Tensor:
        index = ((p[:, 2] - z_low) / (z_high - z_low) * 255).clamp(0, 255)
        low = index.long().clamp(max=254)
        share = index - low
        values, slopes = table.to(p), slope.to(p)
        radius = values[low] * (1 - share) + values[low + 1] * share
        across = torch.rsqrt(1 + slopes[low] ** 2)
        side = (p[:, :2].norm(dim=-1) - radius) * across
        outer = torch.maximum(side, (p[:, 2] - 0.5 * (z_low + z_high)).abs() - 0.5 * (z_high - z_low))
        if wall == 0:
            return outer
        return torch.maximum(outer, -torch.maximum(side + wall, z_low + floor - p[:, 2]))

    return field


def extrusion(corners: np.ndarray, half_height: float, rounding: float = 0.0, shrink: float = 0.0) -> Field:
    """Return a prism along z over a simple polygon (K, 2); its top is smaller by the share `shrink`."""
    a = torch.as_tensor(corners, dtype=torch.float32)
    b = torch.roll(a, -1, dims=0)

    def field(p: Tensor) -> Tensor:
        scale = 1 - shrink * (p[:, 2] / (2 * half_height) + 0.5).clamp(0, 1)
        q = p[:, :2] / scale[:, None]
        distance = torch.full((len(p),), torch.inf, dtype=p.dtype, device=p.device)
        inside = torch.zeros(len(p), dtype=torch.bool, device=p.device)
        for start, end in zip(a.to(p), b.to(p), strict=True):
            axis = end - start
            share = ((q - start) @ axis / (axis @ axis + 1e-9)).clamp(0, 1)
            distance = torch.minimum(distance, (q - start - share[:, None] * axis).norm(dim=-1))
            above = (start[1] > q[:, 1]) != (end[1] > q[:, 1])
            inside ^= above & (q[:, 0] < (end[0] - start[0]) * (q[:, 1] - start[1]) / (end[1] - start[1]) + start[0])
        flat = torch.where(inside, -distance, distance) * scale
        section = torch.stack([flat + rounding, p[:, 2].abs() - half_height + rounding], dim=-1)
        return section.clamp(min=0).norm(dim=-1) + section.amax(dim=-1).clamp(max=0) - rounding

    return field


def union(fields: Sequence[Field], smooth: float = 0.0) -> Field:
    """Return all of the solids together, joined by fillets of about `smooth` (polynomial minimum, Quilez 2013)."""

    def field(p: Tensor) -> Tensor:
        value = fields[0](p)
        for other in fields[1:]:
            more = other(p)
            if smooth > 0:
                h = (smooth - (value - more).abs()).clamp(min=0) / smooth
                value = torch.minimum(value, more) - 0.25 * smooth * h * h
            else:
                value = torch.minimum(value, more)
        return value

    return field


def without(solid: Field, cut: Field) -> Field:
    """Return a solid less another one."""
    return lambda p: torch.maximum(solid(p), -cut(p))


def shell(solid: Field, wall: float) -> Field:
    """Return the skin of a solid, `wall` thick inwards."""
    return lambda p: torch.maximum(solid(p), -(solid(p) + wall))


def placed(solid: Field, R: np.ndarray | None = None, t: Sequence[float] = (0.0, 0.0, 0.0)) -> Field:
    """Return a solid turned by R (3, 3), then moved by t (3,)."""
    rotation = torch.as_tensor(np.eye(3) if R is None else R, dtype=torch.float32)
    offset = torch.tensor(t, dtype=torch.float32)
    return lambda p: solid((p - offset.to(p)) @ rotation.to(p))


def mirrored(solid: Field, axis: int = 0) -> Field:
    """Return the part of a solid on the positive side of a plane, and its mirror image."""

    def field(p: Tensor) -> Tensor:
        q = p.clone()
        q[:, axis] = q[:, axis].abs()
        return solid(q)

    return field


def repeated(solid: Field, count: int) -> Field:
    """Return `count` copies of a solid around z."""

    def field(p: Tensor) -> Tensor:
        step = 2 * np.pi / count
        angle = torch.atan2(p[:, 1], p[:, 0])
        angle = torch.remainder(angle + step / 2, step) - step / 2
        radius = p[:, :2].norm(dim=-1)
        return solid(torch.stack([radius * angle.cos(), radius * angle.sin(), p[:, 2]], dim=-1))

    return field


def bent(solid: Field, twist: float = 0.0, bend: float = 0.0, taper: float = 0.0) -> Field:
    """Return a solid twisted about z (rad per unit), bent sideways along z (1 / unit) and narrowed upwards."""

    def field(p: Tensor) -> Tensor:
        x, y, z = p.unbind(-1)
        x = x - bend * z * z
        c, s = torch.cos(twist * z), torch.sin(twist * z)
        scale = 1 / (1 - taper * z.clamp(-1, 1))
        return solid(torch.stack([(c * x + s * y) * scale, (c * y - s * x) * scale, z], dim=-1)) / scale.clamp(min=1)

    return field


def bumpy(solid: Field, height: float, waves: np.ndarray, phases: np.ndarray) -> Field:
    """Return a solid whose surface is displaced by waves with wave vectors (K, 3) and phases (K,)."""
    k, phase = torch.as_tensor(waves, dtype=torch.float32), torch.as_tensor(phases, dtype=torch.float32)
    return lambda p: solid(p) + height * torch.sin(p @ k.to(p).T + phase.to(p)).mean(dim=-1)


def interpolated(volumes: Tensor, index: Tensor) -> Tensor:
    """Interpolate (C, X, Y, Z) volumes at (N, 3) continuous voxel indices that lie on the grid: (C, N)."""
    most = torch.tensor(volumes.shape[1:]).to(index) - 1
    where = (index.flip(-1) * 2 / most.flip(-1) - 1)[None, None, None]
    return torch.nn.functional.grid_sample(volumes.to(index)[None], where, align_corners=True)[0, :, 0, 0]


def sampled_field(values: np.ndarray, grid: VoxelGrid) -> Field:
    """Return a solid of distances on a grid (X, Y, Z), interpolated; beyond the grid the way to it is added."""
    volume = torch.from_numpy(np.ascontiguousarray(values, np.float16))

    def field(p: Tensor) -> Tensor:
        index = (p - torch.tensor(grid.low_m).to(p)) / grid.voxel_m - 0.5
        held = torch.minimum(index.clamp(min=0), torch.tensor(grid.shape).to(p) - 1)
        return interpolated(volume[None], held)[0] + (index - held).norm(dim=-1) * grid.voxel_m

    return field
