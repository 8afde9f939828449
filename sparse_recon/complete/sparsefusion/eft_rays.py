"""Rays and points as the transformer is told of them, and what a picture shows at the points (paper, section 3.1).

Cameras are PyTorch3D's: rows are transformed, `p_cam = p @ R + T`, x left, y up, z forward, and pictures reach from
1 (left, top) to -1 (right, bottom).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparse_recon.complete.sparsefusion.cameras import NdcCameras

# Points nearer than this to the plane of a camera are taken to be so far from it: far outside its picture.
MIN_DEPTH = 1e-6


@dataclass(frozen=True, eq=False)
class CameraTensors:
    """N cameras.

    Attributes
    ----------
    R : (N, 3, 3).
    T : (N, 3).
    focal, principal : (N, 2), in halves of a picture's side.
    """

    R: Tensor
    T: Tensor
    focal: Tensor
    principal: Tensor

    @classmethod
    def of(cls, cameras: NdcCameras, device: str | torch.device = "cpu") -> CameraTensors:
        """Return cameras in single precision."""
        values = (cameras.R, cameras.T, cameras.focal, cameras.principal)
        return cls(*(torch.from_numpy(value).to(device, torch.float32) for value in values))

    def to(self, device: str | torch.device) -> CameraTensors:
        """Return the same on a device."""
        return CameraTensors(*(t.to(device) for t in (self.R, self.T, self.focal, self.principal)))

    def centres(self) -> Tensor:
        """Return (N, 3)."""
        return -(self.T[:, None] @ self.R.transpose(1, 2))[:, 0]

    def projected(self, points: Tensor) -> Tensor:
        """Return where each camera sees points (K, 3): (N, K, 2), behind a camera as if before it, mirrored."""
        seen = points @ self.R + self.T[:, None]  # (N, K, 3)
        z = seen[..., 2:]
        z = torch.where(z.abs() < MIN_DEPTH, torch.full_like(z, MIN_DEPTH), z)
        return self.focal[:, None] * seen[..., :2] / z + self.principal[:, None]


@dataclass(frozen=True, eq=False)
class Rays:
    """R rays with D points each.

    Attributes
    ----------
    origins : (R, 3).
    directions : (R, 3), of length 1 along the optical axis of their camera.
    depths : (R, D) of points, along that axis.
    """

    origins: Tensor
    directions: Tensor
    depths: Tensor

    def points(self) -> Tensor:
        """Return (R, D, 3)."""
        return self.origins[:, None] + self.depths[..., None] * self.directions[:, None]

    def __getitem__(self, rows: slice | Tensor) -> Rays:
        return Rays(self.origins[rows], self.directions[rows], self.depths[rows])

    def __len__(self) -> int:
        return len(self.origins)

    def to(self, device: str | torch.device) -> Rays:
        """Return the same on a device."""
        return Rays(self.origins.to(device), self.directions.to(device), self.depths.to(device))


def query_rays(camera: CameraTensors, side: int, image_side: int, nearest: float, farthest: float, count: int) -> Rays:
    """Return the rays of a map of `side` pixels of one camera, row by row, and `count` points on each.

    The corner rays are those of the corner pixels of a picture of `image_side` pixels, as released, not of the map's.
    """
    edge = 1.0 - 1.0 / image_side
    options = {"device": camera.R.device, "dtype": camera.R.dtype}
    line = torch.linspace(edge, -edge, side, **options)  # type: ignore[call-overload]
    y, x = torch.meshgrid(line, line, indexing="ij")
    at = (torch.stack([x, y], -1).reshape(-1, 2) - camera.principal) / camera.focal  # at depth 1
    seen = torch.cat([at, torch.ones_like(at[:, :1])], dim=1)
    depths = torch.linspace(nearest, farthest, count, **options)  # type: ignore[call-overload]
    directions = seen @ camera.R[0].T
    return Rays(camera.centres().expand(len(seen), 3), directions, depths.expand(len(seen), count))


def harmonic(x: Tensor, octaves: int) -> Tensor:
    """Return sines of all numbers at frequencies 1, 2, 4 and so on, cosines, and the numbers: (..., (2 F + 1) C)."""
    rates = 2.0 ** torch.arange(octaves, dtype=x.dtype, device=x.device)
    angles = (x[..., None] * rates).flatten(-2)
    return torch.cat([angles.sin(), angles.cos(), x], dim=-1)


def harmonic_width(numbers: int, octaves: int) -> int:
    """Return the channels of the embedding of so many numbers."""
    return (2 * octaves + 1) * numbers


def embedded_line(origins: Tensor, directions: Tensor, octaves: int) -> Tensor:
    """Return the embedding of the Pluecker coordinates of lines (..., 3): direction, and moment about the origin."""
    return harmonic(torch.cat([directions, torch.linalg.cross(origins, directions)], dim=-1), octaves)


def sampled(maps: Tensor, places: Tensor) -> Tensor:
    """Return what maps (N, C, H, W) show at places (N, K, 2) of a picture: (N, K, C), at its border if beyond.

    The middles of corner pixels are taken to be at 1 and -1, as released.
    """
    grid = -places[:, :, None]
    found = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return found[..., 0].transpose(1, 2)
