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
from sparse_recon.geometry.cameras import every_nth_pixel, pixel_rays
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
# One pixel in so many, in both directions, is looked at first; the others where so many of 3x3 of these have changed.
PROBE_STEP, MIN_PROBES = 2, 6
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
    points_cam : (h, w, 3) float32, NaN where invalid.
    stride : n.
    """

    depth_m: Float32
    nearest_m: Float32
    tolerance_m: Float32
    points_cam: Float32
    intrinsics: CameraIntrinsics
    T_world_cam: Float64
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
        intrinsics = every_nth_pixel(frame.intrinsics, stride)
        return cls(
            depth_m,
            np.where(valid_neighbours(valid, 3) >= MIN_VALID, nearest, np.float32(np.nan)).astype(np.float32),
            np.maximum(np.float32(CHANGE_SIGMA) * sigma_m[::stride, ::stride], np.float32(CHANGE_M)),
            pixel_rays(intrinsics) * depth_m[..., None],
            intrinsics,
            frame.T_world_cam,
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
    """

    vanished: Bool
    filled_m: Float32

    @property
    def pixels(self) -> int:
        """How many pixels have changed in one way or the other."""
        return int(self.vanished.sum()) + int(np.isfinite(self.filled_m).sum())


def change(older: CoarseFrame, newer: CoarseFrame) -> Change:
    """Compare two frames of one world at two times."""
    vanished = np.zeros(older.depth_m.shape, bool)
    filled = np.full(older.depth_m.shape, np.inf, np.float32)
    with np.errstate(invalid="ignore"):
        if _suspicious(older, newer):
            excess = _excess_m(older, newer)
            vanished = _wide(_closed(excess > older.tolerance_m, np.isfinite(excess)), older)
            vanished = _grown(vanished, excess > GROWTH_SHARE * older.tolerance_m, older)
        if _suspicious(newer, older):
            excess = _excess_m(newer, older)
            appeared = _wide(_closed(excess > newer.tolerance_m, np.isfinite(excess)), newer)
            filled = _splatted(_moved(newer.points_cam[appeared], newer, older), older)
    return Change(vanished, filled)


def seen_through(points_world: Float32, frame: CoarseFrame) -> tuple[int, int]:
    """Return how many of (N, 3) points of a surface a frame can tell of, and how many of these it looks through."""
    points_cam = transform_points(inverse(frame.T_world_cam), points_world).astype(np.float32)
    u, v, inside = _pixels_of(points_cam, frame)
    with np.errstate(invalid="ignore"):
        excess = frame.nearest_m[v, u] - points_cam[inside, 2]
        tolerance = frame.tolerance_m[v, u]
        return int(np.sum(excess > -tolerance)), int(np.sum(excess > tolerance))


def _suspicious(of: CoarseFrame, seen_by: CoarseFrame) -> bool:
    """Return whether another camera looks through enough of some pixels of a frame to look at all of them."""
    import cv2

    step = slice(None, None, PROBE_STEP)
    excess = _excess_m(of, seen_by, (step, step))
    through = (excess > of.tolerance_m[step, step]).astype(np.float32)
    return bool(cv2.boxFilter(through, -1, (3, 3), normalize=False).max(initial=0.0) > MIN_PROBES - 0.5)


def _excess_m(of: CoarseFrame, seen_by: CoarseFrame, pixels: tuple[slice, slice] = (slice(None),) * 2) -> Float32:
    """Return by how much another camera measured beyond each point, (h, w) metres; NaN where it cannot tell."""
    points_cam = _moved(of.points_cam[pixels], of, seen_by)
    u, v, inside = _pixels_of(points_cam, seen_by)
    excess = np.full(points_cam.shape[:2], np.nan, np.float32)
    excess[inside] = seen_by.nearest_m[v, u] - points_cam[inside, 2]
    return excess


def _moved(points_cam: Float32, of: CoarseFrame, into: CoarseFrame) -> Float32:
    """Return points (..., 3) of one camera in another's frame; float32 is fine, however far the world's origin is."""
    T = (inverse(into.T_world_cam) @ of.T_world_cam).astype(np.float32)
    return points_cam @ T[:3, :3].T + T[:3, 3]


def _pixels_of(points_cam: Float32, frame: CoarseFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Bool]:
    """Return columns and rows (K,) of the (..., 3) points that the image shows, and which these are (...)."""
    height, width = frame.depth_m.shape
    camera, z = frame.intrinsics, points_cam[..., 2]
    # Two planes apart, not the pairs of `project_points`: a third of the time of a comparison.
    with np.errstate(invalid="ignore", divide="ignore"):
        u = points_cam[..., 0] / z * np.float32(camera.fx) + np.float32(camera.cx)
        v = points_cam[..., 1] / z * np.float32(camera.fy) + np.float32(camera.cy)
        inside = (z > 0) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    return np.rint(u[inside]).astype(np.int64), np.rint(v[inside]).astype(np.int64), inside


def _closed(mask: Bool, known: Bool) -> Bool:
    """Return a mask with those single pixels of which nothing is known and whose neighbours are mostly in it."""
    import cv2

    around, inside = (cv2.boxFilter(m.astype(np.float32), -1, (3, 3), normalize=False) for m in (known, mask & known))
    return mask | (~known & (around > MIN_VALID - 0.5) & (2.0 * inside > around))


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
    return length_m * frame.intrinsics.fx / float(np.nanmedian(frame.depth_m[mask]))


def _splatted(points_cam: Float32, onto: CoarseFrame) -> Float32:
    """Return the least depth (h, w) at which points (N, 3) stand before a camera; inf where none does."""
    import cv2

    depth = np.full(onto.depth_m.shape, np.inf, np.float32)
    if len(points_cam):
        u, v, inside = _pixels_of(points_cam, onto)
        np.minimum.at(depth, (v, u), points_cam[inside, 2])
    least = cv2.erode(depth, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(least, np.float32)
