"""Transforms that come long after newer ones of their link: strays, or the first of a time that begins anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from typing import NamedTuple

from sparse_recon.types import Float64

MAX_LATE = 1000  # of one link
MAX_LINKS = 1000


class LateTransform(NamedTuple):
    """A transform that came long after newer ones of its link."""

    parent: str
    child: str
    stamp_ns: int
    T_parent_child: Float64

    def refusal(self, newest_ns: int) -> str:
        """Return why it is ignored, where the newest one of its link has this stamp."""
        lag_s = (newest_ns - self.stamp_ns) * 1e-9
        return (
            f"transform {self.parent} -> {self.child} is {lag_s:.3f} s older than the newest one of this link "
            f"({self.stamp_ns * 1e-9:.3f} s after {newest_ns * 1e-9:.3f} s) and is ignored; check the clocks of its "
            "publishers"
        )


class LateTransforms:
    """Late transforms by link, set aside until it is known whether time has jumped back; bounded."""

    def __init__(self) -> None:
        self._by_child: dict[str, deque[LateTransform]] = {}

    @property
    def children(self) -> Set[str]:
        """The links that are late and have not been in time since."""
        return self._by_child.keys()

    def add(self, late: LateTransform) -> None:
        """Set one aside; of too many the oldest go."""
        self._by_child.setdefault(late.child, deque(maxlen=MAX_LATE)).append(late)
        while len(self._by_child) > MAX_LINKS:
            del self._by_child[next(iter(self._by_child))]

    def forget(self, child: str) -> None:
        """Forget those of a link that is in time again: they were strays."""
        self._by_child.pop(child, None)

    def take(self) -> list[LateTransform]:
        """Return all in the order of their stamps, and keep none: time has jumped back to them."""
        taken = sorted((item for items in self._by_child.values() for item in items), key=lambda item: item.stamp_ns)
        self._by_child.clear()
        return taken
