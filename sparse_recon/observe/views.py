"""From frames and a region to the views of one object in its own cube."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.evidence.depth_noise import depth_sigma
from sparse_recon.evidence.slow_error import OBJECT_GAIN, USUAL, SlowError, slow_error
from sparse_recon.geometry.cameras import cropped, every_nth_pixel, project_points, unproject_depth
from sparse_recon.geometry.clouds import robust_extent, voxel_keys
from sparse_recon.geometry.poses import inverse, pose, rotation_to_up, transform_points
from sparse_recon.observe.keyframes import ObjectObservation, select_keyframes, sharpness
from sparse_recon.observe.regions import ObjectRegion
from sparse_recon.observe.segment import SupportPlane
from sparse_recon.types import Bool, Float32, Float64, Frame, ObjectFrame, ObjectView, ObjectViews, Superseded

MIN_PIXELS = 30
# An object whose lowest seen point is farther above the plane than this hangs in the air.
MAX_SUPPORT_GAP_M = 0.02
# ... unless its surroundings are the bare plane: a ball seen from above hides its lower half.
MAX_SUPPORT_GAP_EXTENT = 0.6
RING_PX, RING_ON_PLANE_M = (5, 11), 0.01
CROP_MARGIN_PX = 8


def collect_views(
    object_id: str,
    frames: Sequence[Frame],
    region: ObjectRegion,
    plane: SupportPlane | None,
    up_world: Float64,
    config: SessionConfig,
    max_views: int,
    checkpoint: Callable[[], None] = lambda: None,
    hull_world: Float32 | None = None,
) -> ObjectViews:
    """Choose the frames that tell most of an object and crop them to it.

    Where no frame has depth, its place and size are those of `hull_world`, points on the hull of its masks.
    `checkpoint` is called between the frames and may raise to cancel.

    Raises
    ------
    EvidenceError
        If no frame sees the object, it has too few pixels, or it is larger than `segment.max_size_m`.
    """
    seen = []
    for frame in frames:
        checkpoint()
        if (s := _observation(frame, region, config)) is not None:
            seen.append(s)
    if not seen:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{object_id} is not visible in any of {len(frames)} frame(s); check the box or label and the camera poses",
        )
    seen = [_relative_sharpness(s, max(o.sharpness for o in seen)) for s in seen]
    chosen, clouds = [], []
    for i in select_keyframes(seen, max_views, config.keyframes, checkpoint):
        checkpoint()
        chosen.append(replace(seen[i], mask=region.mask(seen[i].frame)))
        clouds.append(_object_points(chosen[-1]))
    points = np.concatenate(clouds)
    checkpoint()
    with_depth = [s for s in chosen if s.frame.depth_m is not None]
    if with_depth and len(points) < max(MIN_PIXELS, config.segment.min_points // 4):
        raise EvidenceError(
            ErrorCode.OBJECT_TOO_SMALL,
            f"{object_id} has {len(points)} depth pixels in {len(chosen)} frame(s), "
            f"{max(MIN_PIXELS, config.segment.min_points // 4)} are needed; move closer or lower segment.min_points",
        )
    if not with_depth and hull_world is not None:
        points = hull_world
    object_frame = object_cube(object_id, points, chosen, plane, up_world, config)
    checkpoint()
    slow_m = _slow_errors([s.frame for s in chosen], [s.mask for s in chosen], plane, config.depth)
    views = tuple(_cropped_view(s, object_frame, config.depth, m) for s, m in zip(chosen, slow_m, strict=True))
    return ObjectViews(object_id, views, object_frame)


def _slow_errors(
    frames: Sequence[Frame], masks: Sequence[Bool], plane: SupportPlane | None, config: DepthConfig
) -> list[float]:
    """Return the slow error of each frame's depth on an object, metres: its own, else that of the other frames."""
    usual = USUAL.get(config.sensor)
    power = usual.power if usual else 2
    found = [None if plane is None else slow_error(f, plane.up_world, plane.height_m, power) for f in frames]
    known = [e.per_unit for e in found if e is not None]
    other = SlowError(float(np.median(known)), power) if known else usual
    errors = []
    for frame, mask, own in zip(frames, masks, found, strict=True):
        depth = np.zeros(0, np.float32) if frame.depth_m is None else frame.depth_m[mask & (frame.depth_m > 0)]
        error = own or other
        errors.append(OBJECT_GAIN * error.sigma_m(float(np.median(depth))) if error and len(depth) else 0.0)
    return errors


