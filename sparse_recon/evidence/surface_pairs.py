"""Where two views of one object disagree: surface beside surface, and surface where the other view saw none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.evidence.consistency import interior
from sparse_recon.evidence.depth_filter import smoothed
from sparse_recon.evidence.depth_noise import robust_sigma
from sparse_recon.evidence.point_to_plane import evened, grid_normals
from sparse_recon.geometry.cameras import every_nth_pixel, pixel_rays, project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, ObjectFrame, ObjectView

# Pixels along the longer edge of a compared crop; points of the object and of its surroundings that are compared.
PIXELS, MAX_OWN, MAX_OTHER = 120, 400, 200
# Surroundings farther from the object's centre than so many half edges of its cube tell little of its place.
NEARBY = 3.0
# Normals of one surface in two views differ by less than 45 degrees.
SAME_NORMAL = 0.7
# Depth that grows faster than this sideways, as a slope, is smeared or an outline.
STEEP = 3.0
# A view sees past a point when it measured so much farther. Outlines are uncertain by so many pixels of the crop.
PAST_M, OUTLINE_PX = 0.008, 1.5
# The surface of a view is off as a whole by this and by the unevenness that it gives its support, in patches so large.
MEAN_SIGMA_M, PATCH_M, MIN_PATCH_POINTS, MIN_PATCHES = 0.00025, 0.02, 4, 8
# Support is what lies so near to where it is thought to be, so many pixels outside of the object, by so many points.
SUPPORT_M, SUPPORT_PX, SUPPORT_NOISE_M, MIN_SUPPORT_POINTS, PLANE_FITS = 0.03, 4, 0.002, 50, 4


@dataclass(frozen=True, eq=False)
class ViewSurface:
    """What one view measured around an object, thinned out, in the object frame by the view's pose.

    Attributes
    ----------
    depth_m, own, outside_px : (h, w), smoothed depth, pixels of the object, and distance of all others to these.
    outwards : (2, h, w) float32, direction in the image, columns and rows, in which that distance grows.
    surface, normals : (h, w, 3) float32, points and unit normals; NaN where there are none.
    points, point_normals : (N, 3) float64, those that are looked at from other views; the first `own_count` of these
        are the object's, off its outline.
    outline_px : how far the outline is uncertain, in pixels of these images.
    sigma_m : standard deviation of errors of depth that all of the surface shares, as the support's unevenness tells.
    """

    depth_m: Float32
    own: Bool
    outside_px: Float32
    outwards: Float32
    surface: Float32
    normals: Float32
    points: Float64
    point_normals: Float64
    own_count: int
    camera: CameraIntrinsics
    T_cam_obj: Float64
    outline_px: float
    sigma_m: float

    @classmethod
    def of(cls, view: ObjectView, object_frame: ObjectFrame) -> ViewSurface:
        """Prepare a view with depth."""
        import cv2

        frame = view.frame
        assert frame.depth_m is not None
        n = max(1, max(frame.depth_m.shape) // PIXELS)
        smooth = smoothed(frame.depth_m, frame.depth_m > 0, view.sigma_m)
        depth_m, steep = smooth[::n, ::n], _steep(smooth, frame.intrinsics.fx, view.sigma_m)[::n, ::n]
        own, camera = view.mask[::n, ::n], every_nth_pixel(frame.intrinsics, n)
        T_cam_obj = inverse(frame.T_world_cam) @ object_frame.T_world_obj
        surface = transform_points(inverse(T_cam_obj), pixel_rays(camera).astype(np.float64) * depth_m[..., None])
        normals = grid_normals(surface.astype(np.float32))
        normals[steep] = np.nan
        outside_px = cv2.distanceTransform((~view.mask).astype(np.uint8), cv2.DIST_L2, 5)[::n, ::n] / n
        outwards = np.stack([cv2.Sobel(outside_px, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (1, 0)])
        outwards /= np.maximum(np.linalg.norm(outwards, axis=0), 1e-6)
        valid = (depth_m > 0) & ~steep & (np.linalg.norm(surface, axis=-1) < NEARBY * object_frame.half_side_m)
        inner = _evenly(np.flatnonzero(valid & interior(view.mask)[::n, ::n]), MAX_OWN)
        at = np.concatenate([inner, _evenly(np.flatnonzero(valid & ~own), MAX_OTHER)])
        support = surface[valid & (outside_px > SUPPORT_PX)].astype(np.float64)
        return cls(
            depth_m,
            own,
            outside_px,
            outwards,
            surface.astype(np.float32),
            normals,
            surface.reshape(-1, 3)[at].astype(np.float64),
            normals.reshape(-1, 3)[at].astype(np.float64),
            len(inner),
            camera,
            T_cam_obj,
            OUTLINE_PX / n,
            float(np.hypot(MEAN_SIGMA_M, _unevenness_m(support, object_frame.support_z_m))),
        )


@dataclass(frozen=True, eq=False)
class Disagreement:
    """How points of one view lie to the surface of another one, both as they are placed, object frame.

    Attributes
    ----------
    points, directions : (K, 3), points and unit directions along which they are off.
    residual_m : (K,) by how much.
    weight : (K,) all directions count the same.
    """

    points: Float64
    directions: Float64
    residual_m: Float64
    weight: Float64


def disagreement(a: ViewSurface, T_a: Float64, b: ViewSurface, T_b: Float64, reach_m: float) -> Disagreement:
    """Look at the points of view `a` from view `b`, each moved by its correction (4, 4) in the object frame.

    A point beside surface of its kind that faces as it does is off by its distance to that surface's plane, if that is
    less than `reach_m`. A point of the object where the other view sees past it is off by how far it is outside of that
    view's outline of the object, or before its surface.
    """
    points = transform_points(T_a, a.points)
    in_b = transform_points(inverse(T_b), points)
    seen = transform_points(b.T_cam_obj, in_b)
    with np.errstate(invalid="ignore"):
        uv = np.rint(project_points(seen, b.camera))
        inside = (uv >= 0).all(axis=1) & (uv[:, 0] < b.camera.width) & (uv[:, 1] < b.camera.height)
    at = np.flatnonzero(inside)
    u, v = uv[at].astype(int).T
    own = at < a.own_count
    away = in_b[at] - b.surface[v, u]
    normal = b.normals[v, u].astype(np.float64)
    facing = a.point_normals[at] @ (inverse(T_b) @ T_a)[:3, :3].T
    along = np.einsum("kd,kd->k", away, normal)
    past_m = b.depth_m[v, u] - seen[at, 2]
    with np.errstate(invalid="ignore"):
        same_kind = own == b.own[v, u]
        alike = np.einsum("kd,kd->k", facing, normal) > SAME_NORMAL
        in_front = own & (past_m > 0) & (along > 0)
        beside = same_kind & (np.abs(along) < reach_m) & (alike | in_front)
        beside &= np.linalg.norm(away, axis=1) < 2.0 * reach_m
        outside_m = (b.outside_px[v, u] - b.outline_px) * seen[at, 2] / b.camera.fx
        spilt = own & ~b.own[v, u] & (past_m > PAST_M) & (outside_m > 0) & (outside_m < reach_m)
    across = np.stack([b.outwards[0][v, u], b.outwards[1][v, u], np.zeros(len(u))], axis=1) @ b.T_cam_obj[:3, :3]
    used = beside | spilt
    directions = np.where(spilt[:, None], across, normal)[used]
    residual_m = np.where(spilt, outside_m, along)[used]
    weight = evened(directions) if len(directions) else np.zeros(0)
    return Disagreement(points[at][used], directions @ T_b[:3, :3].T, residual_m, weight)


def robust_mean_m(found: Disagreement, most_m: float) -> float:
    """Return by how much two views disagree on average, metres; what is off by more counts as `most_m`."""
    total: np.floating[npt.NBitBase] = found.weight.sum()
    return float(found.weight @ np.minimum(np.abs(found.residual_m), most_m) / total) if total > 0 else 0.0


def _unevenness_m(points: Float64, support_z_m: float | None) -> float:
    """Return how far patches of a support are off a plane, robust standard deviation, metres; 0 without a support.

    `points` is (N, 3). Noise of single pixels, and the steps of depth, are averaged out over a patch.
    """
    if support_z_m is None:
        return 0.0
    near, height_m = np.abs(points[:, 2] - support_z_m) < SUPPORT_M, points[:, 2]
    A = np.concatenate([points[:, :2], np.ones((len(points), 1))], axis=1)
    for _ in range(PLANE_FITS):
        if near.sum() < MIN_SUPPORT_POINTS:
            return 0.0
        height_m = points[:, 2] - A @ np.linalg.lstsq(A[near], points[near, 2], rcond=None)[0]
        near = np.abs(height_m) < max(3.0 * robust_sigma(height_m[near]), SUPPORT_NOISE_M)
    patch = np.floor(points[near, :2] / PATCH_M).astype(np.int64) @ (100_003, 1)
    _, index, count = np.unique(patch, return_inverse=True, return_counts=True)
    means = np.bincount(index, height_m[near])[count >= MIN_PATCH_POINTS] / count[count >= MIN_PATCH_POINTS]
    return robust_sigma(means) if len(means) >= MIN_PATCHES else 0.0


def _steep(depth_m: Float32, focal_px: float, sigma_m: Float32) -> Bool:
    """Return where depth (H, W) changes faster over 3x3 pixels than surface does that a camera measures well."""
    import cv2

    kernel, valid = np.ones((3, 3), np.uint8), depth_m > 0
    low = cv2.erode(np.where(valid, depth_m, np.float32(np.inf)), kernel)
    high = cv2.dilate(np.where(valid, depth_m, np.float32(-np.inf)), kernel)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(~(high - low < 2.0 * STEEP / focal_px * depth_m + sigma_m))


def _evenly(pixels: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    return pixels[np.unique(np.linspace(0, len(pixels) - 1, min(most, len(pixels))).astype(np.intp))]
