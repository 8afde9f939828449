"""What the segmenter is told of a frame, pixel by pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LOW_M, HIGH_M = 0.01, 0.12  # heights at which the two height channels end
EDGE_M = 0.015
SCALE_PX_PER_M = 400.0
_FILLS = 3  # passes that fill holes from their neighbourhood


def features(rgb: Tensor, depth_m: Tensor, plane_cam: Tensor, K: Tensor) -> Tensor:
    """Return (B, 10, H, W) float32, the input of the network.

    Height above the support plane, twice: finely near the plane and coarsely above; the cosines of the surface normal
    with up and with the line of sight; relief against the neighbourhood; pixels per metre; whether depth was measured;
    colour. Holes of the depth are filled from around them.

    Parameters
    ----------
    rgb : (B, H, W, 3) uint8.
    depth_m : (B, H, W) float32, NaN where invalid.
    plane_cam : (B, 4) unit normal that points up, and height h, of the plane n @ p = h in the optical frame, metres.
    K : (B, 4) fx, fy, cx, cy in pixels.
    """
    valid = (depth_m > 0).float()
    depth = _filled(torch.nan_to_num(depth_m), valid)
    rays = _rays(K, depth.shape[-2], depth.shape[-1])
    points = rays * depth[:, None]
    up = plane_cam[:, :3, None, None]
    height = (points * up).sum(1) - plane_cam[:, 3, None, None]
    normal = _normals(points)
    sight = F.normalize(rays, dim=1)
    relief = depth - F.avg_pool2d(depth[:, None], 9, 1, 4, count_include_pad=False)[:, 0]
    known = (depth > 0).float()
    channels = [
        torch.tanh(height / LOW_M) * known,
        (height / HIGH_M).clamp(-1, 4) * known,
        (normal * up).sum(1) * known,
        -(normal * sight).sum(1) * known,
        torch.tanh(relief / EDGE_M) * known,
        (K[:, 0, None, None] / depth.clamp(min=0.15) / SCALE_PX_PER_M).clamp(max=4) * known,
        valid,
    ]
    color = rgb.float().permute(0, 3, 1, 2) / 127.5 - 1.0
    return torch.cat([torch.stack(channels, dim=1), color], dim=1)


def _filled(depth: Tensor, valid: Tensor) -> Tensor:
    """Fill holes with the mean of the valid pixels around them; 0 where there are none for far."""
    for _ in range(_FILLS):
        count = F.avg_pool2d(valid[:, None], 5, 1, 2)[:, 0]
        mean = F.avg_pool2d((depth * valid)[:, None], 5, 1, 2)[:, 0] / count.clamp(min=1e-6)
        depth = torch.where(valid > 0, depth, torch.where(count > 1e-6, mean, torch.zeros_like(mean)))
        valid = (count > 1e-6).float()
    return depth


def _rays(K: Tensor, height: int, width: int) -> Tensor:
    """Return (B, 3, H, W) points at depth 1 of every pixel."""
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    fx, fy, cx, cy = (K[:, i, None, None] for i in range(4))
    return torch.stack([(u.to(K) - cx) / fx, (v.to(K) - cy) / fy, torch.ones_like(u).to(K).expand(len(K), -1, -1)], 1)


def _normals(points: Tensor) -> Tensor:
    """Return (B, 3, H, W) unit normals towards the camera, of points smoothed over 5 pixels."""
    smooth = F.avg_pool2d(points, 5, 1, 2, count_include_pad=False)
    padded = F.pad(smooth, (2, 2, 2, 2), mode="replicate")
    along_u = padded[..., 2:-2, 4:] - padded[..., 2:-2, :-4]
    along_v = padded[..., 4:, 2:-2] - padded[..., :-4, 2:-2]
    return F.normalize(torch.cross(along_v, along_u, dim=1), dim=1)
