"""Field dicts as the bytes that rclpy publishes, without a Python object for every point and triangle.

A mesh of 20 000 triangles is a hundred thousand Python objects as a message: a third of a second to make and send, with
pauses of the garbage collector up to a tenth of one, in which no camera callback runs. Its bytes are there in a few
milliseconds (benchmarks/outputs.py).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from sparse_recon.messages.cdr import Layout, Member, encoded, number_type


def serialised(message_type: Any, fields: Mapping[str, Any]) -> bytes:
    """Return a message for `Publisher.publish`.

    Parameters
    ----------
    message_type : generated class; its own field list decides the layout, so any distribution's definition holds.
    fields : nested fields as for `ros.convert.to_message`.
    """
    return encoded(class_layout(message_type), fields)


@cache
def class_layout(message_type: Any) -> Layout:
    """Return the fields of a generated message class."""
    names = message_type.get_fields_and_field_types()
    return tuple(_member(name, slot) for name, slot in zip(names, message_type.SLOT_TYPES, strict=True))


def _member(name: str, slot: Any) -> Member:
    count = 0
    if hasattr(slot, "value_type"):
        count = getattr(slot, "size", Member.SEQUENCE)
        slot = slot.value_type
    if hasattr(slot, "namespaces"):
        module = importlib.import_module(".".join(slot.namespaces))
        return Member(name, "", class_layout(getattr(module, slot.name)), count)
    return Member(name, number_type(getattr(slot, "typename", "string")), (), count)
