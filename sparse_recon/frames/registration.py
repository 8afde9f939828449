"""Whether the depth image of a frame shows what its colour image shows, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, TransformError, quoted
from sparse_recon.frames.matching import Stamped
from sparse_recon.geometry.poses import rotation_angle
from sparse_recon.geometry.transforms import TransformSource, without_slash
from sparse_recon.types import Float64

# Colour and depth of one sensor have two frames that calibration sets apart by less than this, metres and radians.
_SAME_POSE = 1e-3


def pose_of_depth(
    transforms: TransformSource,
    camera: str,
    color: Stamped,
    depth: Stamped,
    *,
    calibrated: bool,
    may_wait: Callable[[TransformError], bool],
) -> Float64 | None:
    """Return T_color_depth, (4, 4), at the stamp of depth; None while a transform that is not there yet may come.

    Parameters
    ----------
    calibrated : the depth camera has a camera info of its own.
    may_wait : whether a transform that failed so may come later.

    Raises
    ------
    TransformError
        If the pose is unknown and depth is calibrated.
    InputError
        INTRINSICS_INVALID if depth is not calibrated and was taken from elsewhere, or nobody knows from where.
    """
    color_frame, depth_frame = without_slash(color.frame_id), without_slash(depth.frame_id)
    if color_frame == depth_frame:
        return np.eye(4)
    try:
        T_color_depth = transforms.lookup(color_frame, depth_frame, depth.stamp_ns)
    except TransformError as error:
        if may_wait(error):
            return None
        if calibrated:
            raise
        raise _unregistered(camera, color_frame, depth_frame, f"a pose unknown to it ({error.message})") from error
    if calibrated:
        return T_color_depth
    apart_m = float(np.linalg.norm(T_color_depth[:3, 3]))
    turned = rotation_angle(T_color_depth)
    if max(apart_m, turned) > _SAME_POSE:
        where = f"a pose {apart_m * 1e3:.1f} mm and {np.rad2deg(turned):.1f} degrees from it"
        raise _unregistered(camera, color_frame, depth_frame, where)
    return np.eye(4)


def _unregistered(camera: str, color_frame: str, depth_frame: str, where: str) -> InputError:
    return InputError(
        ErrorCode.INTRINSICS_INVALID,
        f"{camera}: colour is in frame {quoted(color_frame)} and depth in {quoted(depth_frame)}, {where}, and depth "
        "has no camera info of its own, so its calibration is unknown; accepted is depth with its camera info (replay: "
        "--topics ... depth_info=TOPIC, node: depth_camera_info: true) or depth that the driver registers to colour; "
        "where it does and keeps the old frame name, set assembly.depth_is_registered: true",
    )
