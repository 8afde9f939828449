"""What the topics of a recording are, whatever it is stored in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_recon.errors import ErrorCode, FileError, clipped

ENCODINGS = ("", "cdr")  # of messages that can be read; the first where the recording does not say

FOXGLOVE_READ = (
    "CompressedImage, RawImage, CameraCalibration, FrameTransform and FrameTransforms are read, in protobuf, JSON and "
    "cdr"
)


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


def other_encoding(path: Path, channels: Sequence[Channel]) -> FileError:
    """Return the error of a recording whose messages are not those of ROS 2, with what converts it."""
    names = " and ".join(sorted({clipped(c.encoding) for c in channels}))
    some = ", ".join(f"{clipped(c.topic)} ({clipped(c.msgtype)})" for c in channels[:5])
    cure = "record the topics of ROS 2, or convert them to its messages"
    if any(c.msgtype.startswith("foxglove.") for c in channels):
        cure = f"of Foxglove's schemas {FOXGLOVE_READ}: record these, or the topics of ROS 2"
    if any(c.encoding == "ros1" for c in channels):
        cure = "convert the ROS 1 bag that it was made of: rosbags-convert --src FILE.bag --dst FOLDER"
    return FileError(
        ErrorCode.BAG_UNREADABLE,
        f"{path} holds messages of encoding {names}, such as {some}; accepted is cdr, that of ROS 2: {cure}",
    )