def object_cube(
    object_id: str,
    points_world: Float32,
    seen: Sequence[ObjectObservation],
    plane: SupportPlane | None,
    up_world: Float64,
    config: SessionConfig,
) -> ObjectFrame:
    """Lay the cube around what was seen, and as far behind it as the object is wide.

    Raises
    ------
    EvidenceError
        If there is no measured point, or the object is larger than `segment.max_size_m`.
    """
    if len(points_world) == 0:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_FOUND,
            f"{object_id} has no depth in any frame, so its size and position are unknown; add a frame with depth",
        )
    mean_view_direction = -np.mean([s.direction_world for s in seen], axis=0)
    R = rotation_to_up(up_world, mean_view_direction)
    points = points_world.astype(np.float64) @ R
    low, high = robust_extent(points)
    support_z = None
    if plane is not None:
        plane_z = _plane_height_below(plane, R, 0.5 * (low + high))
        gap = low[2] - plane_z
        reach = MAX_SUPPORT_GAP_EXTENT * float((high - low).max()) if _surrounded_by_plane(seen, plane) else 0.0
        if -MAX_SUPPORT_GAP_M < gap < max(MAX_SUPPORT_GAP_M, reach):
            support_z = plane_z
            low[2] = min(low[2], plane_z)
    # The hidden depth is unknown; seen from one side (x is away from the cameras) assume it as deep as it is wide.
    one_sided = float(np.linalg.norm(mean_view_direction - (mean_view_direction @ R[:, 2]) * R[:, 2]))
    high[0] += one_sided * max(0.0, (high[1] - low[1]) - (high[0] - low[0]))
    extent = float((high - low).max())
    if extent > config.segment.max_size_m:
        raise EvidenceError(
            ErrorCode.OBJECT_TOO_LARGE,
            f"{object_id}: its points span {extent:.2f} m, accepted are up to segment.max_size_m = "
            f"{config.segment.max_size_m:.2f} m; give a tighter box or mask, or raise the limit",
        )
    centre = 0.5 * (low + high)
    half_side = 0.5 * max(config.evidence.cube_margin * extent, extent + 0.02)
    T_world_obj = pose(R, R @ centre)
    return ObjectFrame(T_world_obj, float(half_side), None if support_z is None else float(support_z - centre[2]))


def _surrounded_by_plane(seen: Sequence[ObjectObservation], plane: SupportPlane) -> bool:
    """Whether most of what is seen right beside the object is the support plane: then nothing else carries it."""
    import cv2

    on, measured = 0, 0
    for s in seen:
        if s.frame.depth_m is None:
            continue
        mask = s.mask.astype(np.uint8)
        near, far = (cv2.dilate(mask, np.ones((k, k), np.uint8)) > 0 for k in RING_PX)
        ring = far & ~near & (s.frame.depth_m > 0)
        points = transform_points(s.frame.T_world_cam, unproject_depth(s.frame.depth_m, s.frame.intrinsics, ring))
        on += int(np.sum(np.abs(plane.heights(points.astype(np.float32))) < RING_ON_PLANE_M))
        measured += len(points)
    return on > 0.5 * max(measured, 1)


def _plane_height_below(plane: SupportPlane, R: Float64, centre: Float64) -> float:
    """Height, along the object's z axis, at which a slightly tilted plane passes under the centre."""
    normal = R.T @ plane.up_world
    return float((plane.height_m - normal[0] * centre[0] - normal[1] * centre[1]) / normal[2])


