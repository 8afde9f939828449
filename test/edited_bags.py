"""Recordings in which some messages are others: what another driver or tool would have recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
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


def as_cloud(topic: str, message: Any) -> list[tuple[str, Any]]:
    """Return the depth image as the organised cloud that some drivers publish alone."""
    if topic != "/camera/aligned_depth_to_color/image_raw":
        return [] if topic.startswith("/camera/aligned") else [(topic, message)]
    depth_m = np.frombuffer(message.data, "<u2").astype("<f4") / 1000
    points = np.stack([depth_m * 0, depth_m * 0, np.where(depth_m > 0, depth_m, np.nan)], axis=-1)
    fields = [new("sensor_msgs/msg/PointField", name, 4 * k, 7, 1) for k, name in enumerate("xyz")]
    size = message.height, message.width
    data = points.astype("<f4").reshape(-1).view(np.uint8)
    values = fields, False, 12, 12 * message.width, data, False
    return [("/camera/points/xyz", new("sensor_msgs/msg/PointCloud2", message.header, *size, *values))]
