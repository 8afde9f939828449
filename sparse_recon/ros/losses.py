"""What of the input was lost lately, and why: worse while it goes on, forgotten when it has stopped."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass

from sparse_recon.errors import ErrorCode

_KEPT = 2000
_SHOWN, _LONGEST = 4, 250  # sentences, and characters of each


@dataclass(frozen=True)
class Loss:
    """One message or frame that was lost: what it was, as `image of camera`, and why."""

    at_s: float
    what: str
    code: ErrorCode
    why: str


class Losses:
    """The newest losses."""

    def __init__(self) -> None:
        self._losses: deque[Loss] = deque(maxlen=_KEPT)

    def add(self, what: str, code: ErrorCode, why: str) -> None:
        """Note one."""
        self._losses.append(Loss(time.monotonic(), what, code, why))

    def within(self, seconds: float) -> tuple[ErrorCode, str] | None:
        """Return code and sentence of what was lost within so many seconds till now, the most frequent first."""
        since_s = time.monotonic() - seconds
        recent = [loss for loss in self._losses.copy() if loss.at_s >= since_s]
        if not recent:
            return None
        counts = Counter((loss.what, loss.code) for loss in recent)
        last = {(loss.what, loss.code): loss.why for loss in recent}
        parts = []
        for (what, code), count in counts.most_common(_SHOWN):
            why = last[what, code]
            why = why if len(why) <= _LONGEST else f"{why[:_LONGEST]} ..."
            parts.append(f"{count} x {what} ({code.name}: {why})")
        more = f"; and {len(counts) - _SHOWN} other kinds" if len(counts) > _SHOWN else ""
        return counts.most_common(1)[0][0][1], f"lost within {seconds:g} s: {'; '.join(parts)}{more}"
