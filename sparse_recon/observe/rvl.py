"""RVL depth images: run lengths of zero and non-zero pixels, differences as 3-bit groups.

Wilson, "Fast Lossless Depth Image Compression", ISS 2017; framed as compressed_depth_image_transport does it.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError


def decode_rvl(payload: memoryview, max_pixels: int) -> npt.NDArray[np.uint16]:
    """Return (H, W) uint16 of int32 width, int32 height and the RVL words that follow.

    Raises
    ------
    InputError
        SIZE_MISMATCH if the stated size is not 1 to `max_pixels`, or the words end before the image is full.
    """
    width, height = struct.unpack_from("<ii", payload) if len(payload) >= 8 else (0, 0)
    if width < 1 or height < 1 or width * height > max_pixels:
        raise InputError(
            ErrorCode.SIZE_MISMATCH, f"RVL depth states {width}x{height} pixels, accepted are 1 to {max_pixels}"
        )
    values = _values(payload[8:])
    out = np.zeros(width * height, dtype=np.uint16)
    filled, at, last = 0, 0, 0
    while filled < out.size:
        if at + 2 > len(values):
            break
        zeros, count = int(values[at]), int(values[at + 1])
        deltas = values[at + 2 : at + 2 + count]
        filled += zeros
        if len(deltas) < count or filled + count > out.size or zeros + count == 0:
            break
        run = last + np.cumsum((deltas >> 1) ^ -(deltas & 1))
        out[filled : filled + count] = run.astype(np.uint16)
        last = int(out[filled + count - 1]) if count else last
        filled += count
        at += 2 + count
    if filled != out.size:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"RVL depth of {width}x{height} ends after {min(filled, out.size)} pixels: it was cut",
        )
    return out.reshape(height, width)


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
