"""Continuous mode: all objects are completed again whenever new views add enough."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sparse_recon.errors import ErrorCode, SparseReconError
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.worker import Job, Worker

log = logging.getLogger(__name__)


class ContinuousPasses:
    """Begins passes and splits each into one job an object, so that whatever is asked for gets in between.

    Parameters
    ----------
    found : job; returns the ids of the objects there are.
    complete : job; completes one object and publishes it.
    finish : takes the ids of a pass after its last object; objects that are no longer there go.
    now_s : a clock that always runs: while /clock stands still, as in a recording that pauses, passes go on.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        found: Callable[[Job], Sequence[str]],
        complete: Callable[[Job, str], None],
        finish: Callable[[Sequence[str]], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._found, self._complete, self._finish, self._now_s = found, complete, finish, now_s
        self._lock = threading.Lock()
        self._running = False
        self._views = self._frames = 0
        self._last_s = -float("inf")

    def note(self, new_views: int = 0) -> None:
        """Count something new to see."""
        with self._lock:
            self._frames += 1
            self._views += new_views

    def forget(self) -> None:
        """Begin to count anew, in a time that may be another one."""
        with self._lock:
            self._views = self._frames = 0
            self._last_s = -float("inf")

    def go_on(self, config: NodeConfig) -> None:
        """Begin a pass if parameter `continuous` asks for one now."""
        if not config.continuous:
            return
        needed = config.continuous_new_views
        with self._lock:
            enough = self._views >= needed if needed else self._frames > 0
            rested = self._now_s() - self._last_s >= config.continuous_period_s
            if not (enough and rested) or self._running:
                return
            self._running = True
            seen = (self._views, self._frames)
        self._worker.submit(Job("pass", self._begin, lambda ids, error: self._begun(ids, error, seen), yields=True))

    def _begin(self, job: Job) -> Sequence[str]:
        return self._found(job)

    def _begun(self, ids: Sequence[str] | None, error: SparseReconError | None, seen: tuple[int, int]) -> None:
        if error is not None:
            self._ended(error)
            return
        cut_short: list[SparseReconError] = []

        def done(result: object, error: SparseReconError | None) -> None:
            if error is not None and error.code in (ErrorCode.CANCELLED, ErrorCode.NOT_ACTIVE):
                cut_short.append(error)
            elif error is not None:
                log.warning(
                    "continuous completion of an object: [%d %s] %s", error.code, error.code.name, error.message
                )

        for name in ids or ():
            self._worker.submit(
                Job(f"pass {name}", lambda job, name=name: self._complete(job, name), done, yields=True)  # type: ignore[misc]
            )

        def last(job: Job) -> None:
            self._finish(ids or ())
            if not cut_short:
                with self._lock:  # never below zero: everything may have been forgotten meanwhile
                    self._views, self._frames = max(self._views - seen[0], 0), max(self._frames - seen[1], 0)

        self._worker.submit(Job("pass end", last, lambda result, error: self._ended(error), yields=True))

    def _ended(self, error: SparseReconError | None) -> None:
        with self._lock:
            self._running = False
            self._last_s = self._now_s()
        if error is not None and error.code not in (ErrorCode.CANCELLED, ErrorCode.NOT_ACTIVE):
            log.warning("continuous completion: [%d %s] %s", error.code, error.code.name, error.message)
