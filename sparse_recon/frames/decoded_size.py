"""How much memory a frame takes while it is decoded and looked at, from the headers of its images alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sparse_recon.frames.compressed import Size
from sparse_recon.frames.images import CompressedImage, Image, LabelBoxes, RawImage, stated_size
from sparse_recon.frames.matching import Stamped
from sparse_recon.frames.undistort import PinholeCamera

# Bytes a pixel at the worst moment of each step, measured on images of 12 megapixels; in brackets what it leaves.
_COLOR_DECODED = 10  # progressive JPEG, PNG [3]
_COLOR_KEPT, _LABELS_KEPT, _DEPTH_KEPT = 3, 4, 4
_UNDISTORTED = 3
_MAPS = 8  # where each pixel lies in the raw image, made with the first one [8]
_LABELS_DECODED = 16  # PNG of four channels of 16 bits, which is refused once it is known [4]
_LABELS_UNDISTORTED = 20
_DEPTH_DECODED = 14  # [4]
_RVL_DECODED, _RVL_BYTE = 56, 100  # a pixel, and a byte of the message
_REGISTERED, _FOOTPRINT_PIXEL = 64, 48  # of depth; and for each further pixel of colour that it covers
_LOOKED_AT = 26  # the session's copy, and without flying pixels [11]


def working_bytes(
    parts: Mapping[str, Stamped], color: PinholeCamera, depth: PinholeCamera, *, moved_depth: bool
) -> int:
    """Return the most bytes that a frame takes beside its messages, until the session has it.

    What the decoders refuse by its header costs nothing and counts as nothing.

    Parameters
    ----------
    parts : messages by stream: color, depth, labels.
    color, depth : their cameras.
    moved_depth : depth must be carried over to the colour camera, point by point.
    """
    pixels = _pixels(parts["color"].content, color)
    peak = _COLOR_DECODED * pixels + _file_bytes(parts["color"].content)
    kept = _COLOR_KEPT * pixels
    if color.distorted:
        peak = max(peak, kept + (_UNDISTORTED + _MAPS) * pixels)
        kept += _MAPS * pixels
    if "labels" in parts and (label_pixels := _pixels(parts["labels"].content, color)):
        step = max(_LABELS_DECODED, _LABELS_UNDISTORTED if color.distorted else 0)
        peak = max(peak, kept + step * label_pixels + _file_bytes(parts["labels"].content))
        kept += _LABELS_KEPT * label_pixels
    if "depth" in parts and (depth_pixels := _pixels(parts["depth"].content, depth)):
        content = parts["depth"].content
        each, beside = _DEPTH_DECODED, _file_bytes(content)
        if _is_rvl(content):
            each, beside = _RVL_DECODED, _RVL_BYTE * len(content.data)
        maps = _MAPS if depth.distorted and depth is not color else 0
        if moved_depth:
            covered = math.prod(
                max(1, math.ceil(a / b - 0.01))
                for a, b in (
                    (color.intrinsics.fx, depth.intrinsics.fx),
                    (color.intrinsics.fy, depth.intrinsics.fy),
                )
            )
            each = max(each, _REGISTERED + _FOOTPRINT_PIXEL * (covered - 1))
        peak = max(peak, kept + (each + maps) * depth_pixels + beside)
        kept += maps * depth_pixels + _DEPTH_KEPT * pixels
    return int(max(peak, kept + _LOOKED_AT * pixels))


def _pixels(image: Image | LabelBoxes, camera: PinholeCamera) -> int:
    """Return how many pixels will be decoded: none where header and camera info contradict each other."""
    size: Size | None = camera.size if isinstance(image, LabelBoxes) else stated_size(image)
    if isinstance(image, RawImage):
        return min(image.width * image.height, len(image.data))
    return math.prod(camera.size) if size == camera.size else 0


def _file_bytes(image: Image | LabelBoxes) -> int:
    """Return the bytes of a compressed file, of which OpenCV gets a copy, for PNG a second one."""
    return 2 * len(image.data) if isinstance(image, CompressedImage) else 0


def _is_rvl(image: Image | LabelBoxes) -> bool:
    return isinstance(image, CompressedImage) and "rvl" in image.format.lower()
