"""Recordings in which some messages are others: what another driver or tool would have recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transform_messages import store

# edit(topic, message) returns the (topic, message) pairs to record instead
Edit = Callable[[str, Any], Iterable[tuple[str, Any]]]


def edited(
    source: Path, target: Path, edit: Edit, *, storage: str = "MCAP", empty: dict[str, str] | None = None
) -> Path:
    """Copy a bag message by message; `empty` names topics, with their types, that exist without a message."""
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer

    connections: dict[str, Any] = {}
    with (
        Reader(source) as reader,
        Writer(target, version=9, storage_plugin=StoragePlugin[storage]) as writer,
    ):

        def connection(topic: str, kind: str) -> Any:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store())
            return connections[topic]

        for topic, kind in (empty or {}).items():
            connection(topic, kind)
        for old, log_ns, data in reader.messages():
            for topic, message in edit(old.topic, store().deserialize_cdr(data, old.msgtype)):
                kind = message.__msgtype__
                writer.write(connection(topic, kind), log_ns, bytes(store().serialize_cdr(message, kind)))
    return target


def new(kind: str, *values: Any) -> Any:
    """Return a message of a type of ROS 2 Jazzy."""
    return store().types[kind](*values)