def _observation(frame: Frame, region: ObjectRegion, config: SessionConfig) -> ObjectObservation | None:
    """Look at every second pixel: that is enough to choose frames by, and there may be many."""
    coarse = Frame(
        rgb=frame.rgb[::2, ::2],
        depth_m=None if frame.depth_m is None else frame.depth_m[::2, ::2],
        intrinsics=every_nth_pixel(frame.intrinsics, 2),
        T_world_cam=frame.T_world_cam,
        stamp_ns=frame.stamp_ns,
        labels=None if frame.labels is None else frame.labels[::2, ::2],
        camera=frame.camera,
    )
    mask = region.mask(coarse)
    if not mask.any():
        return None
    visible_voxels = np.zeros(0, np.int64)
    direction = -frame.T_world_cam[:3, 2]
    if coarse.depth_m is not None and (mask & (coarse.depth_m > 0)).any():
        points = transform_points(frame.T_world_cam, unproject_depth(coarse.depth_m, coarse.intrinsics, mask))
        visible_voxels = voxel_keys(points.astype(np.float32), 2 * config.segment.voxel_size_m)
        direction = frame.T_world_cam[:3, 3] - points.mean(axis=0)
        direction = direction / np.linalg.norm(direction)
    height, width = frame.rgb.shape[:2]
    whole = mask.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return ObjectObservation(frame, whole, visible_voxels, direction, sharpness(frame.rgb, whole))


def _relative_sharpness(s: ObjectObservation, sharpest: float) -> ObjectObservation:
    return ObjectObservation(s.frame, s.mask, s.visible_voxels, s.direction_world, s.sharpness / max(sharpest, 1e-9))


def _object_points(s: ObjectObservation) -> Float32:
    if s.frame.depth_m is None:
        return np.zeros((0, 3), np.float32)
    points = unproject_depth(s.frame.depth_m, s.frame.intrinsics, s.mask)
    return transform_points(s.frame.T_world_cam, points).astype(np.float32)


def _cropped_view(s: ObjectObservation, object_frame: ObjectFrame, config: DepthConfig, slow_m: float) -> ObjectView:
    """Cut out the pixels that see the cube; the rest of the image says nothing of the object."""
    frame, h = s.frame, object_frame.half_side_m
    corners = np.array([[x, y, z] for x in (-h, h) for y in (-h, h) for z in (-h, h)])
    T_cam_obj = inverse(frame.T_world_cam) @ object_frame.T_world_obj
    uv = project_points(transform_points(T_cam_obj, corners), frame.intrinsics)
    width, height = frame.intrinsics.width, frame.intrinsics.height
    if np.isfinite(uv).all():
        left, top = np.clip(np.floor(uv.min(axis=0)).astype(int) - CROP_MARGIN_PX, 0, (width - 2, height - 2))
        right, bottom = np.clip(
            np.ceil(uv.max(axis=0)).astype(int) + CROP_MARGIN_PX, (left + 2, top + 2), (width, height)
        )
    else:  # the cube reaches behind the camera
        left, top, right, bottom = 0, 0, width, height
    window = (slice(int(top), int(bottom)), slice(int(left), int(right)))
    depth = None if frame.depth_m is None else frame.depth_m[window]
    crop = Frame(
        rgb=frame.rgb[window],
        depth_m=depth,
        intrinsics=cropped(frame.intrinsics, int(left), int(top), int(right - left), int(bottom - top)),
        T_world_cam=frame.T_world_cam,
        stamp_ns=frame.stamp_ns,
        camera=frame.camera,
        superseded=_cropped_superseded(frame, window),
    )
    mask = s.mask[window]
    shape = mask.shape
    occluder = np.zeros(shape, bool) if depth is None else ~mask & (depth > 0)
    if depth is None and frame.labels is not None:
        occluder = ~mask & (frame.labels[window] != 0)  # other things may hide it
    sigma = np.zeros(shape, np.float32) if depth is None else np.hypot(depth_sigma(depth, config), np.float32(slow_m))
    return ObjectView(crop, mask, occluder, sigma, slow_m)


def _cropped_superseded(frame: Frame, window: tuple[slice, slice]) -> Superseded | None:
    if frame.superseded is None:
        return None
    filled = frame.superseded.filled_m
    return Superseded(frame.superseded.gone_m[window], None if filled is None else filled[window])
