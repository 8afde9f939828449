"""Warnings of single messages, of which a damaged recording can have thousands."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable

from sparse_recon.errors import clipped

log = logging.getLogger(__name__)


class MessageWarnings:
    """Logs the first warning of a topic, the tenth, the hundredth and so on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._next: defaultdict[str, int] = defaultdict(lambda: 1)

    def warn(self, topic: str, text: str | Callable[[], str]) -> None:
        """Log what is wrong with a message, if it is its turn; only then `text` is made."""
        self._counts[topic] += 1
        count = self._counts[topic]
        if count == self._next[topic]:
            self._next[topic] *= 10
            so_far = f" ({count} such messages so far)" if count > 1 else ""
            log.warning("%s: %s%s", clipped(topic), text if isinstance(text, str) else text(), so_far)
