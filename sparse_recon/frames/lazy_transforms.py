"""A source of transforms that is handed only what is asked for: the rest waits, packed as it came."""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from statistics import median_low
from typing import NamedTuple

from sparse_recon.errors import SparseReconError, TransformError
from sparse_recon.frames.ahead import AheadMessages
from sparse_recon.frames.transform_bytes import TransformBytes, pose_of
from sparse_recon.geometry.transforms import MAX_FRAMES, TransformSource, without_slash
from sparse_recon.types import Float64

log = logging.getLogger(__name__)

MAX_PACKED = 50_000  # of all links together: half a minute of 30 links at 50 Hz
MAX_ASKED = 64  # frames; the one that was asked for longest ago is forgotten

_ASKED_FOR_TIME = 100  # links
_UNSETTLED = 5  # changes of parent or kind, after which a link is no longer packed


@dataclass(slots=True)
class _Link:
    """A moving link that the source knows; `number` tells it from earlier ones of the same child."""

    parent: str
    child: str
    number: int
    newest_ns: int
    arrived_ns: int  # of the newest
    needed: bool = False


class _Packed(NamedTuple):
    number: int  # of the link
    stamp_ns: int
    numbers: bytes
    little_endian: bool


class LazyTransforms:
    """Transforms as `source` answers them, where links that lie on no path that was asked for are not unpacked.

    The first transform of every link, every one below another parent, every static one and every one that comes late
    reaches the source at once, so it knows all frames and how they hang together. Others of links off all paths are
    kept in their messages, and unpacked when a path is asked for that they lie on: nothing is lost by waiting, but the
    oldest of more than `MAX_PACKED`.

    Parameters
    ----------
    source : what answers.
    late_ns : a transform older than the newest of its link by more than this is late.
    ahead : one that is newer by more than its `max_ahead_ns` runs ahead, and is not kept packed.
    """

    def __init__(self, source: TransformSource, late_ns: float, ahead: AheadMessages) -> None:
        self.source = source
        self._late_ns, self._ahead = late_ns, ahead
        self._by_names: dict[tuple[bytes, bytes], _Link] = {}
        self._by_child: dict[str, _Link] = {}
        self._changes: Counter[str] = Counter()  # of parent or kind, by child
        self._number = 0
        self._packed: deque[_Packed] = deque(maxlen=MAX_PACKED)
        self._asked: dict[str, None] = {}
        self._stale = False  # which links are needed must be found anew

    def keep(self, names: tuple[bytes, bytes], stamp_ns: int, message: TransformBytes, at: int) -> bool:
        """Keep a moving transform packed, and return True; False if it must be added now."""
        if self._stale:
            self._need()
        link = self._by_names.get(names)
        if link is None or link.needed:
            return False
        if not link.newest_ns - self._late_ns <= stamp_ns <= link.newest_ns + self._ahead.max_ahead_ns:
            return False
        self._packed.append(_Packed(link.number, stamp_ns, message.numbers(at), message.little_endian))
        if stamp_ns > link.newest_ns:
            link.newest_ns, link.arrived_ns = stamp_ns, self._ahead.arrived_ns
        return True

    def add(self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64, static: bool = False) -> None:
        """Take one transform, as `TransformTree.add`."""
        parent, child = without_slash(parent), without_slash(child)
        link = self._by_child.get(child)
        if link is not None and (static or link.parent != parent):
            self._drop(link, lost=static)
            link = None
        self.source.add(parent, child, stamp_ns, T_parent_child, static)
        if link is not None:
            if stamp_ns > link.newest_ns:
                link.newest_ns, link.arrived_ns = stamp_ns, self._ahead.arrived_ns
            return
        self._stale = True
        if not static and self._changes[child] < _UNSETTLED:
            self._note(parent, child, stamp_ns)

    def _note(self, parent: str, child: str, stamp_ns: int) -> None:
        if len(self._by_child) >= MAX_FRAMES:
            self._forget()
        self._number += 1
        link = self._by_child[child] = _Link(parent, child, self._number, stamp_ns, self._ahead.arrived_ns)
        for names in _spellings(link):
            self._by_names[names] = link

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64:
        """Return `T_target_source` (4, 4) at a stamp; errors as `TransformTree.lookup`."""
        self._need(target, source)
        return self.source.lookup(target, source, stamp_ns)

    def root(self, frame: str | None = None) -> str:
        """Return the topmost frame above `frame`, or the only root there is; errors as `TransformTree.root`."""
        return self.source.root(frame)

    def newest_ns(self, child: str) -> int | None:
        """Return the stamp of the newest sample that moves `child`; None for static and unknown frames."""
        newest_ns = self.source.newest_ns(child)
        link = self._by_child.get(without_slash(child))
        return newest_ns if newest_ns is None or link is None else max(newest_ns, link.newest_ns)

    def time_of(self, child: str) -> int | None:
        """Return what time it is by the newest sample that moves `child`; None for static and unknown frames."""
        link = self._by_child.get(child)
        return self.newest_ns(child) if link is None else self._ahead.gone_on(link.newest_ns, link.arrived_ns)

    def time_beside_ns(self, child: str) -> int:
        """Return what time it is by most of the other moving links, of 100 at most; 0 where there are none."""
        return median_low(self._times_beside(child) or [0])

    def latest_beside_ns(self, child: str) -> int:
        """Return what time it is by any of the other moving links, of 100 at most; 0 where there are none."""
        return max(self._times_beside(child), default=0)

    def _times_beside(self, child: str) -> list[int]:
        others = (link for name, link in self._by_child.items() if name != child)
        asked = islice(others, _ASKED_FOR_TIME)
        return [self._ahead.gone_on(link.newest_ns, link.arrived_ns) for link in asked]

    def forget_after(self, child: str, stamp_ns: int) -> None:
        """Forget the samples of a moving link after a stamp."""
        link = self._by_child.get(child)
        if link is not None:
            kept = (item for item in self._packed if item.number != link.number or item.stamp_ns <= stamp_ns)
            self._packed = deque(kept, maxlen=MAX_PACKED)
            link.newest_ns, link.arrived_ns = min(link.newest_ns, stamp_ns), self._ahead.arrived_ns
        self.source.forget_after(child, stamp_ns)

    def now_beside_ns(self, child: str) -> int:
        """Return the median of the newest stamps of other moving links, of 100 at most; 0 where there are none."""
        others = (link.newest_ns for name, link in self._by_child.items() if name != child)
        return median_low([*islice(others, _ASKED_FOR_TIME)] or [0])

    def covers(self, target: str, source: str, stamp_ns: int) -> bool:
        """Return False while a later sample may still answer `lookup`."""
        self._need(target, source)
        return self.source.covers(target, source, stamp_ns)

    def newest_common_ns(self, target: str, source: str) -> int:
        """Return the newest stamp at which every moving link between two frames has a sample; 0 where nothing moves."""
        self._need(target, source)
        return self.source.newest_common_ns(target, source)

    def moving_links(self, target: str, source: str) -> frozenset[str]:
        """Return the children of all moving links between two frames; none where they are not connected."""
        return self.source.moving_links(target, source)

    def frames(self) -> frozenset[str]:
        """Return the names of all frames seen."""
        return self.source.frames()

    def clear(self) -> None:
        """Forget all moving transforms; static ones stay."""
        self._forget()
        self.source.clear()

    def _forget(self) -> None:
        """Forget what is packed; the next transform of every link reaches the source again."""
        self._packed.clear()
        self._by_names.clear()
        self._by_child.clear()
        self._changes.clear()
        self._stale = True

    def _drop(self, link: _Link, lost: bool) -> None:
        """Forget a link that is static now, with all that is packed of it, or hangs below another parent."""
        if not lost:
            self._unpack({link.number: link})
        del self._by_child[link.child]
        for names in _spellings(link):
            self._by_names.pop(names, None)
        self._changes[link.child] += 1

    def _need(self, *frames: str) -> None:
        for name in map(without_slash, frames):
            if name not in self._asked:
                self._stale = True
            self._asked.pop(name, None)
            self._asked[name] = None
        while len(self._asked) > MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        if not self._stale:
            return
        self._stale = False
        needed: set[str] = set()
        for name in self._asked:
            try:
                needed |= self.source.moving_links(self.source.root(name), name)
            except TransformError:  # it is not there yet, or the source has forgotten it among too many
                if name in self._by_child:
                    self._forget()
        fresh = {}
        for child, link in self._by_child.items():
            if child in needed and not link.needed:
                fresh[link.number] = link
            link.needed = child in needed
        if fresh:
            self._unpack(fresh)

    def _unpack(self, links: dict[int, _Link]) -> None:
        """Hand what is packed of some links to the source."""
        others: deque[_Packed] = deque(maxlen=MAX_PACKED)
        for item in self._packed:
            link = links.get(item.number)
            if link is None:
                others.append(item)
                continue
            try:
                self.source.add(link.parent, link.child, item.stamp_ns, pose_of(item.numbers, item.little_endian))
            except SparseReconError as error:
                log.warning("a transform %s -> %s is skipped: %s", link.parent, link.child, error.message)
        self._packed = others


def _spellings(link: _Link) -> list[tuple[bytes, bytes]]:
    """Return the names of a link as messages have them, also with the slash of ROS 1."""
    return [((slash + link.parent).encode(), (slash + link.child).encode()) for slash in ("", "/")]
