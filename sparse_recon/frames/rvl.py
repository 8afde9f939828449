"""RVL depth images: run lengths of zero and non-zero pixels, differences as 3-bit groups.

Wilson, "Fast Lossless Depth Image Compression", ISS 2017; framed as compressed_depth_image_transport does it.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.compressed import Size, check_declared_size

# A pixel takes at most 8 groups of half a byte: two run lengths and a difference of 17 bits.
_MAX_BYTES_PER_PIXEL = 4


def decode_rvl(payload: memoryview, size: Size | None = None) -> npt.NDArray[np.uint16]:
    """Return (H, W) uint16 of int32 width, int32 height and the RVL words that follow.

    Parameters
    ----------
    size : width and height that the image must have; None for any up to `MAX_PIXELS`.

    Raises
    ------
    InputError
        SIZE_MISMATCH if the stated size is impossible or not `size`, or the words end before the image is full.
    """
    width, height = rvl_size(payload)
    check_declared_size("RVL depth", (width, height), size)
    pixels = width * height
    values = _values(payload[8 : 16 + _MAX_BYTES_PER_PIXEL * pixels])
    filled, at = 0, 0
    runs: list[tuple[int, int, int]] = []  # first value, first pixel, length
    while filled < pixels and at + 2 <= len(values):
        zeros, count = values.item(at), values.item(at + 1)
        filled += zeros
        if at + 2 + count > len(values) or filled + count > pixels or zeros + count == 0:
            break
        runs.append((at + 2, filled, count))
        filled += count
        at += 2 + count
    if filled != pixels:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"RVL depth of {width}x{height} ends after {min(filled, pixels)} pixels: it is truncated; check its "
            "publisher",
        )
    first_value, first_pixel, count = np.array(runs, np.int64).reshape(-1, 3).T
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    deltas = values[np.repeat(first_value, count) + within]
    out = np.zeros(pixels, dtype=np.uint16)
    out[np.repeat(first_pixel, count) + within] = np.cumsum((deltas >> 1) ^ -(deltas & 1)).astype(np.uint16)
    return out.reshape(height, width)


def rvl_size(payload: memoryview) -> Size:
    """Return the (width, height) that the header states; (0, 0) where it is cut."""
    return struct.unpack_from("<ii", payload) if len(payload) >= 8 else (0, 0)


def _values(words: memoryview) -> npt.NDArray[np.int64]:
    """Return the variable-length numbers: nibbles from the high end of little-endian words, bit 3 continues."""
    usable = len(words) // 4 * 4
    packed = np.frombuffer(words[:usable], "<u4").byteswap().view(np.uint8)
    nibbles = np.stack([packed >> 4, packed & 15], axis=1).ravel().astype(np.int64)
    ends = np.flatnonzero(nibbles < 8)
    if not len(ends):
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    nibbles = nibbles[: ends[-1] + 1]
    place = np.arange(len(nibbles)) - np.repeat(starts, ends - starts + 1)
    # Ten groups hold 30 bits, more than any valid number; longer ones are damage and are refused by their run length.
    return np.add.reduceat((nibbles & 7) << (3 * np.minimum(place, 10)), starts)
