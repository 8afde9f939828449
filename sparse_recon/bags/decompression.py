"""Decompression that cannot fill memory or disk, whatever a file claims: zstd and lz4 frames, piece by piece."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from sparse_recon.errors import clipped, quoted

# Far above what recorders write: they cut files at some GiB, and MCAP chunks at some MiB.
MAX_FILE_BYTES = 64 << 30
MAX_CHUNK_BYTES = 1 << 28
MAX_MESSAGE_BYTES = 1 << 28
# Images of nothing shrink to a thousandth; small files may grow to this.
FREE_BYTES, MOST_GROWTH = 1 << 27, 1000
# A message takes a byte of a file at least; small files may hold so many.
FREE_RECORDS = 20_000

_PIECE_BYTES = 1 << 20


class Budget:
    """What a file may still be unpacked to, by its size: bytes, and records of an MCAP file.

    Parameters
    ----------
    packed_bytes : of the whole file.
    """

    def __init__(self, packed_bytes: int) -> None:
        self.bytes = FREE_BYTES + MOST_GROWTH * packed_bytes
        self.records = FREE_RECORDS + packed_bytes
        self._packed_bytes = packed_bytes

    def spend_bytes(self, count: int) -> None:
        """Take bytes from it; raises Undecompressable where so many are not left."""
        self.bytes -= count
        if self.bytes < 0:
            raise Undecompressable(f"the data grow to more than {MOST_GROWTH} times {self._packed_bytes} bytes")

    def spend_record(self) -> None:
        """Take a record from it; raises Undecompressable where none is left."""
        self.records -= 1
        if self.records < 0:
            raise Undecompressable(f"more records than the {self._packed_bytes} bytes of a file can be")


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
            raise Undecompressable(clipped(str(error))) from error
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
    raise Undecompressable(f"they are compressed with {quoted(compression)}; accepted are zstd and lz4")
