"""Field dicts into CDR bytes, the wire format of ROS 2 messages (OMG CDR, plain, little-endian).

rosbags serialises objects one by one; meshes hold a hundred thousand points, colours and triangles, which are written
here as the bytes of one array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_HEADER = b"\x00\x01\x00\x00"  # CDR, little-endian, no options


def serialised(store: Any, msgtype: str, fields: Mapping[str, Any]) -> bytes:
    """Return a message of a rosbags type store as CDR.

    Parameters
    ----------
    store : rosbags type store that knows the type.
    fields : nested dicts as `sparse_recon.messages` makes them: every field of the type, lists of messages as lists
        of dicts or as one structured array whose names are the fields.
    """
    out = bytearray()
    _message(out, store, msgtype, fields)
    return _HEADER + bytes(out)


def _message(out: bytearray, store: Any, msgtype: str, fields: Mapping[str, Any]) -> None:
    from rosbags.interfaces import Nodetype

    for name, (kind, detail) in store.fielddefs[msgtype][1]:
        value = fields[name]
        if kind is Nodetype.BASE:
            _base(out, detail[0], value)
        elif kind is Nodetype.NAME:
            _message(out, store, detail, value)
        else:
            (element_kind, element), _ = detail
            if kind is Nodetype.SEQUENCE:
                _number(out, "<u4", len(value))
            if element_kind is Nodetype.BASE:
                _bases(out, element[0], value)
            elif isinstance(value, np.ndarray):
                _records(out, value)
            else:
                for item in value:
                    _message(out, store, element, item)


def _base(out: bytearray, kind: str, value: Any) -> None:
    if kind == "string":
        data = value.encode() + b"\0"
        _number(out, "<u4", len(data))
        out += data
    else:
        _number(out, _dtype(kind), value)


def _bases(out: bytearray, kind: str, values: Any) -> None:
    if kind == "string":
        for value in values:
            _base(out, kind, value)
    elif len(values):
        array = np.ascontiguousarray(values, dtype=_dtype(kind))
        _align(out, array.itemsize)
        out += array.tobytes()


def _records(out: bytearray, records: np.ndarray) -> None:
    """Write structs of one number type without gaps, so that each begins aligned where the one before ends."""
    if len(records):
        (size,) = {field[0].base.itemsize for field in (records.dtype.fields or {}).values()}
        _align(out, size)
        out += np.ascontiguousarray(records).tobytes()


def _number(out: bytearray, dtype: str, value: Any) -> None:
    data = np.array(value, dtype=dtype).tobytes()
    _align(out, len(data))
    out += data


def _align(out: bytearray, size: int) -> None:
    out += bytes(-len(out) % size)


def _dtype(kind: str) -> str:
    return {"bool": "?", "octet": "u1", "byte": "u1"}.get(kind) or np.dtype(kind).newbyteorder("<").str
