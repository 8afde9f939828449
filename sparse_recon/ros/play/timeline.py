"""When each message of a recording is due, and its static transforms as one message; needs no ROS."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sparse_recon.bags.topics import TRANSFORMS
from sparse_recon.messages.fields import header_fields

log = logging.getLogger(__name__)

CLOCK = "/clock"
_LONGEST_SILENCE_NS = 86_400_000_000_000  # a day
_SLACK_NS = 1_000_000_000  # recorders with several threads write messages a little out of order


class Event(NamedTuple):
    """Something to publish: a message, or a tick of the clock where the topic is `CLOCK` and there are no data."""

    due_s: float  # after the start of the pass
    topic: str
    played_ns: int  # log time; of a tick: the time to tell
    data: bytes


def timeline(
    messages: Iterable[tuple[str, int, bytes]],
    begin_ns: int,
    *,
    rate: float = 1.0,
    clock_hz: float = 0.0,
    pause_s: float = 0.0,
) -> Iterator[Event]:
    """Yield one pass in the order of its due times.

    Parameters
    ----------
    messages : topic, log time in ns, data; a log time below an earlier one is due with the earlier one, and a silence
        of more than a day is skipped: the recorder's clock was set meanwhile, or the log time is damaged.
    begin_ns : log time that is due at once.
    rate : seconds of the recording per second.
    clock_hz : ticks per second; 0 for none. The first tells `begin_ns`, before all messages; the last, after all
        messages, tells the time of the last message, and is repeated while the pause lasts.
    pause_s : seconds after the last message that belong to the pass.
    """
    due_s, played_ns, skipped_ns, tick = 0.0, begin_ns, 0, 0
    for topic, log_ns, data in messages:
        if log_ns - played_ns > _LONGEST_SILENCE_NS:
            log.warning("a silence of %.1f days is skipped", (log_ns - played_ns) / _LONGEST_SILENCE_NS)
            skipped_ns += log_ns - played_ns
        played_ns = max(played_ns, log_ns)
        due_s = (played_ns - begin_ns - skipped_ns) * 1e-9 / rate
        while clock_hz and tick / clock_hz <= due_s:
            tick_s = tick / clock_hz
            yield Event(tick_s, CLOCK, begin_ns + skipped_ns + round(tick_s * rate * 1e9), b"")
            tick += 1
        yield Event(due_s, topic, played_ns, data)
    if clock_hz:
        yield Event(due_s, CLOCK, played_ns, b"")
        for number in range(tick, math.ceil((due_s + pause_s) * clock_hz)):
            yield Event(number / clock_hz, CLOCK, played_ns, b"")


def within(
    messages: Iterable[tuple[str, int, bytes]], begin_ns: int, end_ns: int | None
) -> Iterator[tuple[str, int, bytes]]:
    """Yield the messages from `begin_ns` up to `end_ns`; reading ends soon after `end_ns`."""
    for topic, log_ns, data in messages:
        if end_ns is not None and log_ns > end_ns + _SLACK_NS:
            return
        if begin_ns <= log_ns and (end_ns is None or log_ns <= end_ns):
            yield topic, log_ns, data


def is_static(topic: str, msgtype: str) -> bool:
    """Return whether a topic holds static transforms, of the robot or of a namespace."""
    return msgtype == TRANSFORMS and topic.rpartition("/")[2] == "tf_static"


def merged_transforms(messages: Iterable[Any]) -> dict[str, Any]:
    """Return the fields of one TFMessage with the last transform to each child frame.

    A robot has several publishers of static transforms, each with its own message; a latched topic keeps only the
    last message of a publisher.
    """
    last = {item.child_frame_id: item for message in messages for item in message.transforms}
    return {"transforms": [_transform_fields(item) for item in last.values()]}


def _transform_fields(item: Any) -> dict[str, Any]:
    moved, turned = item.transform.translation, item.transform.rotation
    stamp = item.header.stamp
    return {
        "header": header_fields(item.header.frame_id, int(stamp.sec) * 10**9 + int(stamp.nanosec)),
        "child_frame_id": item.child_frame_id,
        "transform": {
            "translation": {axis: getattr(moved, axis) for axis in "xyz"},
            "rotation": {axis: getattr(turned, axis) for axis in "xyzw"},
        },
    }
