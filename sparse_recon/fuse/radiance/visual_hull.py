"""The visual hull of generated views, without the free space that cameras observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, GeneratedView, ObjectFrame

# Generated views need not agree: so large a share of them may leave a voxel out.
MAX_OUTSIDE_SHARE = 0.15
# A mask's rim is uncertain by this share of its extent.
RIM = 0.02


def visual_hull(
    generated: Sequence[GeneratedView],
    object_frame: ObjectFrame,
    evidence: Evidence,
    grid: VoxelGrid,
    checkpoint: Callable[[], None] = lambda: None,
) -> Bool:
    """Return the voxels of `grid`, (X, Y, Z) bool, that most outlines hold and no camera saw to be empty.

    A view that shows the object whole leaves out what lies outside its image, one that cuts it has no say there.
    `checkpoint` is called before each and may raise to cancel.
    """
    centres = grid.centres().reshape(-1, 3)
    left_out = np.zeros(len(centres), np.int32)
    for view in generated:
        checkpoint()
        left_out += _outside_mask(view, object_frame, centres)
    free = Bounds.of(evidence, checkpoint).free[evidence.grid.nearest(centres)]
    possible = (left_out <= MAX_OUTSIDE_SHARE * len(generated)) & ~free
    return possible.reshape(grid.shape)


def _outside_mask(view: GeneratedView, object_frame: ObjectFrame, points_obj: np.ndarray) -> Bool:
    import cv2

    if not view.mask.any():
        return np.zeros(len(points_obj), bool)
    rows, columns = np.nonzero(view.mask)
    reach = 1 + int(RIM * max(np.ptp(rows), np.ptp(columns)))
    grown = cv2.dilate(view.mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    T_cam_obj = inverse(view.frame.T_world_cam) @ object_frame.T_world_obj
    points_cam = transform_points(T_cam_obj, points_obj)
    pixels = np.nan_to_num(project_points(points_cam, view.frame.intrinsics), nan=-1.0)
    u, v = np.rint(pixels).astype(np.int64).T
    height, width = grown.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    borders = (grown[0], grown[-1], grown[:, 0], grown[:, -1])
    left_out = np.full(len(points_obj), not any(border.any() for border in borders))
    left_out[inside] = ~grown[v[inside], u[inside]]
    return left_out
