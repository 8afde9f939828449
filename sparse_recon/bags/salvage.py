"""MCAP files that a stock reader refuses or reads wrongly: damaged, without an index, in no order of time.

A recorder that was killed leaves an MCAP file without footer, often in the middle of a chunk (https://mcap.dev/spec).
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from sparse_recon.bags.channels import Channel, offered_qos, unreadable
from sparse_recon.bags.mcap_records import (
    CHANNEL,
    MESSAGE,
    SCHEMA,
    Cut,
    Record,
    content_at,
    record_in,
    records,
    text_at,
)

_LAST_NS = 2**63 - 1
_TEXTS = ("ros2msg", "ros2idl")  # definitions of messages that are read
_SORTED_MESSAGES = 2_000_000  # those of more are read in the order of the file
_KEPT_BYTES, _MOST_READS = 1 << 28, 20  # of chunks kept unpacked, and how often a chunk is unpacked on average


class SalvagedMcap:
    """An MCAP file read without its index, in the order of log times; chunks that are cut are read as far as they go.

    Raises
    ------
    FileError
        BAG_UNREADABLE if not even one topic can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._topics: dict[int, tuple[str, int, str]] = {}
        self._qos: dict[int, str] = {}
        self._ordered = True
        counts: Counter[int] = Counter()
        last_ns = 0
        try:
            for number, log_ns, _ in self._in_file_order():
                counts[number] += 1
                self._ordered = self._ordered and log_ns >= last_ns
                last_ns = log_ns
        except OSError as error:
            raise unreadable(path, f"{error.strerror or error}, check permissions") from error
        self._ordered = self._ordered or counts.total() > _SORTED_MESSAGES
        self.channels = tuple(
            Channel(topic, name, text, form, counts[number], offered_qos(self._qos.get(number, "")), encoding)
            for number, (topic, schema, encoding) in self._topics.items()
            for name, form, text in [self._schemas.get(schema, ("", "", ""))]
        )
        if not self.channels:
            raise unreadable(path, self.damage or "it holds no topics")

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, data) in the order of time; `damage` says afterwards why it ended."""
        names = {number: topic for number, (topic, _, _) in self._topics.items() if topic in topics}
        found = self._in_file_order() if self._ordered else self._in_time_order(names)
        for number, log_ns, data in found:
            if number in names:
                yield names[number], log_ns, bytes(data)

    def close(self) -> None:
        """Nothing is kept open."""

    def _in_file_order(self) -> Iterator[tuple[int, int, memoryview]]:
        for number, log_ns, record in self._messages():
            yield number, log_ns, record.content[22:]

    def _in_time_order(self, numbers: Collection[int]) -> Iterator[tuple[int, int, memoryview]]:
        """Yield the messages of some channels sorted by log time, from the places where they lie."""
        channel, log_ns, file_at, chunk_at = self._places
        places = np.flatnonzero(np.isin(channel, list(numbers)))
        places = places[np.argsort(log_ns[places], kind="stable")]
        kept: OrderedDict[int, memoryview] = OrderedDict()
        reads, most_reads = 0, _MOST_READS * (100 + len(np.unique(file_at[places[chunk_at[places] >= 0]])))
        with self.path.open("rb") as file:
            for place in places:
                at, inner = int(file_at[place]), int(chunk_at[place])
                content = kept.pop(at, None)
                if content is None:
                    content = content_at(file, at)
                    reads += inner >= 0
                if inner >= 0:
                    kept[at] = content
                    while sum(map(len, kept.values())) > _KEPT_BYTES and len(kept) > 1:
                        kept.popitem(last=False)
                    content = record_in(content, inner)
                yield int(channel[place]), int(log_ns[place]), content[22:]
                if reads > most_reads:
                    self.damage = "its messages are too far out of the order of time to be sorted"
                    return

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Channel, log time and place of every message."""
        columns = array("q"), array("q"), array("q"), array("q")
        for number, time_ns, record in self._messages():
            for column, value in zip(columns, (number, time_ns, record.file_at, record.chunk_at), strict=True):
                column.append(value)
        channel, log_ns, file_at, chunk_at = (np.frombuffer(column, np.int64) for column in columns)
        return channel, log_ns, file_at, chunk_at

    def _messages(self) -> Iterator[tuple[int, int, Record]]:
        """Yield channel, log time and record of messages as far as the file makes sense, and note what they are."""
        with self.path.open("rb") as file:
            try:
                for record in records(file):
                    if record.opcode == SCHEMA:
                        self._put_schema(record.content)
                    elif record.opcode == CHANNEL:
                        self._put_channel(record.content)
                    elif record.opcode == MESSAGE:
                        number, _, log_ns = struct.unpack_from("<HIQ", record.content)
                        yield number, min(log_ns, _LAST_NS), record
            except (Cut, struct.error, IndexError, UnicodeDecodeError, OSError) as cut:
                self.damage = f"{cut} (byte {file.tell()} of {self.path.stat().st_size})"

    def _put_schema(self, content: memoryview) -> None:
        (number,) = struct.unpack_from("<H", content)
        name, at = text_at(content, 2)
        form, at = text_at(content, at)
        text = text_at(content, at)[0] if form in _TEXTS else ""  # those of protobuf are binary
        self._schemas[number] = (name, form, text)

    def _put_channel(self, content: memoryview) -> None:
        number, schema = struct.unpack_from("<HH", content)
        topic, at = text_at(content, 4)
        self._topics[number] = (topic, schema, "")
        with suppress(Cut, struct.error, UnicodeDecodeError):  # the messages are worth more than their metadata
            encoding, at = text_at(content, at)
            self._topics[number] = (topic, schema, encoding)
            at += 4  # after the size of the map
            while at < len(content):
                key, at = text_at(content, at)
                value, at = text_at(content, at)
                if key == "offered_qos_profiles":
                    self._qos[number] = value
