"""MCAP files made byte by byte, so that they can say what no writer would (https://mcap.dev/spec)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

MAGIC = b"\x89MCAP0\r\n"
CHANNEL_ID = 1


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(data)) + data


def schema(name: str = "std_msgs/msg/String", definition: str = "string data\n") -> bytes:
    return record(0x03, struct.pack("<H", 1) + text(name) + text("ros2msg") + text(definition))


def channel(topic: str = "/words", qos: str = "", number: int = CHANNEL_ID) -> bytes:
    metadata = text("offered_qos_profiles") + text(qos)
    return record(0x04, struct.pack("<HH", number, 1) + text(topic) + text("cdr") + text(metadata))


def message(log_ns: int, data: bytes, number: int = CHANNEL_ID) -> bytes:
    return record(0x05, struct.pack("<HIQQ", number, 0, log_ns, log_ns) + data)


@dataclass(frozen=True)
class Chunk:
    """A chunk of one channel.

    Attributes
    ----------
    packed : its records as they are stored.
    unpacked : bytes of its records, as it states.
    count : messages in it, as its index states.
    """

    packed: bytes
    unpacked: int
    count: int
    compression: str = ""
    first_ns: int = 1
    last_ns: int = 2

    def times_and_size(self) -> bytes:
        return struct.pack("<QQQ", self.first_ns, self.last_ns, self.unpacked)

    def stored(self) -> bytes:
        packed = struct.pack("<Q", len(self.packed)) + self.packed
        return record(0x06, self.times_and_size() + struct.pack("<I", 0) + text(self.compression) + packed)


def file_of(chunks: Sequence[Chunk], listed: Sequence[int] | None = None, about: bytes = b"") -> bytes:
    """Return a file with an index and statistics that agree with each other.

    Parameters
    ----------
    listed : numbers of the chunks as the index lists them; each once by default.
    about : schemas and channels.
    """
    about = about or schema() + channel()
    out = MAGIC + record(0x01, text("ros2") + text("test"))
    places = []
    for chunk in chunks:
        start, stored = len(out), chunk.stored()
        index = record(0x07, struct.pack("<HI", CHANNEL_ID, 16 * chunk.count) + bytes(16 * chunk.count))
        places.append((start, len(stored), start + len(stored), len(index)))
        out += stored + index
    out += record(0x0F, bytes(4))
    begin, total = len(out), 0
    out += about
    for number in range(len(chunks)) if listed is None else listed:
        chunk, (start, size, index_at, index_bytes) = chunks[number], places[number]
        head = struct.pack("<QQQQ", chunk.first_ns, chunk.last_ns, start, size)
        where = struct.pack("<I", 10) + struct.pack("<HQ", CHANNEL_ID, index_at) + struct.pack("<Q", index_bytes)
        sizes = struct.pack("<QQ", len(chunk.packed), chunk.unpacked)
        out += record(0x08, head + where + text(chunk.compression) + sizes)
        total += chunk.count
    counts = struct.pack("<I", 10) + struct.pack("<HQ", CHANNEL_ID, total)
    out += record(0x0B, struct.pack("<QHIIIIQQ", total, 1, 1, 0, 0, len(chunks), 1, 2) + counts)
    return out + record(0x02, struct.pack("<QQI", begin, 0, 0)) + MAGIC
