"""Messages of Foxglove's schemas as plain fields, whatever they are written in (https://docs.foxglove.dev/docs/sdk/schemas).

Protobuf is read by the numbers of the published schemas, which never change, so that nothing has to be installed.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

Fields = dict[str, Any]

# Number, name and type of each field. A type in a list is repeated; one that begins with a capital is a message.
_PROTOBUF: dict[str, dict[int, tuple[str, str]]] = {
    "CompressedImage": {1: ("timestamp", "Time"), 2: ("data", "bytes"), 3: ("format", "text"), 4: ("frame_id", "text")},
    "RawImage": {
        1: ("timestamp", "Time"),
        2: ("width", "fixed32"),
        3: ("height", "fixed32"),
        4: ("encoding", "text"),
        5: ("step", "fixed32"),
        6: ("data", "bytes"),
        7: ("frame_id", "text"),
    },
    "CameraCalibration": {
        1: ("timestamp", "Time"),
        2: ("width", "fixed32"),
        3: ("height", "fixed32"),
        4: ("distortion_model", "text"),
        5: ("D", "[double]"),
        6: ("K", "[double]"),
        7: ("R", "[double]"),
        8: ("P", "[double]"),
        9: ("frame_id", "text"),
    },
    "FrameTransform": {
        1: ("timestamp", "Time"),
        2: ("parent_frame_id", "text"),
        3: ("child_frame_id", "text"),
        4: ("translation", "Vector3"),
        5: ("rotation", "Quaternion"),
    },
    "FrameTransforms": {1: ("transforms", "[FrameTransform]")},
    "Time": {1: ("sec", "varint"), 2: ("nsec", "varint")},
    "Vector3": {1: ("x", "double"), 2: ("y", "double"), 3: ("z", "double")},
    "Quaternion": {1: ("x", "double"), 2: ("y", "double"), 3: ("z", "double"), 4: ("w", "double")},
}
SCHEMAS = ("CompressedImage", "RawImage", "CameraCalibration", "FrameTransform", "FrameTransforms")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRES = {"varint": _VARINT, "double": _FIXED64, "fixed32": _FIXED32}
_EMPTY = {"text": "", "bytes": b"", "varint": 0, "fixed32": 0, "double": 0.0}


def of_protobuf(data: memoryview, schema: str) -> Fields:
    """Return the fields of a message, those that are not there with the value that protobuf gives them.

    Raises
    ------
    ValueError, struct.error
        If the bytes are no such message.
    """
    table = _PROTOBUF[schema]
    out: Fields = {name: [] if kind[0] == "[" else _empty(kind) for name, kind in table.values()}
    for number, wire, value in _wire_fields(data):
        if number not in table:
            continue  # of a newer schema
        name, kind = table[number]
        if kind[0] != "[":
            out[name] = _value(kind, wire, value)
        elif kind == "[double]" and wire == _BYTES:
            out[name] += np.frombuffer(value, "<f8").tolist()
        else:
            out[name].append(_value(kind[1:-1], wire, value))
    return out


def of_json(data: memoryview, schema: str) -> Fields:
    """Return the fields of a message in JSON, where bytes are base64 and times have sec and nsec.

    Raises
    ------
    ValueError, TypeError
        If it is no such message.
    """
    record = json.loads(bytes(data))
    if not isinstance(record, dict):
        raise TypeError(f"a {type(record).__name__} is no message")
    fields = {name: record[name] for name, _ in _PROTOBUF[schema].values() if name in record}
    if "data" in fields:
        fields["data"] = base64.b64decode(fields["data"], validate=True)
    return fields


def of_ros(message: Any, schema: str) -> Fields:
    """Return the fields of a decoded message of foxglove_msgs."""
    if schema == "FrameTransforms":
        return {"transforms": [of_ros(item, "FrameTransform") for item in message.transforms]}
    # Names of ROS are in small letters.
    fields = {name: getattr(message, name.lower()) for name, _ in _PROTOBUF[schema].values()}
    fields["timestamp"] = {"sec": message.timestamp.sec, "nsec": message.timestamp.nanosec}
    for name in ("translation", "rotation"):
        if name in fields:
            fields[name] = {axis: getattr(fields[name], axis) for axis in "xyzw" if hasattr(fields[name], axis)}
    return fields


def _wire_fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and value of each field (https://protobuf.dev/programming-guides/encoding)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        value: Any
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            value, at = data[at : at + size], at + size
        elif wire == _BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(data):
            raise ValueError("a message ends within a field")
        yield key >> 3, wire, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for k, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    raise ValueError("a number does not end")


def _value(kind: str, wire: int, value: Any) -> Any:
    if wire != _WIRES.get(kind, _BYTES):
        raise ValueError(f"a field of type {kind} has wire type {wire}")
    if kind == "double":
        return struct.unpack("<d", value)[0]
    if kind == "fixed32":
        return struct.unpack("<I", value)[0]
    if kind == "text":
        return bytes(value).decode("utf-8")
    return of_protobuf(value, kind) if kind in _PROTOBUF else value


def _empty(kind: str) -> Any:
    return of_protobuf(memoryview(b""), kind) if kind in _PROTOBUF else _EMPTY[kind]
