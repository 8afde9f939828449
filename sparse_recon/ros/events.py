"""What the input side tells the worker. Events are handled in the worker's thread, in the order in which they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FrameKept:
    """The session holds one more frame; `new_view` as in `FrameReport`."""

    new_view: bool


@dataclass(frozen=True)
class TimeJumped:
    """Time went back: the session was emptied of its `frames`, and whatever came of them belongs to another pass."""

    frames: int


@dataclass(frozen=True)
class DetectionsArrived:
    """A vision_msgs/Detection3DArray of a camera's detector; it replaces the ones before."""

    camera: str
    message: Any


Event = FrameKept | TimeJumped | DetectionsArrived
