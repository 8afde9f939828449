"""Incoming messages as the records that `frames` takes. Only attributes are read, so any message class will do."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, SparseReconError
from sparse_recon.frames.cloud_depth import depth_of_cloud
from sparse_recon.frames.images import MAX_BOXES, CompressedImage, Image, LabelBoxes, RawImage
from sparse_recon.frames.undistort import CameraInfo
from sparse_recon.geometry.transforms import MAX_NAME_LENGTH, pose_from_quaternion
from sparse_recon.types import Float64, OrientedBox

log = logging.getLogger(__name__)

MAX_TRANSFORMS = 5000  # of one message; adding more of them takes too long


def stamp_ns_of(message: Any) -> int:
    """Return the stamp of a message with a header, in nanoseconds."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def image_of(message: Any) -> Image:
    """Return what `frames.images` decodes; the bytes are shared with the message, unless it is a PointCloud2.

    Raises
    ------
    InputError
        ENCODING_UNSUPPORTED or SIZE_MISMATCH for a cloud that is no image.
    """
    if hasattr(message, "point_step"):
        return depth_of_cloud(message)
    if hasattr(message, "format"):
        return CompressedImage(message.format, message.data)
    size = (int(message.width), int(message.height), int(message.step))
    return RawImage(message.encoding, *size, bool(message.is_bigendian), message.data)


def camera_info_of(message: Any) -> CameraInfo:
    """Return the fields of sensor_msgs/CameraInfo that matter."""
    roi = message.roi
    return CameraInfo(
        int(message.width),
        int(message.height),
        np.array(message.k),
        np.array(message.d),
        message.distortion_model,
        np.array(message.p),
        (int(message.binning_x), int(message.binning_y)),
        (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
    )


def labels_of(message: Any) -> LabelBoxes:
    """Return the usable boxes of a vision_msgs/Detection2DArray; their labels count from 1, with the unusable ones."""
    boxes = []
    for label, detection in enumerate(message.detections, 1):
        box = detection.bbox
        rectangle = (box.center.position.x, box.center.position.y, box.size_x, box.size_y)
        if all(map(math.isfinite, rectangle)) and min(box.size_x, box.size_y) > 0:
            boxes.append((label, *map(float, rectangle)))
    return LabelBoxes(tuple(boxes))  # type: ignore[arg-type]


def boxes_of(message: Any) -> list[OrientedBox]:
    """Return the boxes of a vision_msgs/Detection3DArray in the frame of its header; unusable ones are warned of.

    Raises
    ------
    InputError
        USAGE if there are more than `MAX_BOXES`.
    """
    if len(message.detections) > MAX_BOXES:
        text = (
            f"{len(message.detections)} boxes were detected, accepted are at most {MAX_BOXES}; raise the "
            "detector's threshold"
        )
        raise InputError(ErrorCode.USAGE, text)
    boxes, problems = [], []
    for detection in message.detections:
        try:
            boxes.append(box_of(detection.bbox.center, detection.bbox.size))
        except SparseReconError as error:
            problems.append(error.message)
    if problems:
        log.warning("%d of %d detected boxes are skipped: %s", len(problems), len(message.detections), problems[0])
    return boxes


def box_of(pose: Any, size: Any) -> OrientedBox:
    """Return a geometry_msgs/Pose and a Vector3 as a box in the frame of the pose.

    Raises
    ------
    InputError
        If the quaternion is not of unit length, or an edge is not positive.
    """
    p, q = pose.position, pose.orientation
    T = pose_from_quaternion((q.x, q.y, q.z, q.w), (p.x, p.y, p.z))
    return OrientedBox(T, np.array([size.x, size.y, size.z]))


def transforms_of(message: Any) -> list[tuple[str, str, int, Float64]]:
    """Return (parent, child, stamp_ns, T_parent_child) of each usable transform of a TFMessage; warn of the others."""
    usable, problems = [], []
    for item in message.transforms[:MAX_TRANSFORMS]:
        t, q = item.transform.translation, item.transform.rotation
        stamp_ns = item.header.stamp.sec * 1_000_000_000 + item.header.stamp.nanosec
        try:
            T_parent_child = pose_from_quaternion((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))
        except SparseReconError as error:
            names = f"{item.header.frame_id[:MAX_NAME_LENGTH]} -> {item.child_frame_id[:MAX_NAME_LENGTH]}"
            problems.append(f"{names}: {error.message}")
            continue
        usable.append((item.header.frame_id, item.child_frame_id, stamp_ns, T_parent_child))
    if len(message.transforms) > MAX_TRANSFORMS:
        problems.append(f"a message has {len(message.transforms)} transforms, used are {MAX_TRANSFORMS}")
    if problems:
        left_out = len(message.transforms) - len(usable)
        log.warning("%d of %d transforms are skipped: %s", left_out, len(message.transforms), problems[0])
    return usable
