"""Whether a camera that stands still sees the same as before."""

from __future__ import annotations

import numpy as np

from sparse_recon.evidence.depth_filter import valid_neighbours
from sparse_recon.types import Bool, Float32, Float64, Frame

# Poses that differ by less are one: half a pixel.
SAME_MOVE_M, SAME_TURN_RAD = 0.001, 0.001
# Every n-th pixel is compared, as means over windows of so many of these.
STEP, WINDOW = 2, 5
# A pixel is new where the mean of its window differs by more than so many standard deviations of a pixel, if depths
# beside it lie within EDGE_M, since outlines flicker; or where there was no depth.
DIFFERENT_SIGMA, EDGE_M = 2.5, 0.05
# So large a share of a window must be new: of a small one in two frames after each other, of a large one in one.
SMALL_SHARE, LARGE_SHARE, LARGE_WINDOW = 0.6, 0.8, 9
# Around pixels with depth so large a share has depth, on average, unless the image is sparse.
SPARSE_SHARE = 0.75


def stands_still(a: Frame, b: Frame) -> bool:
    """Return whether two frames are of one camera from one pose."""
    if a.camera != b.camera or not is_same_pose(a.T_world_cam, b.T_world_cam):
        return False
    return a.rgb.shape == b.rgb.shape and np.array_equal(a.intrinsics.K, b.intrinsics.K)


def is_same_pose(T_world_a: Float64, T_world_b: Float64) -> bool:
    """Return whether two poses (4, 4) of a camera are one."""
    if np.abs(T_world_a[:3, 3] - T_world_b[:3, 3]).max() > SAME_MOVE_M:
        return False
    T_a_b = np.linalg.solve(T_world_a, T_world_b)
    moved_m = float(np.linalg.norm(T_a_b[:3, 3]))
    turned_rad = float(np.linalg.norm(T_a_b[:3, :3] - np.eye(3)) / np.sqrt(2.0))
    return moved_m < SAME_MOVE_M and turned_rad < SAME_TURN_RAD


def is_sparse(depth_m: Float32) -> bool:
    """Return whether single pixels without depth are all over an image: then one cannot tell what is new in it."""
    valid = depth_m[::STEP, ::STEP] > 0
    return bool(valid_neighbours(valid, WINDOW)[valid].mean() < SPARSE_SHARE * WINDOW**2) if valid.any() else True


def new_surface(newer: Float32, older: Float32, sigma_m: Float32) -> Bool:
    """Return at which pixels a depth image has surface that an older one from the same pose has not.

    Parameters
    ----------
    newer, older : (H, W) float32, metres, NaN where invalid.
    sigma_m : (H, W) float32, standard deviation of the depth of a pixel.

    Returns
    -------
    Bool image of every `STEP`-th pixel; noise makes some.
    """
    import cv2

    newer, older, sigma_m = (image[::STEP, ::STEP] for image in (newer, older, sigma_m))
    valid, both = newer > 0, (newer > 0) & (older > 0)
    count = valid_neighbours(both, WINDOW)
    difference = np.where(both, newer - older, np.float32(0.0))
    total = cv2.boxFilter(difference, -1, (WINDOW, WINDOW), normalize=False, borderType=cv2.BORDER_CONSTANT)
    changed = (count >= 0.5 * WINDOW * WINDOW) & (np.abs(total) > DIFFERENT_SIGMA * sigma_m * count)
    kernel = np.ones((3, 3), np.uint8)
    farthest = cv2.dilate(np.where(valid, newer, np.float32(0.0)), kernel)
    nearest = cv2.erode(np.where(valid, newer, np.float32(np.inf)), kernel)
    with np.errstate(invalid="ignore"):
        smooth = farthest - nearest < EDGE_M
    return (valid & ~both) | (both & changed & smooth)


def is_something_new(new: Bool, new_before: Bool | None = None) -> bool:
    """Return whether so many pixels are new that there is something: at once, or since the frame before, if given."""
    if (valid_neighbours(new, LARGE_WINDOW) >= LARGE_SHARE * LARGE_WINDOW**2).any():
        return True
    return new_before is not None and bool((_small(new) & _small(new_before)).any())


def _small(new: Bool) -> Bool:
    return valid_neighbours(new, WINDOW) >= SMALL_SHARE * WINDOW**2
