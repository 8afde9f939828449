"""The spatial volume that all views share: features of noisy views at the vertices of a cube (paper, section 3.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.syncdreamer.cameras import network_intrinsics, view_poses
from sparse_recon.complete.syncdreamer.sizes import VolumeSize
from sparse_recon.complete.syncdreamer.unet3d import ToldUNet3d, ViewEncoder

# Half an edge of the cube, in longest sides of the object.
HALF_SIDE = 0.5
# Vertices nearer than this to the plane of a camera are taken to be so far: they land outside its picture.
MIN_DEPTH = 1e-4


class SpatialVolume(nn.Module):
    """Encodes each noisy view, gathers at each vertex what all views show there, and convolves.

    Parameters
    ----------
    side : of the latents.
    """

    projected: Tensor

    def __init__(self, size: VolumeSize, latent_channels: int, side: int) -> None:
        super().__init__()
        self.size, self.side = size, side
        self.encoder = ViewEncoder(latent_channels, size.features, size.time)
        self.net = ToldUNet3d(size.views * size.features, size.widths, size.time, refined=2, first=1)
        projected = vertex_projections(view_poses(size.views), size.vertices, side)
        self.register_buffer("projected", torch.from_numpy(projected), persistent=False)

    def forward(self, latents: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """Return the volume (B, widths[0], Z, Y, X), vertices along each axis of the object's frame.

        Parameters
        ----------
        latents : (B, V, 4, S, S), noisy, of all views in order.
        time : (B, T) embedding.
        tokens : (B, V, 4) of the views.
        """
        return self.net(self.gathered(latents, time, tokens), time)[0]

    def gathered(self, latents: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """Return what all views show at each vertex (B, V * C, Z, Y, X), views in order: what the net convolves."""
        count, views = latents.shape[:2]
        flat = latents.flatten(0, 1)
        features = self.encoder(flat, time.repeat_interleave(views, 0), tokens.flatten(0, 1))  # (B * V, C, S, S)
        # Sampled in single precision: places lie between pixels, and half precision has too few bits for them.
        places = self.projected.repeat(count, 1, 1, 1)
        found = functional.grid_sample(features.float(), places, "bilinear", "zeros", align_corners=True)
        n = self.size.vertices
        return found.view(count, -1, n, n, n).to(latents.dtype)


def vertices(count: int) -> np.ndarray:
    """Return the vertices (Z, Y, X, 3) of the cube, xyz in longest sides, float32."""
    line = np.linspace(-HALF_SIDE, HALF_SIDE, count, dtype=np.float32)
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    return np.stack([x, y, z], axis=-1)


def vertex_projections(poses: np.ndarray, count: int, side: int) -> np.ndarray:
    """Return where each vertex is seen in maps of `side` pixels, (V, Z, Y * X, 2) float32, corners at -1 and 1."""
    points = vertices(count).reshape(-1, 3).astype(np.float64)
    seen = points @ np.swapaxes(poses[:, :, :3], 1, 2) + poses[:, None, :, 3]
    uvw = seen @ network_intrinsics(side).T
    uv = uvw[..., :2] / np.maximum(uvw[..., 2:], MIN_DEPTH)
    return (uv / ((side - 1) / 2) - 1).reshape(len(poses), count, count * count, 2).astype(np.float32)
