"""Completed objects as a ROS 2 recording that carries its own message definitions."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from sparse_recon.bags.frames_bag import transient_local
from sparse_recon.errors import FileError
from sparse_recon.files.atomic import file_errors, whole_folder
from sparse_recon.messages.cdr import serialised
from sparse_recon.messages.fields import (
    Fields,
    completed_cloud_fields,
    completed_object_array_fields,
    definition_files,
    observed_cloud_fields,
)
from sparse_recon.messages.markers import marker_array_fields
from sparse_recon.types import CompletedObject

log = logging.getLogger(__name__)

# The topics of a node named completion_node in the root namespace, so that a replay is shown like the robot's.
NODE = "/completion_node"
OBJECTS_TOPIC, CLOUD_TOPIC = f"{NODE}/objects", f"{NODE}/cloud"
OBSERVED_TOPIC, MARKERS_TOPIC = f"{NODE}/observed_cloud", f"{NODE}/markers"
OUTPUT_TOPICS = {
    OBJECTS_TOPIC: (
        "sparse_recon/msg/CompletedObjectArray",
        "Completed objects: the node sends each when it has changed, the bag has all in one message.",
    ),
    CLOUD_TOPIC: ("sensor_msgs/msg/PointCloud2", "The completed points of all objects, for stock viewers."),
    OBSERVED_TOPIC: ("sensor_msgs/msg/PointCloud2", "The measured points of all objects, before completion."),
    MARKERS_TOPIC: (
        "visualization_msgs/msg/MarkerArray",
        "Mesh, box and name of each object, in a namespace of its id, for RViz; sent as `objects` are.",
    ),
}
_FIELDS: dict[str, Callable[[list[CompletedObject], str, int], Fields]] = {
    OBJECTS_TOPIC: completed_object_array_fields,
    CLOUD_TOPIC: completed_cloud_fields,
    OBSERVED_TOPIC: observed_cloud_fields,
    MARKERS_TOPIC: marker_array_fields,
}
_TRANSFORMS = "tf2_msgs/msg/TFMessage"


class ResultBag:
    """Writes the objects of one pass on `OUTPUT_TOPICS`, one message each, beside copied transforms.

    Use it as a context. The bag appears under its name when the context ends, also after Ctrl-C and errors in what
    produces the objects, with all objects written so far; without any object nothing is left. An older bag of that name
    stays where writing fails, and after Ctrl-C and errors: it may hold more objects.

    Parameters
    ----------
    path : folder of the bag.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE, from `copy_transforms` or at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._objects: list[CompletedObject] = []
        self._stack = ExitStack()
        self._store: Any = None
        self._writer: Any = None
        self._connections: dict[str, Any] = {}
        self._last_ns = 0

    def __enter__(self) -> ResultBag:
        return self

    def write(self, completed: CompletedObject) -> None:
        """Take one object; all are written when the context ends."""
        self._objects.append(completed)

    def copy_transforms(self, topic: str, log_ns: int, data: bytes) -> None:
        """Write a serialised message of /tf or /tf_static at its time of recording; results come after the last."""
        self._last_ns = max(self._last_ns, log_ns)
        with file_errors(self.path, "the result bag"):
            self._open()
            self._send(topic, _TRANSFORMS, log_ns, data, latched=topic.endswith("tf_static"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        older_stays = kind is not None and os.path.lexists(self.path)
        if older_stays and self._objects:
            log.warning("%s is still that of an earlier run, as this one ended early", self.path)
        if older_stays or not self._objects:
            with suppress(FileError):
                self._stack.__exit__(_NotWanted, _NotWanted(), None)
            return
        with self._stack:
            newest_ns = max(completed.stamp_ns for completed in self._objects)
            self._open()
            for topic, (msgtype, _) in OUTPUT_TOPICS.items():
                fields = _FIELDS[topic](self._objects, self._objects[0].frame_id, newest_ns)
                data = serialised(self._store, msgtype, fields)
                self._send(topic, msgtype, self._last_ns or newest_ns, data, latched=True)

    def _send(self, topic: str, msgtype: str, log_ns: int, data: Any, *, latched: bool) -> None:
        if topic not in self._connections:
            qos = [transient_local()] if latched else []
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._store, offered_qos_profiles=qos
            )
        self._writer.write(self._connections[topic], log_ns, data)

    def _open(self) -> None:
        if self._writer is not None:
            return
        from rosbags.rosbag2 import StoragePlugin, Writer

        self._store = type_store()
        new = self._stack.enter_context(whole_folder(self.path, "the result bag"))
        new.rmdir()  # the rosbags writer wants to make it
        self._writer = self._stack.enter_context(Writer(new, version=9, storage_plugin=StoragePlugin.MCAP))


def type_store() -> Any:
    """Return a rosbags store with the types of ROS 2 Jazzy and of this package."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, path in definition_files().items():
        if re.fullmatch(r"\w+/msg/\w+", name):
            types.update(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    store.register(types)
    return store


class _NotWanted(Exception):
    """Makes `whole_folder` drop a bag that holds nothing but transforms, or less than the older one."""
