"""Depth images made ready for carving and for surface fusion."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, Float32

# Of the 9 pixels of a window, so many must be valid before anything is said about its centre.
MIN_VALID_NEIGHBOURS = 5


def carving_depth(depth_m: Float32, valid: Bool) -> Float32:
    """Return the nearest depth of each 3x3 window, (H, W) float32 metres, NaN where too few pixels are valid.

    Without it 0.2 to 1.4 % of a solid is carved at silhouettes, where a pixel centre looks past an edge that its
    footprint touches.
    """
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    nearest = cv2.erode(
        np.where(valid, depth_m, np.float32(np.inf)), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=float("inf")
    )
    count = cv2.boxFilter(valid.astype(np.float32), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.where(count >= MIN_VALID_NEIGHBOURS - 0.5, nearest, np.float32(np.nan))


def smoothed(depth_m: Float32, valid: Bool, sigma_m: Float32) -> Float32:
    """Return edge-preservingly smoothed depth, (H, W) float32 metres, NaN where not valid.

    A bilateral filter (Tomasi and Manduchi 1998) whose range is three depth sigmas: noise averages out over a few
    pixels, edges stay.
    """
    import cv2

    if not valid.any():
        return np.full(depth_m.shape, np.nan, np.float32)
    spread = 3.0 * float(np.median(sigma_m[valid]))
    # Invalid pixels get a depth so far from every real one that their range weight vanishes.
    filled = np.where(valid, depth_m, np.float32(-10.0))
    smooth = cv2.bilateralFilter(filled, d=7, sigmaColor=max(spread, 1e-4), sigmaSpace=2.0)
    return np.where(valid, smooth, np.float32(np.nan))


def without_flying_pixels(depth_m: Float32, edge_jump_m: float) -> Float32:
    """Return the depth with NaN where a pixel hangs in the air between a near and a far surface.

    A pixel flies when its 3x3 window spans more than `edge_jump_m` and the pixel itself is at least a quarter of the
    jump away from both ends.
    """
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    valid = depth_m > 0
    low = cv2.erode(np.where(valid, depth_m, np.float32(1e6)), kernel)
    high = cv2.dilate(np.where(valid, depth_m, np.float32(-1e6)), kernel)
    with np.errstate(invalid="ignore"):
        jump = np.where(valid, high - low, np.float32(0.0))
        flying = (jump > edge_jump_m) & (depth_m - low > 0.25 * jump) & (high - depth_m > 0.25 * jump)
    return np.where(flying, np.float32(np.nan), depth_m)
