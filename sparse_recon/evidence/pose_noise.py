"""What two frames contradict each other in only because their camera poses, or their depth, are a little off.

Before a difference is called a change of the world, it is looked at again: as surely as the ground lets each camera
measure, and then with both frames brought together, as views of one object are, by the ground and all that stands out
of it. What is gone then was noise. A camera that stands still makes the same errors again; what differs there changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.config.geometry_config import RegistrationConfig
from sparse_recon.evidence.bumped import CameraShift, colours_stayed, layers
from sparse_recon.evidence.changes import CHANGE_SIGMA, Change, CoarseFrame, change
from sparse_recon.evidence.depth_noise import robust_sigma
from sparse_recon.evidence.registration import brought_together
from sparse_recon.geometry.clouds import robust_extent
from sparse_recon.geometry.poses import inverse, pose, rotation_angle, rotation_to_up, transform_points
from sparse_recon.types import Bool, Float64, Frame, ObjectFrame, ObjectView, ObjectViews

# Noise is to blame if at most this share of the difference is left without it.
MAX_LEFT_SHARE = 0.35
# Ground and things are seen by so many pixels, at least, where they are to tell of noise.
MIN_PIXELS = 30
# Depths differ when they are farther apart than so many times what depth is uneven by on the ground, in blocks so many
# pixels wide.
UNEVEN_GAIN, BLOCK_PX, PLANE_FITS = 4.0, 7, 3


@dataclass(frozen=True, eq=False)
class Grounded:
    """A frame that tells depths apart as surely as it measured its ground.

    Attributes
    ----------
    ground, standing_out : (h, w) bool, pixels of the largest plane, and those in front of it.
    """

    coarse: CoarseFrame
    ground: Bool
    standing_out: Bool

    @classmethod
    def of(cls, frame: CoarseFrame) -> Grounded | None:
        """Prepare a frame; None where it shows too little of ground and things."""
        ground, standing_out = layers(frame)
        if min(ground.sum(), standing_out.sum()) < MIN_PIXELS:
            return None
        with np.errstate(invalid="ignore"):
            uneven_m = _inverse_depth_sigma(frame, ground) * frame.depth_m**2
            tolerance_m = np.fmax(frame.tolerance_m, np.float32(UNEVEN_GAIN) * uneven_m).astype(np.float32)
        return cls(replace(frame, tolerance_m=tolerance_m), ground, standing_out)


def without_noise(older: Grounded, newer: Grounded, frames: tuple[Frame, Frame], config: RegistrationConfig) -> Change:
    """Return what changed between two frames of a moving camera beyond what errors of depth and poses explain.

    Parameters
    ----------
    frames : the older and the newer one, for their colours.
    config : poses are no more wrong than its bounds.
    """
    a, b = older.coarse, newer.coarse
    found = change(a, b)
    if not found.pixels:
        return found
    views = _views(older, newer)
    together = brought_together(views, config).views
    if together is views:
        return found
    T_older, T_newer = (view.frame.T_world_cam for view in together.views)
    left = change(replace(a, T_world_cam=T_older), replace(b, T_world_cam=T_newer))
    if left.pixels > MAX_LEFT_SHARE * found.pixels:
        return found
    T_right_wrong = a.T_world_cam @ inverse(T_older) @ T_newer @ inverse(b.T_world_cam)
    shift = CameraShift(T_right_wrong, 0.0, rotation_angle(T_right_wrong), moved=True, within_noise=True)
    return found if colours_stayed(a, b, frames[0].rgb, frames[1].rgb, shift) else left


def _inverse_depth_sigma(frame: CoarseFrame, ground: Bool) -> float:
    """Return the standard deviation of inverse depth on the ground, 1/m, robust, of what neighbours share.

    On a plane inverse depth is linear in the image.
    """
    import cv2

    v, u = np.nonzero(ground)
    A = np.stack([u, v, np.ones(len(u))], axis=1).astype(np.float64)
    measured = 1.0 / frame.depth_m[v, u].astype(np.float64)
    off, near = measured, np.ones(len(u), bool)
    for _ in range(PLANE_FITS):
        off = measured - A @ np.linalg.solve(A[near].T @ A[near], A[near].T @ measured[near])
        near = np.abs(off) <= 3.0 * robust_sigma(off[near])
    total, count = np.zeros((2, *ground.shape), np.float32)
    total[v[near], u[near]], count[v[near], u[near]] = off[near], 1.0
    block, middle = (BLOCK_PX, BLOCK_PX), slice(BLOCK_PX // 2, None, BLOCK_PX)
    total, count = (cv2.boxFilter(x, -1, block, normalize=False)[middle, middle] for x in (total, count))
    full = count > BLOCK_PX**2 // 2
    return robust_sigma(total[full] / count[full]) if full.any() else 0.0


def _views(older: Grounded, newer: Grounded) -> ObjectViews:
    """Return two frames as views of all that stands out of their ground."""
    standing, on_ground, up = [], [], np.zeros(3)
    for seen in (older, newer):
        T, points_cam = seen.coarse.T_world_cam, seen.coarse.points_cam.astype(np.float64)
        standing.append(transform_points(T, points_cam[seen.standing_out]))
        ground: Float64 = transform_points(T, points_cam[seen.ground]).astype(np.float64)
        on_ground.append(ground.mean(axis=0))
        up += _normal(ground, T[:3, 3])
    R = rotation_to_up(up)
    low, high = robust_extent(np.concatenate(standing) @ R)
    centre, half_side_m = 0.5 * (low + high), 0.5 * float((high - low).max())
    support_z_m = float(np.mean(on_ground, axis=0) @ R[:, 2] - centre[2])
    object_frame = ObjectFrame(pose(R, R @ centre), half_side_m, support_z_m)
    return ObjectViews("scene", tuple(_view(seen.coarse, seen.standing_out) for seen in (older, newer)), object_frame)


def _view(frame: CoarseFrame, mask: Bool) -> ObjectView:
    rgb = np.zeros((*frame.depth_m.shape, 3), np.uint8)
    seen = Frame(rgb, frame.depth_m, frame.intrinsics, frame.T_world_cam, 0)
    return ObjectView(seen, mask, ~mask & (frame.depth_m > 0), frame.tolerance_m / np.float32(CHANGE_SIGMA))


def _normal(points: Float64, eye: Float64) -> Float64:
    """Return the unit normal of points (N, 3) on a plane, towards an eye."""
    centre = points.mean(axis=0)
    normal = np.linalg.svd(np.cov((points - centre).T))[0][:, 2]
    return np.asarray(normal * np.sign(normal @ (eye - centre)))
