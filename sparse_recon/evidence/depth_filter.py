"""Depth images made ready for carving and for surface fusion."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, Float32, UInt8

# A pixel without depth is carved through only when so many of its 8 neighbours have depth: a pinhole of the sensor, not
# the rim of a surface that it failed to measure.
PINHOLE_NEIGHBOURS = 7
# A pixel lies on a surface when so large a share of its valid neighbours lies on it too.
MIN_SAME_SHARE = 0.3
_LEAST_SAME = np.maximum(np.ceil(MIN_SAME_SHARE * np.arange(256)), 1).astype(np.uint8)  # by valid neighbours


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
    import cv2

    half = np.float32(0.5 * edge_jump_m)
    padded = np.asarray(cv2.copyMakeBorder(depth_m, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=np.nan), np.float32)
    difference = np.empty((depth_m.shape[0] + 1, depth_m.shape[1] + 1), np.float32)

    def alike(one: Float32, other: Float32) -> UInt8:
        cv2.absdiff(one, other, dst=difference)
        return (difference < half).view(np.uint8)

    # Each pair of neighbours is compared once and counts for both.
    right = alike(padded[1:, :-1], padded[1:, 1:])
    below = alike(padded[:-1, 1:], padded[1:, 1:])
    falling = alike(padded[:-1, :-1], padded[1:, 1:])
    rising = alike(padded[:-1, 1:], padded[1:, :-1])
    same = right[:-1, :-1] + right[:-1, 1:]
    same += below[:-1, :-1]
    same += below[1:, :-1]
    same += falling[:-1, :-1]
    same += falling[1:, 1:]
    same += rising[:-1, 1:]
    same += rising[1:, :-1]
    valid = (depth_m > 0).view(np.uint8)
    neighbours = cv2.boxFilter(valid, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT) - valid
    kept = same >= np.asarray(cv2.LUT(neighbours, _LEAST_SAME))
    return np.where(kept, depth_m, np.float32(np.nan))
