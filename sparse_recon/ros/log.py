"""Records of Python's logging on the node's own logger, and so on /rosout."""

from __future__ import annotations

import logging
from typing import Any


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
