"""Do the views agree? Measured points of each view, looked at from the others, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import transform_points
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64

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
        cls, depth_m: Float32, intrinsics: CameraIntrinsics, T_cam_obj: Float64, points_obj: Float32, sigma_m: Float32
    ) -> ViewDepth:
        import cv2

        valid: Bool = depth_m > 0
        kernel = np.ones((5, 5), np.uint8)
        nearest = np.asarray(cv2.erode(np.where(valid, depth_m, np.float32(1e6)), kernel), np.float32)
        nearest[nearest > 1e5] = np.nan
        step = max(1, len(points_obj) // MAX_POINTS)
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
