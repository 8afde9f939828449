"""Image messages into arrays: colour and labels here, depth in `depth_images`. Everything is decided by the encoding.

cv_bridge and rosbags-image are not used: the one of Humble and Jazzy does not work beside NumPy 2, the other ignores
row padding. Where cv_bridge works, the node has it convert what is not read here (`ros/cv_door.py`).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError, quoted
from sparse_recon.frames.compressed import PNG, Size, declared_size, decoded
from sparse_recon.frames.rvl import rvl_size
from sparse_recon.types import Int32, UInt8

ByteData = bytes | bytearray | memoryview | array | UInt8
MAX_BOXES = 1000  # of one image; drawing more of them takes too long


@dataclass(frozen=True, eq=False)
class RawImage:
    """The fields of sensor_msgs/Image; `step` is bytes per row."""

    encoding: str
    width: int
    height: int
    step: int
    is_bigendian: bool
    data: ByteData


@dataclass(frozen=True, eq=False)
class CompressedImage:
    """The fields of sensor_msgs/CompressedImage."""

    format: str
    data: ByteData


@dataclass(frozen=True, eq=False)
class LabelBoxes:
    """Rectangles of a detector, drawn as a label image: 1 for the first one, smaller ones on top.

    Attributes
    ----------
    boxes : (label, centre x, centre y, size x, size y) of each, pixels; finite, sizes positive.
    """

    boxes: tuple[tuple[int, float, float, float, float], ...]


Image = RawImage | CompressedImage

# Channels, bytes of each, and how OpenCV makes RGB of the upper ones. OpenCV names a Bayer pattern by its second row
# and column, ROS by its first.
_COLOR: dict[str, tuple[int, int, str]] = {
    "rgb8": (3, 1, ""),
    "bgr8": (3, 1, "BGR2RGB"),
    "rgba8": (4, 1, "RGBA2RGB"),
    "bgra8": (4, 1, "BGRA2RGB"),
    "rgb16": (3, 2, ""),
    "bgr16": (3, 2, "BGR2RGB"),
    "rgba16": (4, 2, "RGBA2RGB"),
    "bgra16": (4, 2, "BGRA2RGB"),
    "8UC3": (3, 1, "BGR2RGB"),
    "8UC4": (4, 1, "BGRA2RGB"),
    "mono8": (1, 1, "GRAY2RGB"),
    "8UC1": (1, 1, "GRAY2RGB"),
    "mono16": (1, 2, "GRAY2RGB"),
    "yuv422": (2, 1, "YUV2RGB_UYVY"),
    "uyvy": (2, 1, "YUV2RGB_UYVY"),
    "yuv422_yuy2": (2, 1, "YUV2RGB_YUYV"),
    "yuyv": (2, 1, "YUV2RGB_YUYV"),
    "nv12": (1, 1, "YUV2RGB_NV12"),
    "nv21": (1, 1, "YUV2RGB_NV21"),
    **{
        f"bayer_{pattern}{8 * size}": (1, size, f"Bayer{code}2RGB")
        for pattern, code in (("rggb", "BG"), ("bggr", "RG"), ("gbrg", "GR"), ("grbg", "GB"))
        for size in (1, 2)
    },
}
_HALF_PLANES = ("nv12", "nv21")  # a plane of luma, then one of half its height with both chroma channels
DEPTH_TYPES = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
DEPTH_HEADER = struct.Struct("<iff")  # ConfigHeader of compressed_depth_image_transport: format, a, b
_T = TypeVar("_T")
_LABELS = {"mono8": np.uint8, "8UC1": np.uint8, "16UC1": np.uint16, "mono16": np.uint16, "32SC1": np.int32}
Stream = Literal["color", "depth", "labels"]
RAW_ENCODINGS: Mapping[Stream, frozenset[str]] = {
    "color": frozenset(_COLOR),
    "depth": frozenset(DEPTH_TYPES),
    "labels": frozenset(_LABELS),
}


def color_image(image: Image, size: Size | None = None) -> UInt8:
    """Return (H, W, 3) uint8 sRGB of a colour or grey image; of 16 bits the upper 8 are used.

    Parameters
    ----------
    size : width and height that the image must have; where a compressed one states others, it is not decoded.

    Raises
    ------
    InputError
        ENCODING_UNSUPPORTED, or SIZE_MISMATCH where header and data contradict each other.
    """
    import cv2

    if isinstance(image, CompressedImage):
        bgr = decoded(bytes_of(image.data), image.format, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, size)
        # compressed_image_transport names the channel order in the file after the word "compressed".
        swapped = "rgb" in image.format.partition("compressed")[2]
        return cast(UInt8, bgr if swapped else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    channels, depth_bytes, code = accepted(image.encoding, _COLOR, "colour")
    halved = image.encoding in _HALF_PLANES
    if (image.width % 2 and (channels == 2 or halved)) or (image.height % 2 and halved):
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"{image.encoding} needs an even {'size' if halved else 'width'}, got {image.width}x{image.height} px",
        )
    planes = replace(image, height=image.height + image.height // 2) if halved else image
    pixels = pixels_of(planes, np.dtype(np.uint8), channels * depth_bytes)
    if depth_bytes == 2:
        pixels = pixels[..., 0 if image.is_bigendian else 1 :: 2]
        pixels = pixels[..., 0] if channels == 1 else pixels
    if not code:
        return np.array(pixels, np.uint8)
    return cast(UInt8, cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, f"COLOR_{code}")))


def stated_size(image: Image) -> Size | None:
    """Return the (width, height) that a message or the file inside it states, decoding nothing.

    (0, 0) where a header is cut; None for files that are not read.
    """
    if isinstance(image, RawImage):
        return image.width, image.height
    data = bytes_of(image.data)
    if "compressedDepth" in image.format:
        data = data[DEPTH_HEADER.size :]
        if "rvl" in image.format.lower():
            return rvl_size(data)
    return declared_size(data)


def label_image(image: Image | LabelBoxes, size: Size | None = None) -> Int32:
    """Return (H, W) int32 labels, 0 background; `size` is that of `color_image`, and rectangles are drawn in it.

    Raises
    ------
    InputError
        ENCODING_UNSUPPORTED, or SIZE_MISMATCH where header and data contradict each other.
    """
    if isinstance(image, LabelBoxes):
        return _rasterised(image, size)
    if isinstance(image, RawImage):
        dtype = accepted(image.encoding, _LABELS, "label")
        return pixels_of(image, np.dtype(dtype), 1).astype(np.int32)
    import cv2

    labels = decoded(bytes_of(image.data), image.format, cv2.IMREAD_UNCHANGED, size)
    if labels.ndim != 2 or not _is_png(image):
        raise InputError(
            ErrorCode.ENCODING_UNSUPPORTED,
            f"label image of format {quoted(image.format)} has colours or lossy compression; accepted are raw images "
            "and grey PNG",
        )
    return labels.astype(np.int32)


def _is_png(image: CompressedImage) -> bool:
    """Return whether the file inside is a PNG, whatever the format field says."""
    return bytes_of(image.data)[:8] == PNG


def _rasterised(boxes: LabelBoxes, size: Size | None) -> Int32:
    if size is None or len(boxes.boxes) > MAX_BOXES:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"{len(boxes.boxes)} boxes were detected in an image of size {size}; accepted are at most {MAX_BOXES}, and "
            "the size of the image must be known",
        )
    labels = np.zeros(size[::-1], np.int32)
    for label, x, y, size_x, size_y in sorted(boxes.boxes, key=lambda box: (-box[3] * box[4], box[0])):
        rows = slice(_pixel(y - size_y / 2), _pixel(y + size_y / 2))
        labels[rows, _pixel(x - size_x / 2) : _pixel(x + size_x / 2)] = label
    return labels


def _pixel(position: float) -> int:
    return round(min(max(position, 0.0), 1e9))


def pixels_of(image: RawImage, dtype: np.dtype[np.generic], channels: int) -> npt.NDArray[np.generic]:
    """View the bytes as (H, W) or (H, W, C) in native byte order; sizes are compared before anything is allocated."""
    data = bytes_of(image.data)
    row_bytes = image.width * channels * dtype.itemsize
    needed = image.step * (image.height - 1) + row_bytes
    if image.width < 1 or image.height < 1 or image.step < row_bytes or len(data) < needed:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"image header says {image.width}x{image.height} {image.encoding} with {image.step} bytes a row, "
            f"which needs rows of {row_bytes} and {max(needed, 0)} bytes in all; the message has {len(data)}: "
            "it is truncated, or the driver fills in width, height or step wrongly",
        )
    shape = (image.height, image.width, channels)[: 3 if channels > 1 else 2]
    strides = (image.step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    dtype = dtype.newbyteorder(">" if image.is_bigendian else "<")
    view = np.ndarray(shape, dtype, data, 0, strides)
    return view.astype(dtype.newbyteorder("="), copy=False)


def bytes_of(data: ByteData) -> memoryview:
    """Return the bytes of any data that a message may hold, without a copy."""
    return memoryview(cast(Any, data)).cast("B")


def accepted(encoding: str, table: Mapping[str, _T], kind: str) -> _T:
    """Return what a table has for an encoding; raises InputError ENCODING_UNSUPPORTED where it has nothing."""
    if encoding not in table:
        raise InputError(
            ErrorCode.ENCODING_UNSUPPORTED,
            f"{kind} image has encoding {quoted(encoding)}; accepted are {', '.join(sorted(table))}",
        )
    return table[encoding]
