"""Do the views agree? Measured points of each view, looked at from the others, pixel by pixel.

A point that most other views look through is a flying pixel or a reflection and goes. What still disagrees after that
is wrong poses, wrong masks or a moved object, and softens the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sparse_recon.evidence.depth_filter import valid_neighbours
from sparse_recon.geometry.cameras import project_points, unproject_depth
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, ObjectFrame, ObjectView, ObjectViews

MAX_POINTS = 2000
# A view has a say on a point only where it measured most of the 25 pixels: it may have failed to measure the object.
MIN_VALID_IN_WINDOW = 15
# A point is contradicted when another view measured farther than it by more than this many sigmas and this distance.
CONTRADICTION_SIGMA, CONTRADICTION_M = 3.0, 0.002
# Contradictions deeper than this are not pose noise; carving keeps going beyond it.
MAX_SOFT_SLACK_M = 0.02


@dataclass(frozen=True, eq=False)
class ViewDepth:
    """The depth that one view says is certainly passed: (H, W) float32 metres, the nearest of each 5x5 window.

    The window makes the test blind to silhouettes, where a pixel of pose error sees past the object.
    """

    nearest_m: Float32
    intrinsics: CameraIntrinsics
    T_cam_obj: Float64
    points_obj: Float32
    sigma_m: float

    @classmethod
    def of(cls, view: ObjectView, depth_m: Float32, T_cam_obj: Float64, pixels: Bool) -> ViewDepth:
        """Prepare a view with its (perhaps smoothed) depth (H, W); `pixels` (H, W) says whose points are kept."""
        import cv2

        valid = depth_m > 0
        measured = np.where(valid, depth_m, np.float32(np.inf))
        nearest = np.asarray(cv2.erode(measured, np.ones((5, 5), np.uint8)), np.float32)
        nearest[valid_neighbours(valid, 5) < MIN_VALID_IN_WINDOW] = np.nan
        pixels = pixels & valid
        points = transform_points(inverse(T_cam_obj), unproject_depth(depth_m, view.frame.intrinsics, pixels))
        sigma = float(np.median(view.sigma_m[pixels])) if pixels.any() else 0.0
        return cls(nearest, view.frame.intrinsics, T_cam_obj, points.astype(np.float32), sigma)

    def excess_m(self, points_obj: Float32) -> Float32:
        """Return by how much the view measured beyond each of (N, 3) points, metres; NaN where it did not look."""
        points_cam = transform_points(self.T_cam_obj, points_obj)
        u, v = np.rint(np.nan_to_num(project_points(points_cam, self.intrinsics), nan=-1.0)).astype(np.int64).T
        height, width = self.nearest_m.shape
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (points_cam[:, 2] > 0)
        measured = np.full(len(points_obj), np.nan, np.float32)
        measured[inside] = self.nearest_m[v[inside], u[inside]]
        return measured - points_cam[:, 2].astype(np.float32)


def without_outliers(views: ObjectViews, checkpoint: Callable[[], None] = lambda: None) -> tuple[ObjectViews, float]:
    """Drop the object's pixels that as many views look through as confirm; return the rest and the dropped share.

    Each view has one vote per point: its own for it, another's for it when that measured the same depth, against it
    when it measured farther. A view that measured nearer, or nothing, does not vote. One vote alone drops nothing.
    `checkpoint` is called between the views and may raise to cancel.
    """
    with_depth = [v for v in views.views if v.frame.depth_m is not None]
    if len(with_depth) < 3:  # one voice against one decides nothing
        return views, 0.0
    depths = {id(v): _view_depth(v, views.object_frame) for v in with_depth}
    kept, dropped, total = [], 0, 0
    for view in views.views:
        if id(view) not in depths:
            kept.append(view)
            continue
        checkpoint()
        bad = _inconsistent(depths[id(view)], [d for key, d in depths.items() if key != id(view)])
        rows, columns = np.nonzero(view.mask & _valid(view))
        dropped, total = dropped + int(bad.sum()), total + len(bad)
        kept.append(_without_pixels(view, rows[bad], columns[bad]))
    return replace(views, views=tuple(kept)), dropped / max(total, 1)


def _view_depth(view: ObjectView, object_frame: ObjectFrame) -> ViewDepth:
    assert view.frame.depth_m is not None
    T_cam_obj = inverse(view.frame.T_world_cam) @ object_frame.T_world_obj
    return ViewDepth.of(view, view.frame.depth_m, T_cam_obj, view.mask)


def _valid(view: ObjectView) -> Bool:
    depth_m = view.frame.depth_m
    return np.zeros(view.mask.shape, bool) if depth_m is None else depth_m > 0


def _inconsistent(own: ViewDepth, others: list[ViewDepth]) -> Bool:
    tolerance = CONTRADICTION_SIGMA * own.sigma_m + CONTRADICTION_M
    votes_for, votes_against = np.ones((2, len(own.points_obj)), np.int32) * [[1], [0]]
    for other in others:
        excess = other.excess_m(own.points_obj)
        with np.errstate(invalid="ignore"):
            votes_for += np.abs(excess) <= tolerance
            votes_against += excess > tolerance
    return (votes_against >= 2) & (votes_against >= votes_for)


def _without_pixels(view: ObjectView, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> ObjectView:
    if len(rows) == 0 or view.frame.depth_m is None:
        return view
    depth_m, mask = view.frame.depth_m.copy(), view.mask.copy()
    depth_m[rows, columns] = np.nan
    mask[rows, columns] = False
    return replace(view, frame=replace(view.frame, depth_m=depth_m), mask=mask)


def interior(mask: Bool) -> Bool:
    """Return the mask (H, W) without its rim of two pixels, where depth may belong to what is behind."""
    import cv2

    return cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def contradiction(views: list[ViewDepth], soft_conflict: float) -> tuple[float, float]:
    """Return the share of measured points that another view saw empty, and the slack that would absolve them.

    The slack, metres, is 0 while the share stays below `soft_conflict`.
    """
    excess = []
    for i, view in enumerate(views):
        points = view.points_obj[:: max(1, len(view.points_obj) // MAX_POINTS)]
        others = [other.excess_m(points) for j, other in enumerate(views) if j != i]
        if others and len(points):
            tolerance = CONTRADICTION_SIGMA * view.sigma_m + CONTRADICTION_M
            excess.append(np.nan_to_num(np.stack(others), nan=-1.0).max(axis=0) - tolerance)
    if not excess:
        return 0.0, 0.0
    beyond = np.concatenate(excess)
    conflict = float(np.mean(beyond > 0))
    if conflict <= soft_conflict:
        return conflict, 0.0
    return conflict, float(np.clip(np.quantile(beyond, 1.0 - 0.5 * soft_conflict), 0.0, MAX_SOFT_SLACK_M))
