"""Scalars as TensorBoard reads them: records of protocol buffers, written without its package."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path

# CRC-32C (Castagnoli), reflected, as the record format asks for.
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


class EventFile:
    """A file of scalars that grows; a resumed run begins another beside it, which TensorBoard joins."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"events.out.tfevents.{time.time():.3f}.sparse_recon"
        self._begun = False

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append scalars of a step."""
        records = [_event(step, values)]
        if not self._begun:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            records.insert(0, _double(1, time.time()) + _bytes(3, b"brain.Event:2"))
            self._begun = True
        with self._path.open("ab") as file:
            for record in records:
                length = struct.pack("<Q", len(record))
                file.write(length + _masked_crc(length) + record + _masked_crc(record))


def _event(step: int, values: Mapping[str, float]) -> bytes:
    scalars = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _key(2, 5) + struct.pack("<f", value)) for name, value in values.items()
    )
    return _double(1, time.time()) + _key(2, 0) + _varint(step) + _bytes(5, scalars)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _double(field: int, value: float) -> bytes:
    return _key(field, 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        rows.append(byte)
    return tuple(rows)


_TABLE = _table()


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
