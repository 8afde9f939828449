"""What an MCAP file says of its topics, taken from its records of schemas and channels (https://mcap.dev/spec)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress

from sparse_recon.bags.channels import MAX_QOS_CHARACTERS, Channel, offered_qos
from sparse_recon.bags.mcap_records import CHANNEL, SCHEMA, Cut, text_at

_TEXTS = ("ros2msg", "ros2idl")  # definitions of messages that are read
_MAX_NAME = 4096  # characters of a topic or type; ROS has 255
_MAX_TEXTS = 50_000_000  # characters of all that is kept


class McapTopics:
    """The schemas and channels of a file, as they are met."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._topics: dict[int, tuple[str, int, str]] = {}
        self._qos: dict[int, str] = {}
        self._kept = 0

    def put(self, opcode: int, content: memoryview) -> None:
        """Take a record, if it is a schema or a channel.

        Raises
        ------
        Cut, struct.error, UnicodeDecodeError
            Where it makes no sense, or all of them together are longer than those of any recording.
        """
        if opcode not in (SCHEMA, CHANNEL):
            return
        (number,) = struct.unpack_from("<H", content)
        if opcode == SCHEMA and number not in self._schemas:  # the spec wants repeated ones to be the same
            name, at = text_at(content, 2)
            form, at = text_at(content, at)
            text = text_at(content, at)[0] if form in _TEXTS else ""  # those of protobuf are binary
            self._schemas[number] = self._keep(name), form[:16], self._keep(text)
        elif opcode == CHANNEL and number not in self._topics:
            self._put_channel(content)

    def numbers(self, topics: frozenset[str]) -> dict[int, str]:
        """Return the topic of each channel whose topic is one of these."""
        return {number: topic for number, (topic, _, _) in self._topics.items() if topic in topics}

    def channels(self, counts: Mapping[int, int]) -> tuple[Channel, ...]:
        """Return the topics, with the number of messages of each channel."""
        return tuple(
            Channel(topic, name, text, form, counts.get(number, 0), offered_qos(self._qos.get(number, "")), encoding)
            for number, (topic, schema, encoding) in self._topics.items()
            for name, form, text in [self._schemas.get(schema, ("", "", ""))]
        )

    def _put_channel(self, content: memoryview) -> None:
        number, schema = struct.unpack_from("<HH", content)
        topic, at = text_at(content, 4)
        if len(topic) > _MAX_NAME:
            return
        self._topics[number] = (self._keep(topic), schema, "")
        with suppress(Cut, struct.error, UnicodeDecodeError):  # the messages are worth more than their metadata
            encoding, at = text_at(content, at)
            self._topics[number] = (topic, schema, encoding[:_MAX_NAME])
            at += 4  # after the size of the map
            while at < len(content):
                key, at = text_at(content, at)
                value, at = text_at(content, at)
                if key == "offered_qos_profiles" and len(value) <= MAX_QOS_CHARACTERS:
                    self._qos[number] = self._keep(value)

    def _keep(self, text: str) -> str:
        self._kept += len(text)
        if self._kept > _MAX_TEXTS:
            raise Cut(f"its topics are described by more than {_MAX_TEXTS} characters")
        return text
