"""MCAP files whose index leads to every message: only the chunks of the topics that are asked for are unpacked.

The index is believed after it was compared with the file: a chunk that is listed twice, or that others lie in, would be
held in memory as often as it is listed.
"""

from __future__ import annotations

import heapq
import os
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from sparse_recon.bags.decompression import FREE_BYTES, MAX_CHUNK_BYTES, MOST_GROWTH, Budget
from sparse_recon.bags.mcap_records import CHUNK, HEAD, MAGIC, MESSAGE, Cut, chunk_records, text_at
from sparse_recon.bags.mcap_topics import McapTopics
from sparse_recon.errors import clipped

_CHUNK_INDEX, _STATISTICS, _FOOTER = 0x08, 0x0B, 0x02
_FOOTER_BYTES = HEAD.size + 20 + len(MAGIC)
_LAST_NS = 2**63 - 1
_OPEN_BYTES = 1 << 27  # of chunks that overlap in time, unpacked
_MAX_SUMMARY_BYTES = 200_000_000


@dataclass(frozen=True)
class _Chunk:
    first_ns: int
    last_ns: int
    start: int
    size: int  # of its record, with its head
    unpacked: int
    counts: dict[int, int]  # messages by channel

    @property
    def held(self) -> int:
        """Bytes in memory while it is read."""
        return max(self.size, self.unpacked)


