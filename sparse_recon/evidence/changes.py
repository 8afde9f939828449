"""What a newer frame says of an older one: surface that is gone, and emptiness that is filled since.

The world moves while the camera looks. Newer measured emptiness beats older surface, and newer surface beats older
emptiness. Two frames are compared on a coarse grid of pixels; strips thinner than `MIN_CHANGE_M` are noise of depth and
poses along an outline, not a change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.evidence.depth_filter import valid_neighbours
from sparse_recon.geometry.cameras import pixel_rays, project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, Frame

# Pixels along the longer edge of a compared image, at least.
COARSE_PIXELS = 200
# Depths differ when they are farther apart than this many standard deviations, and than this.
CHANGE_SIGMA, CHANGE_M = 4.0, 0.01
# A change is at least this wide: poses off by a degree move outlines by a centimetre.
MIN_CHANGE_M = 0.015
# Beside a change, so near to it, surface that moved less is part of it: the foot of what stood on a table.
GROWTH_M, GROWTH_SHARE = 0.015, 0.2
# Of the 3x3 pixels around one, so many must have depth before it is compared.
MIN_VALID = 5
# Frames nearer in time than this are one moment, whatever they say of each other.
SAME_MOMENT_NS = 20_000_000


@dataclass(frozen=True, eq=False)
class CoarseFrame:
    """Every n-th pixel of a frame with depth.

    Attributes
    ----------
    depth_m : (h, w) float32, NaN where invalid.
    nearest_m : (h, w) float32, least depth of each 3x3 window; NaN where most of it is invalid.
    tolerance_m : (h, w) float32, by how much depths must differ to be different.
    points_world : (h, w, 3) float32, NaN where invalid.
    stride : n.
    """

    depth_m: Float32
    nearest_m: Float32
    tolerance_m: Float32
    points_world: Float32
    intrinsics: CameraIntrinsics
    T_cam_world: Float64
    stride: int

    @classmethod
    def of(cls, frame: Frame, sigma_m: Float32) -> CoarseFrame:
        """Thin out a frame with depth; `sigma_m` (H, W) is the standard deviation of its depth."""
        import cv2

        assert frame.depth_m is not None
        stride = max(1, max(frame.depth_m.shape) // COARSE_PIXELS)
        depth_m = frame.depth_m[::stride, ::stride]
        valid = depth_m > 0
        measured = np.where(valid, depth_m, np.float32(np.inf))
        nearest = cv2.erode(measured, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
        intrinsics = _every(frame.intrinsics, stride, depth_m.shape)
        points_cam = pixel_rays(intrinsics) * depth_m[..., None]
        return cls(
            depth_m,
            np.where(valid_neighbours(valid, 3) >= MIN_VALID, nearest, np.float32(np.nan)).astype(np.float32),
            np.maximum(np.float32(CHANGE_SIGMA) * sigma_m[::stride, ::stride], np.float32(CHANGE_M)),
            transform_points(frame.T_world_cam, points_cam).astype(np.float32),
            intrinsics,
            inverse(frame.T_world_cam),
            stride,
        )


@dataclass(frozen=True, eq=False)
class Change:
    """What changed of an older frame's view since.

    Attributes
    ----------
    vanished : (h, w) bool, pixels whose surface is no longer there.
    filled_m : (h, w) float32, depth along the older frame's z of surface that stands in front of what it measured now;
        inf where there is none.
    compared, agreed : pixels of the older frame that the newer one can see, and those of them that it confirms.
    """

    vanished: Bool
    filled_m: Float32
    compared: int
    agreed: int


def change(older: CoarseFrame, newer: CoarseFrame) -> Change:
    """Compare two frames of one world at two times."""
    excess, compared = _excess(older, newer)
    with np.errstate(invalid="ignore"):
        vanished = _wide(compared & (excess > older.tolerance_m), older)
        vanished = _grown(vanished, compared & (excess > GROWTH_SHARE * older.tolerance_m), older)
        agreed = compared & (np.abs(excess) <= older.tolerance_m)
        back, seen_back = _excess(newer, older)
        appeared = _wide(seen_back & (back > newer.tolerance_m), newer)
    filled = _splatted(newer.points_world[appeared], older)
    return Change(vanished, filled, int(np.sum(agreed) + np.sum(compared & vanished)), int(np.sum(agreed)))


def seen_through(points_world: Float32, frame: CoarseFrame) -> tuple[int, int]:
    """Return how many of (N, 3) points of a surface a frame can tell of, and how many of these it looks through."""
    points_cam = transform_points(frame.T_cam_world, points_world)
    measured, tolerance = _sampled(points_cam, frame)
    excess = measured - points_cam[..., 2].astype(np.float32)
    with np.errstate(invalid="ignore"):
        return int(np.sum(excess > -tolerance)), int(np.sum(excess > tolerance))


def _excess(of: CoarseFrame, seen_by: CoarseFrame) -> tuple[Float32, Bool]:
    """Return by how much another camera measured beyond each point, (h, w) metres, and where it can tell."""
    points_cam = transform_points(seen_by.T_cam_world, of.points_world)
    excess = _sampled(points_cam, seen_by)[0] - points_cam[..., 2].astype(np.float32)
    with np.errstate(invalid="ignore"):
        return excess, excess > -of.tolerance_m


def _sampled(points_cam: npt.NDArray[np.floating], frame: CoarseFrame) -> tuple[Float32, Float32]:
    """Return the nearest depth around the pixel of each of (..., 3) points, and its tolerance; NaN where none is."""
    u, v = np.moveaxis(
        np.rint(np.nan_to_num(project_points(points_cam, frame.intrinsics), nan=-1.0)).astype(np.int64), -1, 0
    )
    height, width = frame.depth_m.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (points_cam[..., 2] > 0)
    measured = np.full(inside.shape, np.nan, np.float32)
    tolerance = np.full(inside.shape, np.nan, np.float32)
    measured[inside] = frame.nearest_m[v[inside], u[inside]]
    tolerance[inside] = frame.tolerance_m[v[inside], u[inside]]
    return measured, tolerance


def _wide(mask: Bool, frame: CoarseFrame) -> Bool:
    """Return the connected parts of a mask that are somewhere as wide as a change (opening by reconstruction)."""
    import cv2

    if not mask.any():
        return mask
    size = max(2, round(_pixels(MIN_CHANGE_M, mask, frame)))
    core = cv2.erode(mask.astype(np.uint8), np.ones((size, size), np.uint8), borderValue=0) > 0
    _, part = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return mask & np.isin(part, np.unique(part[core]))


def _grown(mask: Bool, into: Bool, frame: CoarseFrame) -> Bool:
    """Return a mask with those pixels of another one that are near it."""
    import cv2

    if not mask.any():
        return mask
    size = 2 * max(1, round(_pixels(GROWTH_M, mask, frame))) + 1
    return mask | (into & (cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0))


def _pixels(length_m: float, mask: Bool, frame: CoarseFrame) -> float:
    """Return how many pixels a length spans at the depth of a mask."""
    return length_m * frame.intrinsics.fx / float(np.median(frame.depth_m[mask]))


def _splatted(points_world: Float32, onto: CoarseFrame) -> Float32:
    """Return the least depth (h, w) at which points stand before a camera; inf where none does."""
    import cv2

    depth = np.full(onto.depth_m.shape, np.inf, np.float32)
    if len(points_world) == 0:
        return depth
    points_cam = transform_points(onto.T_cam_world, points_world)
    u, v = np.rint(np.nan_to_num(project_points(points_cam, onto.intrinsics), nan=-1.0)).astype(np.int64).T
    height, width = onto.depth_m.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    np.minimum.at(depth, (v[inside], u[inside]), points_cam[inside, 2].astype(np.float32))
    least = cv2.erode(depth, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(least, np.float32)


def _every(intrinsics: CameraIntrinsics, stride: int, shape: tuple[int, ...]) -> CameraIntrinsics:
    """Return the camera of `image[::stride, ::stride]`, whose pixel (0, 0) is that of the image."""
    K = intrinsics.K.copy()
    K[:2] /= stride
    return CameraIntrinsics(shape[1], shape[0], K)
