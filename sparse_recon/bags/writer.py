"""Completed objects as a ROS 2 recording that carries its own message definitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sparse_recon.bags.atomic import whole_folder
from sparse_recon.messages import completed_object_fields, definition_files
from sparse_recon.types import CompletedObject

OBJECT_TOPIC = "/sparse_recon/objects"
CLOUD_TOPIC = "/sparse_recon/cloud"
_OBJECT, _CLOUD = "sparse_recon/msg/CompletedObject", "sensor_msgs/msg/PointCloud2"


class ResultBag:
    """Writes one message per object on `OBJECT_TOPIC`, and its cloud on `CLOUD_TOPIC` for viewers without our types.

    Use it as a context. The bag appears under its name when the context ends, also after Ctrl-C and errors in what
    produces the objects, with all objects written so far; without any object nothing is left. If writing itself fails,
    an older bag of that name stays.

    Parameters
    ----------
    path : folder of the bag.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE, from `write` or at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._objects: list[tuple[int, list[tuple[str, str, bytes]]]] = []
        self._store = _type_store()

    def __enter__(self) -> ResultBag:
        return self

    def write(self, completed: CompletedObject) -> None:
        """Take one object; it is serialised now and written when the context ends."""
        fields = completed_object_fields(completed)
        messages = [(OBJECT_TOPIC, _OBJECT, fields), (CLOUD_TOPIC, _CLOUD, fields["cloud"])]
        serialised = [(topic, kind, self._serialised(kind, values)) for topic, kind, values in messages]
        self._objects.append((completed.stamp_ns, serialised))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        if not self._objects:
            return
        with whole_folder(self.path, "the result bag") as new:
            new.rmdir()  # the rosbags writer wants to make it
            with Writer(new, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                connections: dict[str, Any] = {}
                for stamp_ns, messages in self._objects:
                    for topic, msgtype, data in messages:
                        if topic not in connections:
                            connections[topic] = writer.add_connection(topic, msgtype, typestore=self._store)
                        writer.write(connections[topic], stamp_ns, data)

    def _serialised(self, msgtype: str, fields: Mapping[str, Any]) -> bytes:
        return bytes(self._store.serialize_cdr(_message(self._store, msgtype, fields), msgtype))


def _type_store() -> Any:
    """Return the types of ROS 2 Jazzy and of this package."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, path in definition_files().items():
        if re.fullmatch(r"\w+/msg/\w+", name):
            types.update(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    store.register(types)
    return store


def _message(store: Any, msgtype: str, fields: Mapping[str, Any]) -> Any:
    """Turn nested field dicts into messages of the store."""
    from rosbags.interfaces import Nodetype

    values = {}
    for name, (kind, detail) in store.fielddefs[msgtype][1]:
        value = fields[name]
        if kind is Nodetype.NAME:
            value = _message(store, detail, value)
        elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) and detail[0][0] is Nodetype.NAME:
            value = [_message(store, detail[0][1], item) for item in value]
        elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) and isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value)
        values[name] = value
    return store.types[msgtype](**values)
