"""The frustum volume of a view: what the shared volume holds along the view's rays (paper, section 3.3)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.syncdreamer.cameras import DISTANCE, network_intrinsics, view_poses
from sparse_recon.complete.syncdreamer.sizes import TOKEN_NUMBERS, VolumeSize
from sparse_recon.complete.syncdreamer.unet3d import ToldUNet3d
from sparse_recon.complete.syncdreamer.volume import HALF_SIDE

# Of the planes before and behind the object's centre: half the diagonal of the cube, rounded as released.
REACH = 0.86603


class FrustumVolume(nn.Module):
    """Samples the shared volume on planes before a view, and convolves them into one volume for each of its levels."""

    points: Tensor

    def __init__(self, size: VolumeSize, side: int) -> None:
        super().__init__()
        self.net = ToldUNet3d(size.widths[0], size.widths, size.time, TOKEN_NUMBERS)
        points = frustum_points(view_poses(size.views), size.planes, side)
        self.register_buffer("points", torch.from_numpy(points), persistent=False)

    def forward(self, volume: Tensor, time: Tensor, tokens: Tensor, views: Tensor) -> list[Tensor]:
        """Return the volumes (B * K, widths[k], D / 2^k, S / 2^k, S / 2^k), finest first.

        Parameters
        ----------
        volume : (B, C, Z, Y, X), of `SpatialVolume`.
        time : (B, T) embedding.
        tokens : (B, V, 4) of all views.
        views : (B, K) int64, the views that are asked for.
        """
        chosen = tokens.gather(1, views[..., None].expand(-1, -1, tokens.shape[2])).flatten(0, 1)
        return self.net(self.sampled(volume, views), time.repeat_interleave(views.shape[1], 0), chosen)

    def sampled(self, volume: Tensor, views: Tensor) -> Tensor:
        """Return what lies before each of (B, K) views, (B * K, C, D, S, S): what the net convolves."""
        places = self.points[views]  # (B, K, D, S, S, 3)
        # Views beside each other along the planes: one sampling an object, whose volume is not repeated.
        found = functional.grid_sample(volume.float(), places.flatten(1, 2), "bilinear", "zeros", align_corners=True)
        count, asked, planes, side = places.shape[:4]
        found = found.view(count, -1, asked, planes, side, side).transpose(1, 2)
        return found.flatten(0, 1).to(volume.dtype)


def frustum_points(poses: np.ndarray, planes: int, side: int) -> np.ndarray:
    """Return the points (V, D, S, S, 3) float32 on the rays of a map's pixels, xyz in half edges of the cube.

    Planes lie at even depths along z of the optical frame.
    """
    depths = np.linspace(DISTANCE - REACH, DISTANCE + REACH, planes)
    v, u = np.mgrid[:side, :side].astype(np.float64)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(network_intrinsics(side).astype(np.float64)).T
    seen = depths[:, None, None, None] * rays  # (D, S, S, 3), in the optical frame
    centred = seen[None] - poses[:, None, None, None, :, 3]
    return ((centred @ poses[:, None, None, :, :3]) / HALF_SIDE).astype(np.float32)
