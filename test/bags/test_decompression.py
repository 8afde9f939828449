"""Decompression that ends where it should."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import lz4.frame
import pytest

from sparse_recon.bags.decompression import Undecompressable, decompressed, decompressed_pieces
from sparse_recon.bags.salvage import SalvagedMcap
from sparse_recon.errors import FileError


def packed(data: bytes, compression: str = "zstd") -> bytes:
    if compression == "lz4":
        return lz4.frame.compress(data)
    return pytest.importorskip("backports.zstd").compress(data)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_content_comes_in_small_pieces(compression: str):
    data = bytes(range(256)) * 20_000
    pieces = list(
        decompressed_pieces(io.BytesIO(packed(data, compression)), limit_bytes=10**7, compression=compression)
    )
    assert b"".join(pieces) == data and max(map(len, pieces)) <= 1 << 20


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_bomb_is_stopped_at_the_limit(compression: str):
    bomb = packed(bytes(200_000_000), compression)
    size = 0
    with pytest.raises(Undecompressable, match="grow beyond 5000000 bytes"):
        for piece in decompressed_pieces(io.BytesIO(bomb), limit_bytes=5_000_000, compression=compression):
            size += len(piece)
    assert len(bomb) < 2_000_000 and 3_000_000 < size <= 5_000_000


@pytest.mark.parametrize(("cut", "word"), [(slice(0, -20), "cut"), (slice(3, None), None)])
def test_cut_and_garbled_data_are_refused(cut: slice, word: str | None):
    with pytest.raises(Undecompressable, match=word):
        decompressed(packed(bytes(range(256)) * 100)[cut], limit_bytes=10**6)


def test_unknown_compression_is_named():
    with pytest.raises(Undecompressable, match="'brotli'; accepted are zstd and lz4"):
        list(decompressed_pieces(io.BytesIO(b"abc"), limit_bytes=10, compression="brotli"))


def test_chunk_that_holds_more_than_it_states_is_not_unpacked(tmp_path: Path):
    data = packed(bytes(50_000_000))
    text = struct.pack("<I", 4) + b"zstd"
    chunk = struct.pack("<QQQI", 0, 0, 1000, 0) + text + struct.pack("<Q", len(data)) + data
    path = tmp_path / "bomb.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + struct.pack("<BQ", 0x06, len(chunk)) + chunk)
    with pytest.raises(FileError, match="grow beyond 1000 bytes"):
        SalvagedMcap(path)
