"""Where the cameras stand that a field is taught by and read from: around the origin, looking at it, z up."""

from __future__ import annotations

import numpy as np
import torch

from sparse_recon.geometry.poses import look_at
from sparse_recon.types import Float64

_GOLDEN_RAD = np.pi * (3.0 - np.sqrt(5.0))


def random_viewpoints(
    count: int, radius: tuple[float, float], height: tuple[float, float], generator: torch.Generator
) -> Float64:
    """Draw (count, 3) places with evenly spread directions, distance and z each within its range.

    The ranges must overlap: some z of `height` must be nearer to the origin than the largest radius.
    """
    kept = np.zeros((0, 3))
    while len(kept) < count:
        directions = torch.randn((2 * count, 3), generator=generator, dtype=torch.float64).numpy()
        distance = torch.rand((2 * count, 1), generator=generator, dtype=torch.float64).numpy()
        eyes = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        eyes *= radius[0] + (radius[1] - radius[0]) * distance
        kept = np.concatenate([kept, eyes[(eyes[:, 2] > height[0]) & (eyes[:, 2] < height[1])]])
    return kept[:count]


def nearby_viewpoint(eye: Float64, distance: float, generator: torch.Generator) -> Float64:
    """Return the place (3,) that lies `distance` from `eye` in a random direction."""
    direction = torch.randn(3, generator=generator, dtype=torch.float64).numpy()
    return eye + distance * direction / np.linalg.norm(direction)


def golden_angle_eyes(count: int, radius: float, height: tuple[float, float]) -> Float64:
    """Return (count, 3) places evenly spread over the part of a sphere whose z is within `height`; the last is on top.

    Turned by the golden angle from one to the next, so that no two see the same side.
    """
    low, high = np.clip(height, -0.98 * radius, 0.98 * radius)
    z = low + (high - low) * (np.arange(count) + 0.5) / count
    around = np.sqrt(radius**2 - z**2)
    turn = _GOLDEN_RAD * np.arange(count)
    return np.stack([around * np.cos(turn), around * np.sin(turn), z], axis=1)


def towards_origin(eyes: Float64) -> Float64:
    """Return the poses `T_cube_cam` (V, 4, 4) of cameras at `eyes` (V, 3) that look at the origin."""
    return np.stack([look_at(eye, (0.0, 0.0, 0.0)) for eye in eyes])
