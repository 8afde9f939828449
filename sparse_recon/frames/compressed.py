"""PNG and JPEG inside messages: decoded only where what they state is sane, wanted, and held by so many bytes."""

from __future__ import annotations

import struct
from typing import cast

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError, quoted

Size = tuple[int, int]  # width, height

MAX_PIXELS = 64_000_000  # a compressed header alone must not make us allocate more than this
PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS, _MAX_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}, 100_000
_JPEG, _JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
# Markers before the image data: frame headers, and other segments that have a length (ITU-T T.81, table B.1).
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_TABLES = {0xC4, 0xCC, *range(0xDB, 0xF0), 0xFE}
_MAX_SEGMENTS, _MAX_SCANS = 1000, 100  # cameras write some ten of either
_MAX_PIXELS_PER_BYTE = 8 * 1032  # black and white PNG; deflate packs 1032 bytes into one


def decoded(data: memoryview, format_: str, flags: int, size: Size | None) -> npt.NDArray[np.integer]:
    """Decode a PNG or JPEG with OpenCV.

    Parameters
    ----------
    format_ : of the message, to be named.
    flags : of `cv2.imdecode`.
    size : width and height that the image must have; None for any up to `MAX_PIXELS`.

    Raises
    ------
    InputError
        ENCODING_UNSUPPORTED for other files; SIZE_MISMATCH where the stated size cannot be or is not wanted, before
        anything is allocated, and for files that are cut.
    """
    import cv2

    declared = declared_size(data)
    if declared is None:
        raise InputError(
            ErrorCode.ENCODING_UNSUPPORTED,
            f"compressed image of format {quoted(format_)} starts with {bytes(data[:4])!r}; accepted are PNG and JPEG",
        )
    check_declared_size("compressed image", declared, size)
    scans = bytes(data).count(_JPEG_SCAN) if data[:2] == _JPEG else 0
    if declared[0] * declared[1] > _MAX_PIXELS_PER_BYTE * len(data) or scans > _MAX_SCANS:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"compressed image states {declared[0]}x{declared[1]} pixels and has {len(data)} bytes: it is truncated or "
            "malicious; check its publisher",
        )
    complete_file = _critical_chunks(data) if data[:8] == PNG else data
    try:
        image = cv2.imdecode(np.frombuffer(complete_file, np.uint8), flags) if complete_file else None
    except cv2.error:
        image = None
    if image is None:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"compressed image of {len(data)} bytes, format {quoted(format_)}, is truncated or damaged; check "
            "its publisher",
        )
    return cast("npt.NDArray[np.integer]", image)


def _critical_chunks(data: memoryview) -> bytes:
    """Return a PNG with nothing but its image; empty if a chunk does not end within the data.

    OpenCV gives each chunk the memory that its length states, before it looks for it, and unpacks profiles and texts.
    """
    parts, at = [PNG], len(PNG)
    for number in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or (number > 0 and kind == b"IHDR"):
            break
        if kind in _PNG_CHUNKS:
            parts.append(bytes(data[at:end]))
        if kind == b"IEND":
            return b"".join(parts)
        at = end
    return b""


def check_declared_size(what: str, declared: Size, size: Size | None) -> None:
    """Refuse a size that no image has, or another one than wanted; raises InputError SIZE_MISMATCH."""
    width, height = declared
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InputError(
            ErrorCode.SIZE_MISMATCH, f"{what} states {width}x{height} pixels, accepted are 1 to {MAX_PIXELS}"
        )
    if size is not None and declared != size:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"{what} is {width}x{height} and camera info says {size[0]}x{size[1]}; "
            "publish the camera info of this very stream",
        )


def declared_size(data: memoryview) -> Size | None:
    """Return the (width, height) that a PNG or JPEG states; (0, 0) when its header is cut; None for other files.

    What decoders might read in another way counts as cut.
    """
    if data[:8] == PNG:
        return struct.unpack_from(">II", data, 16) if len(data) >= 24 and data[12:16] == b"IHDR" else (0, 0)
    if data[:2] != _JPEG:
        return None
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker not in _JPEG_TABLES or length < 2:
            break
        at += 2 + length
    return 0, 0
