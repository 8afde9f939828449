"""MCAP files that a stock reader refuses, damaged ones among them: everything readable up to the damage.

A recorder that was killed leaves an MCAP file without footer, often in the middle of a chunk (https://mcap.dev/spec).
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sparse_recon.bags.channels import Channel, offered_qos, unreadable
from sparse_recon.bags.decompression import MAX_CHUNK_BYTES, Undecompressable, decompressed_pieces

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END, _FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02


class _Cut(Exception):
    """The file ends, or makes no sense, from here on."""


class SalvagedMcap:
    """An MCAP file read from its start, without its index; chunks that are cut are read as far as they go.

    Raises
    ------
    FileError
        BAG_UNREADABLE if not even one topic can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._topics: dict[int, tuple[str, int]] = {}
        self._qos: dict[int, str] = {}
        try:
            counts = Counter(number for number, _, _ in self._all_messages())
        except OSError as error:
            raise unreadable(path, f"{error.strerror or error}, check permissions") from error
        self.channels = tuple(
            Channel(topic, name, text, form, counts[number], offered_qos(self._qos.get(number, "")))
            for number, (topic, schema) in self._topics.items()
            for name, form, text in [self._schemas.get(schema, ("", "", ""))]
        )
        if not self.channels:
            raise unreadable(path, self.damage or "it holds no topics")

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, data) in the order of the file; `damage` says afterwards why it ended."""
        for number, log_ns, data in self._all_messages():
            topic = self._topics[number][0] if number in self._topics else ""
            if topic in topics:
                yield topic, log_ns, bytes(data)

    def close(self) -> None:
        """Nothing is kept open."""

    def _all_messages(self) -> Iterator[tuple[int, int, memoryview]]:
        with self.path.open("rb") as file:
            try:
                if file.read(8) != _MAGIC:
                    raise _Cut("it does not start like an MCAP file")
                for opcode, content in self._records(file):
                    if opcode == _SCHEMA:
                        self._put_schema(content)
                    elif opcode == _CHANNEL:
                        self._put_channel(content)
                    elif opcode == _MESSAGE:
                        number, _, log_ns = struct.unpack_from("<HIQ", content)
                        yield number, log_ns, content[22:]
            except (_Cut, struct.error, IndexError, UnicodeDecodeError, OSError) as cut:
                self.damage = f"{cut} (byte {file.tell()} of {self.path.stat().st_size})"

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, memoryview]]:
        while True:
            head = file.read(9)
            if head[:1] and head[0] in (_DATA_END, _FOOTER):
                raise _Cut("its index is missing or damaged")
            if len(head) < 9:
                raise _Cut("it ends without a footer")
            opcode, size = struct.unpack("<BQ", head)
            left = self.path.stat().st_size - file.tell()
            if not 1 <= opcode <= 0x0F:
                raise _Cut("an unknown record follows")
            if opcode not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                file.seek(min(size, left), io.SEEK_CUR)
            else:
                content = memoryview(file.read(min(size, left, MAX_CHUNK_BYTES)))
                if opcode == _CHUNK:
                    yield from _chunk_records(content)
                elif size == len(content):
                    yield opcode, content
                if len(content) < min(size, left):
                    raise _Cut(f"a record has {size} bytes, accepted are {MAX_CHUNK_BYTES}")
            if size > left:
                raise _Cut("it ends within a record")

    def _put_schema(self, content: memoryview) -> None:
        (number,) = struct.unpack_from("<H", content)
        name, at = _text(content, 2)
        form, at = _text(content, at)
        self._schemas[number] = (name, form, _text(content, at)[0])

    def _put_channel(self, content: memoryview) -> None:
        number, schema = struct.unpack_from("<HH", content)
        topic, at = _text(content, 4)
        self._topics[number] = (topic, schema)
        with suppress(_Cut, struct.error, UnicodeDecodeError):  # the messages are worth more than their metadata
            at = _text(content, at)[1] + 4  # after the encoding and the size of the map
            while at < len(content):
                key, at = _text(content, at)
                value, at = _text(content, at)
                if key == "offered_qos_profiles":
                    self._qos[number] = value


def _chunk_records(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    (size,) = struct.unpack_from("<Q", content, 16)
    compression, at = _text(content, 28)
    stated = struct.unpack_from("<Q", content, at)[0]
    records, why_cut = _chunk_content(compression, content[at + 8 : at + 8 + stated], size)
    data, at = memoryview(records), 0
    while at + 9 <= len(data):
        opcode, size = struct.unpack_from("<BQ", data, at)
        if at + 9 + size > len(data):
            raise _Cut(f"a chunk cannot be decompressed: {why_cut}" if why_cut else "it ends within a chunk")
        yield opcode, data[at + 9 : at + 9 + size]
        at += 9 + size
    if why_cut:
        raise _Cut(f"a chunk cannot be decompressed: {why_cut}")


def _chunk_content(compression: str, data: memoryview, size: int) -> tuple[bytes, str]:
    """Return the chunk's records, never more than it states, and why they are not all, or nothing."""
    if not compression:
        return bytes(data), ""
    out = bytearray()
    limit_bytes = min(size, MAX_CHUNK_BYTES)
    try:
        for piece in decompressed_pieces(io.BytesIO(data), limit_bytes=limit_bytes, compression=compression):
            out += piece
    except Undecompressable as error:
        return bytes(out), str(error)
    return bytes(out), ""


def _text(content: memoryview, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", content, at)
    if at + 4 + size > len(content):
        raise _Cut("it ends within a record")
    return bytes(content[at + 4 : at + 4 + size]).decode(), at + 4 + size
