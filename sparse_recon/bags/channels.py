"""What the topics of a recording are, whatever it is stored in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_recon.errors import ErrorCode, FileError


@dataclass(frozen=True)
class Channel:
    """A topic of a recording, with the text of its message definition where the recording carries it.

    `encoding` is that of the messages: cdr in ROS 2, empty where it is not known.
    `offered_qos` holds a `rosbags.interfaces.Qos` for each publisher that was recorded, where that is known.
    """

    topic: str
    msgtype: str
    definition: str
    definition_format: str  # ros2msg, ros2idl or empty
    count: int
    offered_qos: tuple[Any, ...] = ()
    encoding: str = ""


def offered_qos(text: str) -> tuple[Any, ...]:
    """Return the profiles of a topic's publishers, or none where the text is damaged."""
    from rosbags.rosbag2.metadata import parse_qos

    try:
        return tuple(parse_qos(text))
    except Exception:  # rosbags takes the text for what it should be
        return ()


def unreadable(path: Path, why: str) -> FileError:
    """Return the error of a file of which nothing can be read."""
    return FileError(
        ErrorCode.BAG_UNREADABLE, f"{path} cannot be read: {why}; nothing could be saved from it, record it again"
    )
