"""The records of an MCAP file, from its start, as far as they make sense (https://mcap.dev/spec)."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sparse_recon.bags.decompression import MAX_CHUNK_BYTES, Budget, Undecompressable, decompressed_pieces
from sparse_recon.errors import clipped

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE = 0x03, 0x04, 0x05
CHUNK, _DATA_END, _FOOTER = 0x06, 0x0F, 0x02
HEAD = struct.Struct("<BQ")  # opcode and length of a record


class Cut(Exception):
    """The file ends, or makes no sense, from here on."""


@dataclass(frozen=True, eq=False)
class Record:
    """A schema, channel or message, and where it lies: a place in the file, and in the chunk there, -1 for none."""

    opcode: int
    content: memoryview
    file_at: int
    chunk_at: int


def records(file: BinaryIO) -> Iterator[Record]:
    """Yield the schemas, channels and messages in the order of the file.

    Raises
    ------
    Cut
        Where the file ends before its end, or a record makes no sense.
    """
    file_bytes = os.fstat(file.fileno()).st_size
    budget = Budget(file_bytes)
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise Cut("it does not start like an MCAP file")
    while True:
        file_at = file.tell()
        head = file.read(9)
        if head[:1] and head[0] in (_DATA_END, _FOOTER):
            file.seek(-len(MAGIC), io.SEEK_END)
            if file.read() != MAGIC:
                raise Cut("its index is missing or damaged")
            return
        if len(head) < 9:
            raise Cut("it ends without a footer")
        opcode, size = struct.unpack("<BQ", head)
        left = file_bytes - file.tell()
        if not 1 <= opcode <= 0x0F:
            raise Cut("an unknown record follows")
        if opcode not in (SCHEMA, CHANNEL, MESSAGE, CHUNK):
            file.seek(min(size, left), io.SEEK_CUR)
        else:
            content = memoryview(file.read(min(size, left, MAX_CHUNK_BYTES)))
            if opcode == CHUNK:
                for inner, chunk_at, part in chunk_records(content, budget):
                    yield Record(inner, part, file_at, chunk_at)
            elif size == len(content):
                yield Record(opcode, content, file_at, -1)
            if len(content) < min(size, left):
                raise Cut(f"a record has {size} bytes, accepted are {MAX_CHUNK_BYTES}")
        if size > left:
            raise Cut("it ends within a record")


def content_at(file: BinaryIO, file_at: int) -> memoryview:
    """Return what `records` found there: the content of a record, or the records of a chunk."""
    file.seek(file_at)
    opcode, size = struct.unpack("<BQ", file.read(9))
    content = memoryview(file.read(min(size, MAX_CHUNK_BYTES)))
    return _chunk_data(content, Budget(len(content)))[0] if opcode == CHUNK else content


def record_in(chunk: memoryview, chunk_at: int) -> memoryview:
    """Return the content of a record of a chunk."""
    (size,) = struct.unpack_from("<Q", chunk, chunk_at + 1)
    return chunk[chunk_at + 9 : chunk_at + 9 + size]


def chunk_records(content: memoryview, budget: Budget) -> Iterator[tuple[int, int, memoryview]]:
    """Yield opcode, place and content of the records in a chunk.

    Raises
    ------
    Cut
        Where it cannot be unpacked, makes no sense, or would unpack to more than the budget has left.
    """
    data, why_cut = _chunk_data(content, budget)
    at = 0
    while at + HEAD.size <= len(data):
        opcode, size = HEAD.unpack_from(data, at)
        if at + HEAD.size + size > len(data):
            raise Cut(f"a chunk cannot be decompressed: {why_cut}" if why_cut else "it ends within a chunk")
        if opcode == 0:
            raise Cut("an unknown record follows in a chunk")
        try:
            budget.spend_record()
        except Undecompressable as error:
            raise Cut(f"a chunk cannot be decompressed: {clipped(str(error))}") from None
        yield opcode, at, data[at + HEAD.size : at + HEAD.size + size]
        at += HEAD.size + size
    if why_cut:
        raise Cut(f"a chunk cannot be decompressed: {why_cut}")


def _chunk_data(content: memoryview, budget: Budget) -> tuple[memoryview, str]:
    """Return the chunk's records, never more than it states, and why they are not all, or nothing."""
    (size,) = struct.unpack_from("<Q", content, 16)
    compression, at = text_at(content, 28)
    stated = struct.unpack_from("<Q", content, at)[0]
    packed = content[at + 8 : at + 8 + stated]
    if not compression:
        return packed, ""
    out = bytearray()
    limit_bytes = min(size, MAX_CHUNK_BYTES)
    try:
        for piece in decompressed_pieces(io.BytesIO(packed), limit_bytes=limit_bytes, compression=compression):
            budget.spend_bytes(len(piece))
            out += piece
    except Undecompressable as error:
        return memoryview(out), str(error)
    return memoryview(out), ""


def text_at(content: memoryview, at: int) -> tuple[str, int]:
    """Return the string that begins there, and where the next field does."""
    (size,) = struct.unpack_from("<I", content, at)
    if at + 4 + size > len(content):
        raise Cut("it ends within a record")
    return bytes(content[at + 4 : at + 4 + size]).decode(), at + 4 + size
