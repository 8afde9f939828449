"""Rays of pinhole cameras through the cube [-1, 1]^3 of a radiance field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.types import CameraIntrinsics, Float64

_PARALLEL = 1e-9


@dataclass(frozen=True, eq=False)
class Rays:
    """R rays in units of the cube: `point = origin + depth * direction`, with depth along the camera's optical z.

    Attributes
    ----------
    origins, directions : (R, 3) float32; directions have optical z = 1.
    """

    origins: Tensor
    directions: Tensor

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index: Tensor | slice) -> Rays:
        return Rays(self.origins[index], self.directions[index])

    @property
    def stretch(self) -> Tensor:
        """(R,) length of a ray per unit of depth."""
        return self.directions.norm(dim=1)

    def span(self, low: Tensor | float = -1.0, high: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the depths, (R,) each, at which rays enter and leave a box; the first is larger for a miss.

        Parameters
        ----------
        low, high : (3,) corners of the box; without them it is the cube.
        """
        safe = torch.where(self.directions.abs() < _PARALLEL, _PARALLEL, self.directions)
        one, other = (low - self.origins) / safe, (high - self.origins) / safe
        near = torch.minimum(one, other).amax(dim=1).clamp_min(0.0)
        return near, torch.maximum(one, other).amin(dim=1)


def camera_rays(intrinsics: CameraIntrinsics, T_cube_cam: Float64, device: str | torch.device = "cpu") -> Rays:
    """Return the rays of all H * W pixel centres, row by row.

    Parameters
    ----------
    T_cube_cam : (4, 4) camera in units of the cube: rigid, its translation divided by half of an edge.
    """
    directions = pixel_rays(intrinsics).reshape(-1, 3) @ T_cube_cam[:3, :3].T.astype(np.float32)
    origin = torch.from_numpy(T_cube_cam[:3, 3].astype(np.float32)).to(device)
    return Rays(origin.expand(len(directions), 3), torch.from_numpy(directions).to(device))


def square_camera(size: int, focal: float) -> CameraIntrinsics:
    """Return a camera of `size` x `size` pixels with its principal point in the middle; focal length in pixels."""
    middle = (size - 1) / 2
    return CameraIntrinsics(size, size, np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]]))
