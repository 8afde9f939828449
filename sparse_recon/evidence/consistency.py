"""Do the views agree? Measured points of each view, looked at from the others, pixel by pixel.

A point that most other views look through is a flying pixel or a reflection and goes. What still disagrees after that
is wrong poses, wrong masks or a moved object, and softens the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sparse_recon.geometry.cameras import project_points, unproject_depth
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, ObjectFrame, ObjectView, ObjectViews

MAX_POINTS = 2000
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
    def of(
        cls,
        depth_m: Float32,
        intrinsics: CameraIntrinsics,
        T_cam_obj: Float64,
        points_obj: Float32,
        sigma_m: Float32,
        thin: bool = True,
    ) -> ViewDepth:
        """Prepare a depth image (H, W) and its measured points (N, 3); `thin` keeps at most `MAX_POINTS` of them."""
        import cv2

        valid: Bool = depth_m > 0
        kernel = np.ones((5, 5), np.uint8)
        nearest = np.asarray(cv2.erode(np.where(valid, depth_m, np.float32(1e6)), kernel), np.float32)
        nearest[nearest > 1e5] = np.nan
        step = max(1, len(points_obj) // MAX_POINTS) if thin else 1
        sigma = float(np.median(sigma_m)) if len(sigma_m) else 0.0
        return cls(nearest, intrinsics, T_cam_obj, points_obj[::step], sigma)

    def excess_m(self, points_obj: Float32) -> Float32:
        """Return by how much the view measured beyond each of (N, 3) points, metres; NaN where it did not look."""
        points_cam = transform_points(self.T_cam_obj, points_obj)
        u, v = np.rint(np.nan_to_num(project_points(points_cam, self.intrinsics), nan=-1.0)).astype(np.int64).T
        height, width = self.nearest_m.shape
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (points_cam[:, 2] > 0)
        measured = np.full(len(points_obj), np.nan, np.float32)
        measured[inside] = self.nearest_m[v[inside], u[inside]]
        return measured - points_cam[:, 2].astype(np.float32)


def without_outliers(views: ObjectViews) -> tuple[ObjectViews, float]:
    """Drop the object's pixels that as many views look through as confirm; return the rest and the dropped share.

    Each view has one vote per point: its own for it, another's for it when that measured the same depth, against it
    when it measured farther. A view that measured nearer, or nothing, does not vote. One vote alone drops nothing.
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
        bad = _outvoted(depths[id(view)], [d for key, d in depths.items() if key != id(view)])
        rows, columns = np.nonzero(view.mask & _valid(view))
        dropped, total = dropped + int(bad.sum()), total + len(bad)
        kept.append(_without_pixels(view, rows[bad], columns[bad]))
    return replace(views, views=tuple(kept)), dropped / max(total, 1)


def _view_depth(view: ObjectView, object_frame: ObjectFrame) -> ViewDepth:
    frame = view.frame
    assert frame.depth_m is not None
    T_cam_obj = inverse(frame.T_world_cam) @ object_frame.T_world_obj
    points = transform_points(inverse(T_cam_obj), unproject_depth(frame.depth_m, frame.intrinsics, view.mask))
    sigma = view.sigma_m[view.mask & _valid(view)]
    return ViewDepth.of(frame.depth_m, frame.intrinsics, T_cam_obj, points.astype(np.float32), sigma, thin=False)


def _valid(view: ObjectView) -> Bool:
    depth_m = view.frame.depth_m
    return np.zeros(view.mask.shape, bool) if depth_m is None else depth_m > 0


def _outvoted(own: ViewDepth, others: list[ViewDepth]) -> Bool:
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


def contradiction(views: list[ViewDepth], soft_conflict: float) -> tuple[float, float]:
    """Return the share of measured points that another view saw empty, and the slack that would absolve them.

    The slack, metres, is 0 while the share stays below `soft_conflict`.
    """
    excess = []
    for i, view in enumerate(views):
        others = [other.excess_m(view.points_obj) for j, other in enumerate(views) if j != i]
        if others and len(view.points_obj):
            tolerance = CONTRADICTION_SIGMA * view.sigma_m + CONTRADICTION_M
            excess.append(np.nan_to_num(np.stack(others), nan=-1.0).max(axis=0) - tolerance)
    if not excess:
        return 0.0, 0.0
    beyond = np.concatenate(excess)
    conflict = float(np.mean(beyond > 0))
    if conflict <= soft_conflict:
        return conflict, 0.0
    return conflict, float(np.clip(np.quantile(beyond, 1.0 - 0.5 * soft_conflict), 0.0, MAX_SOFT_SLACK_M))
