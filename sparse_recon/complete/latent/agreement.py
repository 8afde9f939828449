"""How far each generated view agrees with the others: what the model itself says of its reliability."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparse_recon.complete.latent.outlines import Outlines
from sparse_recon.types import CameraIntrinsics, Float32, Float64, UInt8

# Side of the pictures that are compared, steps along a ray, and how far from the middle, in longest sides.
SIDE, STEPS, REACH = 48, 40, 0.75
# Deviations at which confidence is down to 1 / e: of colours in [0, 1], and between outlines in longest sides.
COLOR, GAP = 0.15, 0.03
MOST, LEAST = 0.9, 0.05
NEIGHBOURS = (-2, -1, 1, 2)


def agreements(
    pictures: UInt8,
    masks: np.ndarray,
    T_cam_obj: Float64,
    intrinsics: CameraIntrinsics,
    outlines: Outlines,
    checkpoint: Callable[[], None] = lambda: None,
) -> Float32:
    """Return the confidence (V, H, W) float32 of each pixel, from 0.05 to 0.9.

    A pixel's ray meets the solid of all outlines, or passes it at a gap; where it first meets it, the neighbouring
    views show a colour. Both are compared.

    Parameters
    ----------
    pictures : (V, H, W, 3) on a ring, neighbours beside each other.
    masks : (V, H, W) of the object.
    T_cam_obj : (V, 4, 4), lengths in longest sides, the origin in the object's middle.
    checkpoint : called for each view; may raise.
    """
    import cv2

    count, height, width = masks.shape
    small = np.stack([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in pictures]) / np.float32(255)
    share = np.stack([cv2.resize(m.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for m in masks])
    K = np.diag([SIDE / width, SIDE / height, 1.0]) @ intrinsics.K
    K[:2, 2] += 0.5 * np.array([SIDE / width, SIDE / height]) - 0.5  # pixel centres at integers
    confidence = np.full((count, SIDE, SIDE), MOST, np.float32)
    for k in range(count):
        checkpoint()
        v, u = np.nonzero(share[k] > 0.5)
        if len(v) == 0:
            continue
        points, gap = _first_met(u, v, K, np.linalg.inv(T_cam_obj[k]), outlines)
        seen = [_colors(points, small[(k + n) % count], T_cam_obj[(k + n) % count], K) for n in NEIGHBOURS]
        off = np.abs(np.stack(seen) - small[k][v, u]).mean(axis=2)  # (neighbours, N)
        # Two of four may not see the point at all.
        color = np.partition(off, 1, axis=0)[:2].mean(axis=0)
        confidence[k, v, u] = np.maximum(MOST * np.exp(-color / COLOR - gap / GAP), LEAST)
    return np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) for c in confidence])


def _first_met(
    u: np.ndarray, v: np.ndarray, K: Float64, T_obj_cam: Float64, outlines: Outlines
) -> tuple[Float64, Float64]:
    """Return where the rays of pixels first meet the solid (N, 3), or come nearest to it, and the gap (N,) there."""
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(len(u))], axis=1)
    middle = np.linalg.norm(T_obj_cam[:3, 3])
    depths = np.linspace(middle - REACH, middle + REACH, STEPS)
    points = (depths[:, None, None] * rays) @ T_obj_cam[:3, :3].T + T_obj_cam[:3, 3]  # (STEPS, N, 3)
    within = outlines.depth_within(points.reshape(-1, 3)).reshape(STEPS, -1)
    tolerance = 0.5 * GAP
    inside = within > -tolerance
    first = np.where(inside.any(axis=0), inside.argmax(axis=0), within.argmax(axis=0))
    columns = np.arange(len(u))
    return points[first, columns], np.maximum(-tolerance - within[first, columns], 0.0)


def _colors(points: Float64, picture: Float32, T_cam_obj: Float64, K: Float64) -> Float32:
    """Return the colours (N, 3) of points in a picture."""
    import cv2

    seen = points @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    uv = (seen @ K.T)[:, :2] / seen[:, 2:]
    x, y = uv.T.astype(np.float32)
    return cv2.remap(picture, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
