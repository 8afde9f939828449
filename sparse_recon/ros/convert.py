"""Plain field dicts to rclpy messages and back, with the casts that rclpy needs.

Field checks of rclpy are off by default, and then an int in a float field, a NumPy scalar or a NumPy bool arrives as
another number without any error. So every leaf is cast here, whatever `sparse_recon.messages.fields` holds.
"""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from sparse_recon.errors import ErrorCode, InputError

Message = TypeVar("Message", bound=Hashable)


def to_message(message_type: type[Message], fields: Mapping[str, Any]) -> Message:
    """Make a message of nested fields.

    Parameters
    ----------
    message_type : generated class, for example `sparse_recon.msg.CompletedObject`.
    fields : exactly the fields of that type; lists of numbers as arrays, lists of messages as lists of dicts or as
        structured arrays with the fields' names.

    Raises
    ------
    InputError
        If a field is missing or unknown.
    """
    casts = _casts(message_type)
    _check_names(message_type, fields.keys())
    message = message_type()
    for name, cast in casts.items():
        if cast is None:
            _fill(getattr(message, name), fields[name])
        else:
            setattr(message, name, cast(fields[name]))
    return message


def from_message(message: Any) -> dict[str, Any]:
    """Return the nested fields of a message; arrays of numbers share memory with it where that is possible."""
    return {name: _plain(getattr(message, name)) for name in type(message).get_fields_and_field_types()}


def _plain(value: Any) -> Any:
    if hasattr(value, "get_fields_and_field_types"):
        return from_message(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return np.asarray(value) if isinstance(value, array) else value


@cache
def _casts(message_type: Any) -> dict[str, Callable[[Any], Any] | None]:
    blank = message_type()
    names = message_type.get_fields_and_field_types()
    return {name: _cast(getattr(blank, name), slot) for name, slot in zip(names, message_type.SLOT_TYPES, strict=True)}


def _cast(default: Any, slot: Any) -> Callable[[Any], Any] | None:
    """Choose the cast by the field's default value, None for an array that is filled in place.

    `slot` is the rosidl type of the field and names the element of a list.
    """
    if isinstance(default, array):
        return None
    if isinstance(default, (bool, int, float, str)):
        return type(default)
    if isinstance(default, np.ndarray):
        return partial(_to_ndarray, default.dtype)
    if isinstance(default, list):
        element = slot.value_type
        if not hasattr(element, "namespaces"):
            return partial(_to_list, bool if getattr(element, "typename", "") == "boolean" else str)
        module = importlib.import_module(".".join(element.namespaces))
        return partial(_to_messages, getattr(module, element.name))
    return partial(to_message, type(default))


def _fill(target: array[Any], values: Any) -> None:
    """Replace the numbers of a message's own array: its setter would copy them again, or check one by one."""
    flat = np.ascontiguousarray(values, dtype=target.typecode).ravel()
    del target[:]
    target.frombytes(flat.view(np.uint8))  # type: ignore[arg-type]


def _to_ndarray(dtype: Any, values: Any) -> Any:
    return np.ascontiguousarray(values, dtype=dtype).ravel()


def _to_messages(message_type: Any, values: Any) -> list[Any]:
    if not isinstance(values, np.ndarray):
        return [to_message(message_type, value) for value in values]
    _check_names(message_type, values.dtype.names or ())
    messages = [message_type() for _ in range(len(values))]
    for name in values.dtype.names or ():
        column = np.ascontiguousarray(values[name])
        for message, value in zip(messages, column if column.ndim > 1 else column.tolist(), strict=True):
            setattr(message, name, value)
    return messages


def _check_names(message_type: Any, names: Collection[str]) -> None:
    known = _casts(message_type).keys()
    if set(names) != known:
        missing, unknown = sorted(known - set(names)), sorted(set(names) - known)
        raise InputError(ErrorCode.USAGE, f"{message_type.__name__}: fields missing {missing}, unknown {unknown}")


def _to_list(cast: Callable[[Any], Any], values: Any) -> list[Any]:
    return [cast(value) for value in values]