class IndexedMcap:
    """An MCAP file read through its index, in the order of log times.

    Raises
    ------
    Cut, struct.error, UnicodeDecodeError, OSError
        If it has no index of all its messages, one that does not agree with the file, or one whose chunks would take
        too much memory at once.
    """

    note = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._topics = McapTopics()
        self._chunks: list[_Chunk] = []
        with path.open("rb") as file:
            stated = self._read_summary(file)
            self._check_chunks(file)
        counts: Counter[int] = Counter()
        for chunk in self._chunks:
            counts.update(chunk.counts)
        if not counts.total() == stated > 0:
            raise Cut("it has no index of all its messages")
        self.channels = self._topics.channels(counts)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, data) in the order of time; `damage` says afterwards why it ended."""
        names = self._topics.numbers(frozenset(topics))
        chunks = [chunk for chunk in self._chunks if not names.keys().isdisjoint(chunk.counts)]
        read: list[tuple[int, int, int, int, memoryview]] = []  # time, chunk, place, channel, data: not yet due
        try:
            with self.path.open("rb") as file:
                budget = Budget(os.fstat(file.fileno()).st_size)
                for chunk in sorted(chunks, key=lambda chunk: (chunk.first_ns, chunk.start)):
                    while read and read[0][0] < chunk.first_ns:
                        yield _due(read, names)
                    for at, content in _messages(file, chunk, budget):
                        number, _, log_ns = struct.unpack_from("<HIQ", content)
                        if number in names:
                            heapq.heappush(read, (min(log_ns, _LAST_NS), chunk.start, at, number, content[22:]))
                while read:
                    yield _due(read, names)
        except (Cut, struct.error, UnicodeDecodeError, OSError) as error:
            while read:  # what was read before the damage is good
                yield _due(read, names)
            self.damage = clipped(str(error))

    def close(self) -> None:
        """Nothing is kept open."""

    def _read_summary(self, file: BinaryIO) -> int:
        """Take in schemas, channels and chunks; return how many messages the statistics state."""
        file_bytes = os.fstat(file.fileno()).st_size
        if file.read(len(MAGIC)) != MAGIC or file_bytes < len(MAGIC) + _FOOTER_BYTES:
            raise Cut("it does not start like an MCAP file")
        file.seek(-_FOOTER_BYTES, os.SEEK_END)
        footer = file.read()
        begin = struct.unpack_from("<Q", footer, HEAD.size)[0]
        size = file_bytes - _FOOTER_BYTES - begin
        if HEAD.unpack_from(footer) != (_FOOTER, 20) or not footer.endswith(MAGIC):
            raise Cut("it ends without a footer")
        if not begin or not 0 <= size <= _MAX_SUMMARY_BYTES:
            raise Cut("it has no summary")
        file.seek(begin)
        summary, at, stated = memoryview(file.read(size)), 0, -1
        while at + HEAD.size <= len(summary):
            opcode, length = HEAD.unpack_from(summary, at)
            content = summary[at + HEAD.size : at + HEAD.size + length]
            if len(content) < length:
                raise Cut("its summary ends within a record")
            if opcode == _CHUNK_INDEX:
                self._chunks.append(_chunk(content))
            elif opcode == _STATISTICS:
                (stated,) = struct.unpack_from("<Q", content)
            else:
                self._topics.put(opcode, content)
            at += HEAD.size + length
        # Without statistics the index is all there is to go by.
        return stated if stated >= 0 else sum(sum(chunk.counts.values()) for chunk in self._chunks)

    def _check_chunks(self, file: BinaryIO) -> None:
        """Compare the index with the file, and see that no moment needs too many chunks at once."""
        end = 0
        for chunk in sorted(self._chunks, key=lambda chunk: chunk.start):
            if chunk.start < end:
                raise Cut("its index lists a part of the file twice")
            end = chunk.start + chunk.size
            file.seek(chunk.start)
            head = file.read(HEAD.size + 24)
            if len(head) < HEAD.size + 24 or HEAD.unpack_from(head) != (CHUNK, chunk.size - HEAD.size):
                raise Cut("its index leads to something else than chunks")
            if struct.unpack_from("<QQQ", head, HEAD.size) != (chunk.first_ns, chunk.last_ns, chunk.unpacked):
                raise Cut("its index states other times or sizes than its chunks")
        file_bytes = os.fstat(file.fileno()).st_size
        if end > file_bytes:
            raise Cut("its index leads beyond its end")
        if sum(chunk.unpacked for chunk in self._chunks) > FREE_BYTES + MOST_GROWTH * file_bytes:
            raise Cut(f"its chunks grow to more than {MOST_GROWTH} times {file_bytes} bytes")
        changes = sorted(
            change
            for chunk in self._chunks
            for change in ((chunk.first_ns, 1, chunk.held), (chunk.last_ns, 2, -chunk.held))
        )
        held = most = 0
        for _, _, change in changes:
            held += change
            most = max(most, held)
        if most > _OPEN_BYTES:
            raise Cut("its chunks overlap in time so much that they do not fit into memory together")


def _chunk(content: memoryview) -> _Chunk:
    first_ns, last_ns, start, size = struct.unpack_from("<QQQQ", content)
    (map_bytes,) = struct.unpack_from("<I", content, 32)
    if map_bytes % 10 or 36 + map_bytes > len(content):
        raise Cut("its index of chunks makes no sense")
    offsets = sorted((offset, channel) for channel, offset in struct.iter_unpack("<HQ", content[36 : 36 + map_bytes]))
    (index_bytes,) = struct.unpack_from("<Q", content, 36 + map_bytes)
    _, at = text_at(content, 44 + map_bytes)
    (_, unpacked) = struct.unpack_from("<QQ", content, at)
    ends = [*(offset for offset, _ in offsets[1:]), start + size + index_bytes]
    counts: dict[int, int] = {}
    for (offset, channel), end in zip(offsets, ends, strict=False):
        counts[channel] = max(0, end - offset - HEAD.size - 6) // 16
    return _Chunk(first_ns, max(first_ns, last_ns), start, size, unpacked, {k: n for k, n in counts.items() if n})


def _messages(file: BinaryIO, chunk: _Chunk, budget: Budget) -> Iterator[tuple[int, memoryview]]:
    """Yield place and content of the messages of a chunk, whose checksum must be right where it has one."""
    file.seek(chunk.start + HEAD.size)
    content = memoryview(file.read(min(chunk.size - HEAD.size, MAX_CHUNK_BYTES)))
    if len(content) < chunk.size - HEAD.size:
        raise Cut(f"a chunk has {chunk.size} bytes, accepted are {MAX_CHUNK_BYTES}")
    (checksum,) = struct.unpack_from("<I", content, 24)
    found = 0
    parts = []
    for opcode, at, part in chunk_records(content, budget):
        if checksum:
            found = crc32(part, crc32(HEAD.pack(opcode, len(part)), found))
        if opcode == MESSAGE:
            parts.append((at, part))
    if found != checksum:
        raise Cut("the checksum of a chunk is wrong")
    yield from parts


def _due(read: list[tuple[int, int, int, int, memoryview]], names: dict[int, str]) -> tuple[str, int, bytes]:
    log_ns, _, _, number, data = heapq.heappop(read)
    return names[number], log_ns, bytes(data)
