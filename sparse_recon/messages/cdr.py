"""Field dicts into CDR bytes, the wire format of ROS 2 messages (OMG CDR, plain, little-endian).

rosbags and rclpy serialise objects one by one; meshes hold a hundred thousand points, colours and triangles, which are
written here as the bytes of one array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

_HEADER = b"\x00\x01\x00\x00"  # CDR, little-endian, no options
_SEQUENCE = -1


@dataclass(frozen=True)
class Member:
    """One field of a message type.

    Attributes
    ----------
    name : its name.
    base : `string`, or the number type by NumPy's name; empty where `members` are the fields of a nested message.
    count : elements of an array of fixed length, `Member.SEQUENCE` for a list of any length, 0 for a single value.
    """

    name: str
    base: str = ""
    members: tuple[Member, ...] = ()
    count: int = 0

    SEQUENCE = _SEQUENCE


Layout = tuple[Member, ...]


def store_layout(store: Any, msgtype: str) -> Layout:
    """Return the fields of a type that a rosbags type store knows."""
    from rosbags.interfaces import Nodetype

    members = []
    for name, (kind, detail) in store.fielddefs[msgtype][1]:
        count = 0
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            count = detail[1] if kind is Nodetype.ARRAY else Member.SEQUENCE
            kind, detail = detail[0]
        if kind is Nodetype.BASE:
            members.append(Member(name, number_type(detail[0]), (), count))
        else:
            members.append(Member(name, "", store_layout(store, detail), count))
    return tuple(members)


def number_type(name: str) -> str:
    """Return NumPy's name of a ROS number type, little-endian; `string` stays."""
    special = {"bool": "?", "boolean": "?", "octet": "|u1", "byte": "|u1", "char": "|u1", "float": "<f4"}
    if name == "string":
        return name
    return special.get(name) or np.dtype(name).newbyteorder("<").str


def serialised(store: Any, msgtype: str, fields: Mapping[str, Any]) -> bytes:
    """Return a message of a rosbags type store as CDR; see `encoded`."""
    return encoded(store_layout(store, msgtype), fields)


def encoded(layout: Layout, fields: Mapping[str, Any]) -> bytes:
    """Return a message as CDR.

    Parameters
    ----------
    layout : fields of the type.
    fields : nested dicts as `messages.fields` makes them: every field of the type, lists of messages as lists
        of dicts or as one structured array whose names and types are those of the fields.

    Raises
    ------
    KeyError, TypeError
        If a field is missing, or an array has another length or type than its definition: a mistake of ours.
    """
    out = bytearray(_HEADER)
    _message(out, layout, fields)
    return bytes(out)


def _message(out: bytearray, layout: Layout, fields: Mapping[str, Any]) -> None:
    for member in layout:
        value = fields[member.name]
        if member.count:
            _repeated(out, member, value)
        elif member.base:
            _base(out, member.base, value)
        else:
            _message(out, member.members, value)


def _repeated(out: bytearray, member: Member, values: Any) -> None:
    if member.count == Member.SEQUENCE:
        _number(out, "<u4", len(values))
    elif len(values) != member.count:
        raise TypeError(f"{member.name} must have {member.count} elements, got {len(values)}")
    if member.base:
        _bases(out, member.base, values)
    elif isinstance(values, np.ndarray):
        _records(out, member, values)
    else:
        for value in values:
            _message(out, member.members, value)


def _base(out: bytearray, base: str, value: Any) -> None:
    if base == "string":
        data = value.encode() + b"\0"
        _number(out, "<u4", len(data))
        out += data
    else:
        _number(out, base, value)


def _bases(out: bytearray, base: str, values: Any) -> None:
    if base == "string":
        for value in values:
            _base(out, base, value)
    elif len(values):
        array = np.ascontiguousarray(values, dtype=base)
        _align(out, array.itemsize)
        out += array.data.cast("B")


def _records(out: bytearray, member: Member, records: np.ndarray) -> None:
    """Write structs of one number type without gaps, so that each begins aligned where the one before ends."""
    wanted = _record_type(member.members)
    if records.dtype != wanted:
        raise TypeError(f"{member.name} must be records of {wanted}, got {records.dtype}")
    if len(records):
        (size,) = {np.dtype(inner.base).itemsize for inner in member.members}
        _align(out, size)
        out += np.ascontiguousarray(records).view(np.uint8).data


@cache
def _record_type(layout: Layout) -> np.dtype[Any]:
    return np.dtype([(m.name, m.base, m.count) if m.count else (m.name, m.base) for m in layout])


def _number(out: bytearray, base: str, value: Any) -> None:
    data = np.array(value, dtype=base).tobytes()
    _align(out, len(data))
    out += data


def _align(out: bytearray, size: int) -> None:
    out += bytes(-(len(out) - len(_HEADER)) % size)
