"""Whether a camera has moved without its transform: then all that it sees has moved together, the world has not.

A newer depth image is aligned with an older one of the same camera, point to plane with projective association (Blais
and Levine 1995; Newcombe et al. 2011). A shift that makes most of the changes between the two disappear, of several
separate things or of most of the image, is the camera's, unless colours of what stands still say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.evidence.changes import Change, CoarseFrame, change
from sparse_recon.evidence.point_to_plane import evened, grid_normals, turned_about
from sparse_recon.geometry.cameras import project_points
from sparse_recon.geometry.poses import inverse, rotation_angle, transform_points
from sparse_recon.types import Bool, Float32, Float64, UInt8

ITERATIONS = 40
# Every so many-th coarse pixel is aligned; points farther apart are no pair, at first and at last.
STEP, REACH_M = 2, (0.06, 0.02)
HUBER_M = 0.003
PLANE_FITS, MIN_GROUND_PIXELS = 3, 100
# The shift explains what changed if at most this share of it is left ...
MAX_LEFT_SHARE = 0.35
# ... and if either this share of the ground has changed, or all that stands out of it so far, so many things at least,
# each so many pixels large: each by this share of its pixels. The ground is a plane so large at least.
GROUND_SHARE, STANDING_OUT_M, MIN_PARTS, PART_PIXELS, STAYED_SHARE, MIN_GROUND_M = 0.5, 0.015, 2, 12, 0.1, 0.25
# The world has moved, not the camera, where colours of what has not changed differ by the poses as they are less than
# so many times as much as they would after the shift, at so many pixels at least.
COLOURS_BETTER, COLOURS_BLUR_PX, MIN_COLOURS = 0.5, 1.5, 300
# Less than this is noise of poses. A bump is no more than these: beyond, another scene is looked at.
MIN_SHIFT_M, MAX_SHIFT_M, MAX_TURN_RAD = 0.004, 0.15, 0.2
# Poses of a camera that has moved, by more than the first two, are off by up to this: of two of them each by a degree.
STILL_M, STILL_RAD, NOISE_M, NOISE_RAD = 0.002, 0.003, 0.02, 0.035


@dataclass(frozen=True, eq=False)
class CameraShift:
    """By what a camera's newer pose is wrong, if the older one is right.

    Attributes
    ----------
    T_right_wrong : (4, 4), maps what the newer frame measured, in the world by its pose, to where it is.
    shift_m : mean distance by which that moves the measured points.
    turn_rad : its rotation.
    moved : whether the camera moved by its poses too.
    within_noise : whether errors of the poses of a camera that moves may be as large.
    """

    T_right_wrong: Float64
    shift_m: float
    turn_rad: float
    moved: bool = False
    within_noise: bool = False


def camera_shift(older: CoarseFrame, newer: CoarseFrame, found: Change) -> CameraShift | None:
    """Return by what the camera has moved between two of its frames; None where the world may have changed instead.

    Parameters
    ----------
    found : what `change` says of the two.
    """
    before = found.pixels
    if before < PART_PIXELS or not _may_be_the_camera(older, found):
        return None
    T_old_new = _aligned(older, newer)
    if T_old_new is None:
        return None
    T_right_wrong = older.T_world_cam @ T_old_new @ inverse(newer.T_world_cam)
    points_world = transform_points(newer.T_world_cam, newer.points_cam.astype(np.float64))
    shift_m = float(np.nanmean(np.linalg.norm(transform_points(T_right_wrong, points_world) - points_world, axis=-1)))
    turn_rad = rotation_angle(T_right_wrong)
    if not MIN_SHIFT_M < shift_m < MAX_SHIFT_M or turn_rad > MAX_TURN_RAD:
        return None
    left = change(older, replace(newer, T_world_cam=older.T_world_cam @ T_old_new))
    if left.pixels > MAX_LEFT_SHARE * before:
        return None
    moved = moved_by_poses(older, newer)
    return CameraShift(T_right_wrong, shift_m, turn_rad, moved, moved and shift_m < NOISE_M and turn_rad < NOISE_RAD)


def moved_by_poses(older: CoarseFrame, newer: CoarseFrame) -> bool:
    """Return whether a camera stood elsewhere, by its poses; the pose of one that stands still does not vary."""
    T_moved = inverse(older.T_world_cam) @ newer.T_world_cam
    return float(np.linalg.norm(T_moved[:3, 3])) > STILL_M or rotation_angle(T_moved) > STILL_RAD


def colours_stayed(
    older: CoarseFrame, newer: CoarseFrame, rgb_older: UInt8, rgb_newer: UInt8, shift: CameraShift
) -> bool:
    """Return whether the pattern of what has not changed is where the poses have it, and not where a shift would.

    Things on a tray or a belt move together before a camera that stands still; the table under them does not.
    """
    points_cam = newer.points_cam.reshape(-1, 3)
    T_newer, T_shifted = newer.T_world_cam, shift.T_right_wrong @ newer.T_world_cam
    before, now = _thinned(rgb_older, older), _thinned(rgb_newer, newer)
    stayed, shifted = (_colours_at(points_cam, T, older, before) for T in (T_newer, T_shifted))
    seen = np.isfinite(stayed).all(axis=1) & np.isfinite(shifted).all(axis=1)
    if seen.sum() < MIN_COLOURS:
        return False
    now = now.reshape(-1, 3)[seen]
    return _difference(stayed[seen], now) < COLOURS_BETTER * _difference(shifted[seen], now)


def _difference(before: Float32, now: Float32) -> float:
    """Return the median difference of colours (N, 3), whatever the exposure."""
    exposure = np.median(before, axis=0) / np.maximum(np.median(now, axis=0), 1.0)
    return float(np.median(np.abs(before - exposure * now).sum(axis=1)))


def _thinned(rgb: UInt8, frame: CoarseFrame) -> Float32:
    import cv2

    sigma = COLOURS_BLUR_PX * frame.stride
    return np.asarray(cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), sigma)[:: frame.stride, :: frame.stride])


def _colours_at(points_cam: Float32, T_world_cam: Float64, frame: CoarseFrame, rgb: Float32) -> Float32:
    """Return the colours (N, 3) of another camera's points in a frame that has surface there; NaN where it has not."""
    import cv2

    points_cam = transform_points(inverse(frame.T_world_cam) @ T_world_cam, points_cam).astype(np.float32)
    height, width = frame.depth_m.shape
    with np.errstate(invalid="ignore"):
        uv = project_points(points_cam, frame.intrinsics)
        inside = (uv >= 0).all(axis=1) & (uv[:, 0] <= width - 1) & (uv[:, 1] <= height - 1)
        u, v = np.rint(np.where(inside[:, None], uv, 0.0)).astype(int).T
        inside &= np.abs(frame.depth_m[v, u] - points_cam[:, 2]) < frame.tolerance_m[v, u]
    rows = np.array_split(np.where(inside[:, None], uv, 0.0).astype(np.float32), 1 + len(uv) // 30_000)  # cv2's limit
    colours = [
        np.asarray(cv2.remap(rgb, row[None, :, 0].copy(), row[None, :, 1].copy(), cv2.INTER_LINEAR)[0]) for row in rows
    ]
    return np.where(inside[:, None], np.concatenate(colours), np.float32(np.nan)).astype(np.float32)


def _may_be_the_camera(older: CoarseFrame, found: Change) -> bool:
    """Return whether the ground has changed, or several things that stand out of it and nothing has stayed."""
    import cv2

    changed = (found.vanished | np.isfinite(found.filled_m)).astype(np.uint8)
    near = cv2.dilate(changed, np.ones((5, 5), np.uint8))
    ground, standing_out = layers(older)
    if ground.any() and near[ground].mean() > GROUND_SHARE:
        return True
    count, part, stats, _ = cv2.connectedComponentsWithStats(standing_out.astype(np.uint8))
    height, width = part.shape
    moved = 0
    for number in range(1, count):
        left, top, wide, high, area = stats[number]
        cut = left == 0 or top == 0 or left + wide == width or top + high == height
        if area >= PART_PIXELS and not cut:
            if near[part == number].mean() < STAYED_SHARE:
                return False
            moved += 1
    return moved >= MIN_PARTS


def layers(frame: CoarseFrame) -> tuple[Bool, Bool]:
    """Return the pixels (h, w) of the largest plane in view, and those in front of it; none where there is no plane."""
    normals = grid_normals(frame.points_cam)
    ground = np.isfinite(normals).all(axis=-1) & (frame.depth_m > 0)
    none = np.zeros(ground.shape, bool)
    if ground.any():
        group = np.rint(4.0 * np.where(ground[..., None], normals, 0.0)).astype(int) @ (81, 9, 1)
        group -= group.min()
        ground &= group == np.argmax(np.bincount(group[ground]))
    points, standing_out = frame.points_cam.astype(np.float64), none
    for _ in range(PLANE_FITS):
        if ground.sum() < MIN_GROUND_PIXELS:
            return none, none
        centre = points[ground].mean(axis=0)
        normal = np.linalg.svd(np.cov((points[ground] - centre).T))[0][:, 2]
        height = (points - centre) @ (normal * np.sign(normal @ -centre))  # towards the camera
        with np.errstate(invalid="ignore"):
            ground, standing_out = np.abs(height) < STANDING_OUT_M, np.asarray(height > STANDING_OUT_M)
    large = float(np.ptp(points[ground], axis=0).max()) > MIN_GROUND_M
    return (ground, standing_out) if large else (none, none)


def _aligned(older: CoarseFrame, newer: CoarseFrame) -> Float64 | None:
    """Return `T_old_new` as the two depth images say; None where they share too little."""
    normals = grid_normals(older.points_cam)
    points = newer.points_cam[::STEP, ::STEP].reshape(-1, 3).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    T = inverse(older.T_world_cam) @ newer.T_world_cam
    height, width = older.depth_m.shape
    for reach_m in np.geomspace(*REACH_M, ITERATIONS):
        moved = transform_points(T, points)
        with np.errstate(invalid="ignore"):
            uv = np.rint(project_points(moved, older.intrinsics))
            inside = (uv >= 0).all(axis=1) & (uv[:, 0] < width) & (uv[:, 1] < height)
        moved = moved[inside]
        u, v = uv[inside].astype(int).T
        away = moved - older.points_cam[v, u]
        normal = normals[v, u].astype(np.float64)
        with np.errstate(invalid="ignore"):
            near = (np.linalg.norm(away, axis=1) < reach_m) & np.isfinite(normal).all(axis=1)
        if near.sum() < 100:
            return None
        moved, normal = moved[near], normal[near]
        residual = np.einsum("kd,kd->k", away[near], normal)
        weight = evened(normal) / np.maximum(1.0, np.abs(residual) / HUBER_M)
        centre = moved.mean(axis=0)
        A = np.concatenate([np.cross(moved - centre, normal), normal], axis=1)
        H = (A * weight[:, None]).T @ A
        H += 1e-6 * np.diag(np.diag(H))
        step = np.linalg.solve(H, -(A * weight[:, None]).T @ residual)
        T = turned_about(centre, step) @ T
        if np.abs(step).max() < 1e-5:
            break
    return T
