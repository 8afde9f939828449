"""Inputs that gave no frame, and why."""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass

from sparse_recon.errors import ErrorCode, SparseReconError, clipped, quoted
from sparse_recon.machine.memory_shortage import memory_shortage

log = logging.getLogger(__name__)

_KEPT = 256
_MAX_MESSAGE_LENGTH = 1000  # messages quote what they were given
_MAX_TRACEBACKS = 20


@dataclass(frozen=True)
class Rejection:
    """An input that gave no frame, and why; `camera` is empty where it belongs to none, `stamp_ns` 0 where unknown."""

    code: ErrorCode
    message: str
    camera: str
    stamp_ns: int


class Rejections:
    """What was rejected: the newest of them, and all counted by code."""

    def __init__(self) -> None:
        self.newest: deque[Rejection] = deque(maxlen=_KEPT)
        self.counts: Counter[ErrorCode] = Counter()
        self._told: set[str] = set()

    def add(self, code: ErrorCode, message: str, camera: str, stamp_ns: int) -> Rejection:
        """Count one."""
        text = message if len(message) <= _MAX_MESSAGE_LENGTH else f"{message[:_MAX_MESSAGE_LENGTH]} ..."
        rejection = Rejection(code, text, camera, stamp_ns)
        self.newest.append(rejection)
        self.counts[code] += 1
        return rejection

    def add_error(self, error: Exception, what: str, camera: str, stamp_ns: int) -> Rejection:
        """Count what an exception cost: with its own code where it has one, MEMORY_BUDGET where memory ran out.

        Anything else is a mistake of ours: INTERNAL, and its traceback is logged once.

        Parameters
        ----------
        what : the input that it cost, as the subject of a sentence.
        """
        if isinstance(error, SparseReconError):
            return self.add(error.code, error.message, camera, stamp_ns)
        where = f"{camera}: {what}" if camera else what
        shortage = memory_shortage(error)
        if shortage is not None:
            why = f"memory ran out: {clipped(shortage)}"
            text = f"{where} at {stamp_ns * 1e-9:.6f} s was given up, for {why}; use smaller images"
            return self.add(ErrorCode.MEMORY_BUDGET, text, camera, stamp_ns)
        text = f"{where} at {stamp_ns * 1e-9:.6f} s was given up: internal error, please report it: {quoted(error)}"
        kind = f"{type(error)} {what}"
        if kind not in self._told and len(self._told) < _MAX_TRACEBACKS:
            self._told.add(kind)
            log.error("%s", text[:_MAX_MESSAGE_LENGTH], exc_info=error)
        return self.add(ErrorCode.INTERNAL, text, camera, stamp_ns)
