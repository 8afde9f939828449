"""Records of Python's logging on the node's own logger, and so on /rosout."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

_SAY_AGAIN_S = 60.0


class RosLogHandler(logging.Handler):
    """Hands records on with their severity; levels are those of the ROS logger (`--log-level`)."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger
        logging.getLogger("sparse_recon").setLevel(logging.INFO)
        logging.getLogger("sparse_recon").propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            text = self.format(record)
            # rclpy remembers one severity for each place in the code, so that each needs a line of its own.
            if record.levelno >= logging.ERROR:
                self._logger.error(text)
            elif record.levelno >= logging.WARNING:
                self._logger.warning(text)
            elif record.levelno >= logging.INFO:
                self._logger.info(text)
            else:
                self._logger.debug(text)
        except Exception:
            self.handleError(record)


class RepeatedSentences:
    """Lets a sentence through once, and while it repeats once a minute, with how often it came in between."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._said: dict[str, tuple[float, int]] = {}  # sentence -> when it was let through, how often it came since

    def due(self, sentence: str) -> str:
        """Return what is to be logged; empty where the sentence was logged less than a minute ago."""
        now_s = self._now_s()
        said_s, repeats = self._said.get(sentence, (-_SAY_AGAIN_S, 0))
        if now_s - said_s < _SAY_AGAIN_S:
            self._said[sentence] = (said_s, repeats + 1)
            return ""
        self._said = {text: entry for text, entry in self._said.items() if now_s - entry[0] < _SAY_AGAIN_S}
        self._said[sentence] = (now_s, 0)
        return f"{sentence} (and {repeats} times since it was last said)" if repeats else sentence

    def forget(self) -> None:
        """Let every sentence through again: what they were about is over."""
        self._said.clear()
