"""What is said of transforms that are not used as they came: which link, why, how often, by how much."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_MAX_LINKS = 100


@dataclass
class _Note:
    tell: Callable[[int], str]  # of the count
    count: int
    last_s: float


class TransformNotes:
    """Notes by link and kind, bounded; the oldest go."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], _Note] = {}

    def add(self, kind: str, child: str, tell: Callable[[int], str]) -> None:
        """Note something; `tell` makes the sentence of how often it was."""
        key = kind, child
        before = self._notes.pop(key, None)
        self._notes[key] = _Note(tell, (before.count if before else 0) + 1, time.monotonic())
        while len(self._notes) > _MAX_LINKS:
            del self._notes[next(iter(self._notes))]

    def sentences(self, within_s: float = float("inf")) -> list[str]:
        """Return what was noted, all or what is not older than some seconds of the steady clock, the newest last."""
        since_s = time.monotonic() - within_s
        return [note.tell(note.count) for note in list(self._notes.values()) if note.last_s >= since_s]
