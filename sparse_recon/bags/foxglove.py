"""Recordings of Foxglove's schemas, which hold what those of ROS 2 do under other names, read as if they were these."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sparse_recon.bags.channels import Channel
from sparse_recon.bags.foxglove_fields import SCHEMAS, Fields, of_json, of_protobuf, of_ros
from sparse_recon.bags.storage import Storage
from sparse_recon.bags.topics import COMPRESSED, IMAGE, INFO, TRANSFORMS

log = logging.getLogger(__name__)

_PREFIXES = ("foxglove.", "foxglove_msgs/msg/")
_ROS_NAMES = {
    "CompressedImage": COMPRESSED,
    "RawImage": IMAGE,
    "CameraCalibration": INFO,
    "FrameTransform": TRANSFORMS,
    "FrameTransforms": TRANSFORMS,
}
_TEXT = {"json": of_json, "protobuf": of_protobuf}


def schema_of(channel: Channel) -> str:
    """Return the name of the schema that is read on a channel, without its package; empty for any other channel."""
    prefix = next((prefix for prefix in _PREFIXES if channel.msgtype.startswith(prefix)), "")
    name = channel.msgtype[len(prefix) :]
    packed = channel.encoding in _TEXT if prefix == _PREFIXES[0] else channel.encoding in ("", "cdr")
    return name if prefix and packed and name in SCHEMAS else ""


class FoxgloveStorage:
    """A recording whose channels of Foxglove's images, calibrations and transforms are those of ROS 2.

    Foxglove has no static transforms, and one holds until the next: what a recording says once is static here, on a
    topic `tf_static` beside.

    Parameters
    ----------
    storage : as it was opened; closed with this one.
    ros : the type store of ROS 2.
    decode : decodes a message of a type that the recording defines.
    """

    def __init__(self, storage: Storage, ros: Any, decode: Callable[[str, bytes], Any]) -> None:
        self._storage, self._ros = storage, ros
        self.damage = storage.damage
        schemas = {channel.topic: (schema, channel) for channel in storage.channels if (schema := schema_of(channel))}
        self._readers: Mapping[str, Callable[[bytes], Fields]] = {
            topic: partial(_fields, schema, channel, decode) for topic, (schema, channel) in schemas.items()
        }
        self._types = {topic: _ROS_NAMES[schema] for topic, (schema, _) in schemas.items()}
        self._static_topics: dict[str, str] = {}  # by the topic that their transforms come from
        self._said_once: Collection[tuple[str, str, str]] = self._single_transforms()
        for topic in sorted({topic for topic, _, _ in self._said_once}):
            self._static_topics[topic] = f"{topic}_static" if topic.rpartition("/")[2] == "tf" else f"{topic}/tf_static"
        channels = [
            replace(c, msgtype=self._types[c.topic], definition="", definition_format="", encoding="cdr")
            if c.topic in schemas
            else c
            for c in storage.channels
        ]
        new = sorted(set(self._static_topics.values()) - {c.topic for c in channels})
        self.channels = (*channels, *(Channel(topic, TRANSFORMS, "", "", -1, (), "cdr") for topic in new))

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, CDR bytes); what cannot be read is left out with a warning."""
        sources = {source for source, static in self._static_topics.items() if static in topics}
        for topic, log_ns, data in self._storage.messages({*topics, *sources}):
            if topic not in self._readers:
                yield topic, log_ns, data
                continue
            for name, fields in self._split(topic, self._read(topic, log_ns, data)):
                if name in topics and (cdr := self._serialised(topic, log_ns, fields)):
                    yield name, log_ns, cdr
        self.damage = self._storage.damage

    def close(self) -> None:
        """Release files."""
        self._storage.close()

    def _read(self, topic: str, log_ns: int, data: bytes) -> Fields | None:
        try:
            return self._readers[topic](data)
        except Exception as error:  # of the many that damaged bytes and texts can raise
            log.warning("a message on %s at %.3f s cannot be read: %s", topic, log_ns * 1e-9, error)
            return None

    def _serialised(self, topic: str, log_ns: int, fields: Fields) -> bytes:
        kind = self._types[topic]
        try:
            return bytes(self._ros.serialize_cdr(_MAKERS[kind](self._ros.types, fields), kind))
        except Exception as error:  # fields that are missing, or hold what they should not
            log.warning("a message on %s at %.3f s cannot be used: %r", topic, log_ns * 1e-9, error)
            return b""

    def _single_transforms(self) -> set[tuple[str, str, str]]:
        """Return topic, parent and child of the transforms that the recording has once."""
        moving = [t for t, kind in self._types.items() if kind == TRANSFORMS and not t.endswith("tf_static")]
        counts: Counter[tuple[str, str, str]] = Counter()
        for topic, log_ns, data in self._storage.messages(moving) if moving else ():
            counts.update(_key(topic, item) for item in _items(self._read(topic, log_ns, data)))
        return {key for key, count in counts.items() if count == 1}

    def _split(self, topic: str, fields: Fields | None) -> Iterator[tuple[str, Fields]]:
        """Yield what a message says under the topics that it goes to."""
        if fields is None or topic not in self._static_topics:
            if fields is not None:
                yield topic, fields
            return
        static = [item for item in _items(fields) if _key(topic, item) in self._said_once]
        moving = [item for item in _items(fields) if _key(topic, item) not in self._said_once]
        if static:
            yield self._static_topics[topic], {"transforms": static}
        if moving:
            yield topic, {"transforms": moving}


