"""Decompression that cannot fill memory or disk, whatever a file claims: zstd and lz4 frames, piece by piece."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

# Far above what recorders write: they cut files at some GiB, and MCAP chunks at some MiB.
MAX_FILE_BYTES = 64 << 30
MAX_CHUNK_BYTES = 1 << 28
MAX_MESSAGE_BYTES = 1 << 28

_PIECE_BYTES = 1 << 20


class Undecompressable(Exception):
    """The data end early, are damaged, or grow beyond what is accepted; what came before is good."""


def decompressed_pieces(packed: BinaryIO, *, limit_bytes: int, compression: str = "zstd") -> Iterator[bytes]:
    """Yield the content of one frame in pieces of at most 1 MiB.

    Parameters
    ----------
    packed : where the frame begins.
    limit_bytes : more content than this is refused.
    compression : `zstd` or `lz4`.

    Raises
    ------
    Undecompressable
        After all that could be decompressed.
    """
    decompressor = _decompressor(compression)
    size = 0
    while not decompressor.eof:
        data = packed.read(_PIECE_BYTES) if decompressor.needs_input else b""
        if decompressor.needs_input and not data:
            raise Undecompressable("the compressed data were cut")
        try:
            piece = decompressor.decompress(data, _PIECE_BYTES)
        except Exception as error:  # each library has errors of its own
            raise Undecompressable(str(error)) from error
        size += len(piece)
        if size > limit_bytes:
            raise Undecompressable(f"the compressed data grow beyond {limit_bytes} bytes")
        yield piece


def decompressed(data: bytes, *, limit_bytes: int, compression: str = "zstd") -> bytes:
    """Return the content of a frame; raises Undecompressable."""
    return b"".join(decompressed_pieces(io.BytesIO(data), limit_bytes=limit_bytes, compression=compression))


def _decompressor(compression: str) -> Any:
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return LZ4FrameDecompressor()
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        else:
            from backports import zstd
        return zstd.ZstdDecompressor()
    raise Undecompressable(f"they are compressed with {compression!r}; accepted are zstd and lz4")
