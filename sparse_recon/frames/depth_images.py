"""Depth messages into metres: by their encoding (REP 118), or in the unit that somebody says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, InputError, quoted
from sparse_recon.frames.compressed import Size, decoded
from sparse_recon.frames.images import (
    DEPTH_HEADER,
    DEPTH_TYPES,
    CompressedImage,
    Image,
    RawImage,
    accepted,
    bytes_of,
    pixels_of,
)
from sparse_recon.frames.rvl import decode_rvl
from sparse_recon.types import Float32


def depth_image(image: Image, near_m: float, far_m: float, size: Size | None = None, unit_m: float = 0.0) -> Float32:
    """Return (H, W) float32 metres along optical z; 0, NaN, Inf and what lies outside [near_m, far_m] is NaN.

    Parameters
    ----------
    unit_m : metres a count; 0 goes by the encoding: 16UC1 and mono16 are millimetres, 32FC1 is metres (REP 118), and
        compressedDepth is what image_transport writes.
    size : width and height that the image must have; where a compressed one states others, it is not decoded.

    Raises
    ------
    InputError
        ENCODING_UNSUPPORTED, or SIZE_MISMATCH where header and data contradict each other.
    """
    if isinstance(image, RawImage):
        dtype = accepted(image.encoding, DEPTH_TYPES, "depth")
        depth = pixels_of(image, np.dtype(dtype), 1)
    else:
        depth = _compressed_depth(image, size)
    factor = np.float32(unit_m or _rep_118_m(depth.dtype))
    depth_m: Float32 = depth.astype(np.float32) if factor == 1 else depth * factor
    with np.errstate(invalid="ignore"):
        depth_m[~((depth_m >= np.float32(near_m)) & (depth_m <= np.float32(far_m)))] = np.nan
    return depth_m


def empty_depth(image: Image, what: str, depth: DepthConfig) -> InputError:
    """Return the error of a depth image without a pixel in range: what was found, and which parameters set it.

    Parameters
    ----------
    what : the image, as the subject of a sentence.
    """
    found_m = depth_image(image, np.finfo(np.float32).tiny, np.finfo(np.float32).max, unit_m=depth.unit_m)
    held = f"its median is {np.nanmedian(found_m):g} m" if np.any(np.isfinite(found_m)) else "nothing is measured in it"
    return InputError(
        ErrorCode.DEPTH_EMPTY,
        f"{what} has no pixel within depth.near_m = {depth.near_m:g} to depth.far_m = {depth.far_m:g} m; {held} as "
        f"{unit_text(encoding_of(image), depth.unit_m)}. Check the sensor, or set depth.unit_m, depth.near_m or "
        "depth.far_m",
    )


def encoding_of(image: Image) -> str:
    """Return the name of the encoding that decides the unit."""
    return image.encoding if isinstance(image, RawImage) else image.format.partition(";")[0].strip()


def unit_text(encoding: str, unit_m: float) -> str:
    """Return an encoding and the unit in which it is read, for messages."""
    if unit_m:
        return f"{quoted(encoding)} of {unit_m:g} m a count (depth.unit_m)"
    return f"{quoted(encoding)} of {'1 m' if encoding == '32FC1' else '0.001 m'} a count (by encoding)"


def _rep_118_m(dtype: np.dtype[np.generic]) -> float:
    return 1e-3 if dtype.kind == "u" else 1.0


def _compressed_depth(image: CompressedImage, size: Size | None) -> npt.NDArray[np.generic]:
    """Return counts (uint16) or what the driver had as floats, 0 or NaN where invalid."""
    import cv2

    data = bytes_of(image.data)
    if "compressedDepth" not in image.format:
        return _sixteen_bit(decoded(data, image.format, cv2.IMREAD_UNCHANGED, size), image.format)
    if len(data) <= DEPTH_HEADER.size:
        raise InputError(
            ErrorCode.SIZE_MISMATCH, f"compressedDepth of {len(data)} bytes is shorter than its 12-byte header"
        )
    _, depth_a, depth_b = DEPTH_HEADER.unpack_from(data)
    payload = data[DEPTH_HEADER.size :]
    encoding = encoding_of(image)
    accepted(encoding, DEPTH_TYPES, "compressed depth")
    if "rvl" in image.format.lower():
        raw = decode_rvl(payload, size)
    else:
        raw = _sixteen_bit(decoded(payload, image.format, cv2.IMREAD_UNCHANGED, size), image.format)
    if encoding != "32FC1":
        return raw
    # compressed_depth_image_transport quantises inverse depth: raw = a / z + b, 0 for invalid.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(raw > 0, np.float32(depth_a) / (raw.astype(np.float32) - np.float32(depth_b)), np.nan)


def _sixteen_bit(image: npt.NDArray[np.generic], format_: str) -> npt.NDArray[np.uint16]:
    if image.dtype != np.uint16 or image.ndim != 2:
        raise InputError(
            ErrorCode.ENCODING_UNSUPPORTED,
            f"compressed depth of format {format_!r} holds {image.dtype} {image.shape}; accepted is one channel of "
            "16 bits: use the compressedDepth transport",
        )
    return image.astype(np.uint16, copy=False)