def _items(fields: Fields | None) -> list[Fields]:
    """Return the transforms of a message."""
    found = [] if fields is None else fields.get("transforms", [fields])
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _key(topic: str, item: Fields) -> tuple[str, str, str]:
    return topic, str(item.get("parent_frame_id")), str(item.get("child_frame_id"))


def _fields(schema: str, channel: Channel, decode: Callable[[str, bytes], Any], data: bytes) -> Fields:
    if channel.encoding in _TEXT:
        return _TEXT[channel.encoding](memoryview(data), schema)
    return of_ros(decode(channel.msgtype, data), schema)


def _header(types: Any, fields: Fields, frame: str = "frame_id") -> Any:
    time = fields["timestamp"]
    stamp = types["builtin_interfaces/msg/Time"](int(time["sec"]), int(time["nsec"]))
    return types["std_msgs/msg/Header"](stamp, fields[frame])


def _compressed(types: Any, fields: Fields) -> Any:
    return types[COMPRESSED](_header(types, fields), fields["format"], _bytes(fields))


def _image(types: Any, fields: Fields) -> Any:
    size = int(fields["height"]), int(fields["width"])
    return types[IMAGE](_header(types, fields), *size, fields["encoding"], 0, int(fields["step"]), _bytes(fields))


def _info(types: Any, fields: Fields) -> Any:
    D, K, R, P = (np.asarray(fields.get(name, ()), np.float64).ravel() for name in "DKRP")
    R, P = (values if values.size else np.zeros(size) for values, size in ((R, 9), (P, 12)))
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    size = int(fields["height"]), int(fields["width"])
    model = fields.get("distortion_model", "")
    return types[INFO](_header(types, fields), *size, model, D, K, R, P, 0, 0, roi)


def _transforms(types: Any, fields: Fields) -> Any:
    stamped = []
    for item in _items(fields):
        t, q = item["translation"], item["rotation"]
        transform = types["geometry_msgs/msg/Transform"](
            types["geometry_msgs/msg/Vector3"](*(float(t[axis]) for axis in "xyz")),
            types["geometry_msgs/msg/Quaternion"](*(float(q[axis]) for axis in "xyzw")),
        )
        header = _header(types, item, "parent_frame_id")
        stamped.append(types["geometry_msgs/msg/TransformStamped"](header, item["child_frame_id"], transform))
    return types[TRANSFORMS](stamped)


def _bytes(fields: Fields) -> Any:
    return np.frombuffer(fields["data"], np.uint8)


_MAKERS = {COMPRESSED: _compressed, IMAGE: _image, INFO: _info, TRANSFORMS: _transforms}
