"""Depth images made ready for carving and for surface fusion."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, Float32

# A pixel without depth is carved through only when so many of its 8 neighbours have depth: a pinhole of the sensor, not
# the rim of a surface that it failed to measure.
PINHOLE_NEIGHBOURS = 7
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
# A pixel lies on a surface when so large a share of its valid neighbours lies on it too.
MIN_SAME_SHARE = 0.3


def carving_depth(depth_m: Float32, valid: Bool) -> Float32:
    """Return the nearest depth of each 3x3 window, (H, W) float32 metres, NaN where nothing was measured.

    Without it 0.2 to 1.4 % of a solid is carved at silhouettes, where a pixel centre looks past an edge that its
    footprint touches.
    """
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    nearest = cv2.erode(np.where(valid, depth_m, np.float32(np.inf)), kernel)
    return np.where(valid | (valid_neighbours(valid, 3) >= PINHOLE_NEIGHBOURS), nearest, np.float32(np.nan))


def valid_neighbours(valid: Bool, size: int) -> Float32:
    """Return how many pixels of the window of `size` x `size` around each pixel are valid, (H, W) float32."""
    import cv2

    window = (size, size)
    count = cv2.boxFilter(valid.astype(np.float32), -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.rint(np.asarray(count, np.float32))


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
    """Return the depth, (H, W), with NaN where a pixel hangs in the air between a near and a far surface.

    A pixel belongs to a surface when enough of its eight neighbours measured the same depth to within half of
    `edge_jump_m`: at a straight outline five do, at a corner three; a pixel between two surfaces has none or one.
    """
    padded = np.pad(depth_m, 1, constant_values=np.nan)
    height, width = depth_m.shape
    valid = np.zeros(depth_m.shape, np.uint8)
    same = np.zeros(depth_m.shape, np.uint8)
    half = np.float32(0.5 * edge_jump_m)
    with np.errstate(invalid="ignore"):
        for dv, du in NEIGHBOURS:
            neighbour = padded[1 + dv : 1 + dv + height, 1 + du : 1 + du + width]
            difference = np.abs(neighbour - depth_m)
            same += difference < half
            valid += neighbour > 0
    return np.where(same >= np.maximum(MIN_SAME_SHARE * valid, 1), depth_m, np.float32(np.nan))
