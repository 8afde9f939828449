"""Messages stamped far ahead of all others: strays, or the first of a time that goes on there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

AGREEING = 3  # messages; what two of them say may be one fault
TRANSFORMS = "tf"  # the sender of all links
MAX_SOURCES = 100  # each message is compared with all that wait


@dataclass(frozen=True, eq=False)
class AheadMessage:
    """A message that was set aside.

    Attributes
    ----------
    source : the stream of a camera, or the link.
    sender : whose clock stamps it: a camera, or the transforms.
    use : uses it after all.
    leave_out : tells that it was a stray.
    """

    source: str
    sender: str
    stamp_ns: int
    arrived_ns: int
    use: Callable[[], object]
    leave_out: Callable[[], object]


class AheadMessages:
    """Judges stamps, and sets aside those that run ahead until it is known whether time goes on there.

    A stamp runs ahead where it is later than anything of its own source and of others says by more than `max_ahead_s`;
    while nothing comes, time goes on as the clock does by which messages arrive. Time goes on there as soon as
    `AGREEING` messages say so, of several senders or in a row of one source; of links, in a row of two.

    Attributes
    ----------
    arrived_ns : when the message arrived that is handled now, by any clock that does not stand still between messages;
        0 where there is none.
    """

    def __init__(self, max_ahead_s: float) -> None:
        self.arrived_ns = 0
        self.max_ahead_ns = round(max_ahead_s * 1e9)
        self._image_ns = self._image_arrived_ns = 0
        self._by_source: dict[str, deque[AheadMessage]] = {}

    @property
    def image_now_ns(self) -> int:
        """What time it is by the newest image; 0 before there is one."""
        return self.gone_on(self._image_ns, self._image_arrived_ns) if self._image_ns else 0

    def note_image(self, stamp_ns: int) -> None:
        """Take the stamp of an image that is used."""
        if stamp_ns >= self._image_ns:
            self._image_ns, self._image_arrived_ns = stamp_ns, self.arrived_ns

    def gone_on(self, stamp_ns: int, arrived_ns: int) -> int:
        """Return what time it is by a message of this stamp that arrived then."""
        return stamp_ns + max(self.arrived_ns - arrived_ns, 0)

    def is_ahead(self, stamp_ns: int, *says: Callable[[], int | None]) -> bool:
        """Return whether a stamp runs ahead of all that can say what time it is: the newest image, and `says`."""
        known = False
        for now_ns in (lambda: self.image_now_ns, *says):
            time_ns = now_ns()
            if time_ns and stamp_ns <= time_ns + self.max_ahead_ns:
                return False
            known |= bool(time_ns)
        return known

    def put(self, message: AheadMessage, by_itself: bool) -> None:
        """Set one aside; use it with all that agree, in the order they came, where that is the time now.

        Parameters
        ----------
        by_itself : its source is believed without another sender.
        """
        held = self._by_source.setdefault(message.source, deque())
        held.append(message)
        agreeing = [item for items in self._by_source.values() for item in items if self._agree(item, message)]
        if message.sender != TRANSFORMS and len(going_on := _going_on(held)) >= AGREEING:
            agreeing += [item for item in going_on if item not in agreeing]  # pictures, however far apart
        in_a_row = Counter(item.source for item in agreeing)
        others_agree = len(agreeing) >= AGREEING and len({item.sender for item in agreeing}) > 1
        sources_agree = sum(count >= AGREEING for count in in_a_row.values()) > 1
        if others_agree or sources_agree or (by_itself and in_a_row[message.source] >= AGREEING):
            held_all = [item for items in self._by_source.values() for item in items]
            self._go_on([item for item in held_all if any(self._agree(item, other) for other in agreeing)])
            return
        if len(held) > AGREEING:
            held.popleft().leave_out()
        while len(self._by_source) > MAX_SOURCES:
            self._leave_out(next(iter(self._by_source)))

    def in_time(self, source: str) -> None:
        """Leave out what was set aside of a source: its next message is in time."""
        if source in self._by_source:
            self._leave_out(source)

    def restart(self) -> None:
        """Leave out everything: time begins anew."""
        self._image_ns = self._image_arrived_ns = 0
        for source in list(self._by_source):
            self._leave_out(source)

    def use_rest(self, senders: Collection[str]) -> bool:
        """Use what nothing contradicted of some senders, and leave out the rest, for nothing more comes.

        Returns
        -------
        Whether anything was used.
        """
        rest = [item for items in self._by_source.values() for item in items]
        self._by_source.clear()
        for item in sorted(rest, key=lambda item: item.stamp_ns):
            (item.use if item.sender in senders else item.leave_out)()
        return any(item.sender in senders for item in rest)

    def use_waited(self, senders: Collection[str], wait_ns: int) -> bool:
        """Use what some senders sent, where nothing has contradicted it for so long; return whether anything was used.

        A camera that takes a picture now and then has no second one that would agree.
        """
        long_ago = self.arrived_ns - wait_ns
        waited = {
            source
            for source, items in self._by_source.items()
            if items[-1].sender in senders and items[-1].arrived_ns <= long_ago
        }
        for item in sorted((i for source in waited for i in self._by_source.pop(source)), key=lambda i: i.stamp_ns):
            item.use()
        return bool(waited)

    def _agree(self, a: AheadMessage, b: AheadMessage) -> bool:
        apart_ns = (a.stamp_ns - b.stamp_ns) - (a.arrived_ns - b.arrived_ns)
        return min(abs(apart_ns), abs(a.stamp_ns - b.stamp_ns)) <= self.max_ahead_ns

    def _go_on(self, agreeing: list[AheadMessage]) -> None:
        taken = {id(item) for item in agreeing}
        for source in {item.source for item in agreeing}:
            for item in self._by_source.pop(source):
                if id(item) not in taken:
                    item.leave_out()
        for item in sorted(agreeing, key=lambda item: item.arrived_ns):  # stable
            item.use()

    def _leave_out(self, source: str) -> None:
        for item in self._by_source.pop(source):
            item.leave_out()


def _going_on(held: Sequence[AheadMessage]) -> list[AheadMessage]:
    """Return the last messages of a source whose stamps grow from one to the next."""
    k = len(held) - 1
    while k > 0 and held[k - 1].stamp_ns < held[k].stamp_ns:
        k -= 1
    return list(held)[k:]
