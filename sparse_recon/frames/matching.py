"""Messages of several streams put together by their stamps: exactly equal ones first, then the nearest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Stamped:
    """One message: its stamp, the frame it was taken in, and its content."""

    stamp_ns: int
    frame_id: str
    content: Any

    @property
    def nbytes(self) -> int:
        """Bytes of an image; 0 for anything else."""
        return len(getattr(self.content, "data", ()))


@dataclass(frozen=True, eq=False)
class Unmatched:
    """A message of the leading stream for which `stream` has nothing within the tolerance."""

    message: Stamped
    stream: str


class StampMatcher:
    """Finds for each message of the first stream its partner in every other one.

    Two messages belong together if their stamps are equal, or if they are within the tolerance and each is the
    nearest of the other. Nothing is decided before a later message can no longer change the answer.

    Parameters
    ----------
    streams : names; the first one leads.
    tolerance_ns : stamps farther apart never match.
    capacity : messages kept per stream; the oldest one leaves first.
    """

    def __init__(self, streams: Sequence[str], tolerance_ns: int, capacity: int) -> None:
        self._lead, *self._others = streams
        self._tolerance_ns = tolerance_ns
        self._capacity = capacity
        self._queues: dict[str, deque[Stamped]] = {name: deque() for name in streams}
        self._newest_ns: dict[str, int] = {}

    def newest_ns(self, stream: str) -> int | None:
        """Return the newest stamp pushed to a stream."""
        return self._newest_ns.get(stream)

    @property
    def nbytes(self) -> int:
        """Bytes of all messages kept."""
        return sum(message.nbytes for queue in self._queues.values() for message in queue)

    def drop_oldest(self) -> Stamped | None:
        """Forget the oldest message of the stream that holds most, and return it."""
        queue = max(self._queues.values(), key=lambda queue: sum(message.nbytes for message in queue))
        return queue.popleft() if queue else None

    def push(self, stream: str, message: Stamped) -> None:
        """Take a message whose stamp is newer than all before it in its stream."""
        queue = self._queues[stream]
        queue.append(message)
        self._newest_ns[stream] = message.stamp_ns
        if stream != self._lead and len(queue) > self._capacity:
            queue.popleft()

    def matched(self, *, finish: bool = False) -> Iterator[dict[str, Stamped] | Unmatched]:
        """Yield matches and failures of the leading stream in stamp order; with `finish`, wait for nothing more."""
        lead = self._queues[self._lead]
        while lead:
            partners: dict[str, Stamped] = {self._lead: lead[0]}
            missing = ""
            for stream in self._others:
                partner, sure = self._partner(stream)
                if not (sure or finish or len(lead) > self._capacity):
                    return
                if partner is None:
                    missing = missing or stream
                else:
                    partners[stream] = partner
            message = lead.popleft()
            for stream in self._others:
                used_ns = message.stamp_ns - self._tolerance_ns if missing else partners[stream].stamp_ns + 1
                self._drop_before(stream, used_ns)
            yield Unmatched(message, missing) if missing else partners

    def _partner(self, stream: str) -> tuple[Stamped | None, bool]:
        """Return what belongs to the oldest leading message as far as is known, and whether that is final."""
        at_ns = self._queues[self._lead][0].stamp_ns
        near = [m for m in self._queues[stream] if abs(m.stamp_ns - at_ns) <= self._tolerance_ns]
        near = [m for m in near if not self._nearer_to_next(m.stamp_ns)]
        best = min(near, key=lambda m: abs(m.stamp_ns - at_ns), default=None)
        return best, (best is not None and best.stamp_ns == at_ns) or self._settled(stream)

    def _settled(self, stream: str) -> bool:
        """Return whether no message to come can change the partner of the oldest leading message."""
        at_ns = self._queues[self._lead][0].stamp_ns
        queue = self._queues[stream]
        later = [m.stamp_ns for m in queue if m.stamp_ns > at_ns]
        if self._newest_ns.get(stream, -1) <= at_ns:
            return False
        newest_lead_ns = self._newest_ns[self._lead]
        return all(ns <= newest_lead_ns for ns in later if ns - at_ns <= self._tolerance_ns)

    def _nearer_to_next(self, stamp_ns: int) -> bool:
        lead = self._queues[self._lead]
        return len(lead) > 1 and abs(lead[1].stamp_ns - stamp_ns) < abs(lead[0].stamp_ns - stamp_ns)

    def _drop_before(self, stream: str, stamp_ns: int) -> None:
        queue = self._queues[stream]
        while queue and queue[0].stamp_ns < stamp_ns:
            queue.popleft()
