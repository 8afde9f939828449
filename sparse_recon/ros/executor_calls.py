"""Work handed to the executor's thread from other threads, and coroutines that wait for a job without blocking it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from sparse_recon.errors import SparseReconError
from sparse_recon.ros.worker import Job, Worker

log = logging.getLogger(__name__)


class ExecutorCalls:
    """A queue of functions that the node's executor calls."""

    def __init__(self, node: Node) -> None:
        self.waiting = 0  # coroutines that wait for a job
        self._functions: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self._call, callback_group=ReentrantCallbackGroup())

    def call_soon(self, function: Callable[[], None]) -> None:
        """Let the executor call a function soon; from any thread."""
        self._functions.append(function)
        self._guard.trigger()

    async def finished(self, worker: Worker, job: Job, *, urgent: bool = False) -> tuple[Any, SparseReconError | None]:
        """Submit a job and wait for what came of it; the executor goes on meanwhile."""
        future: Future = Future()
        job.done = lambda result, error: self.call_soon(lambda: future.set_result((result, error)))
        worker.submit(job, urgent=urgent)
        self.waiting += 1
        try:
            outcome: tuple[Any, SparseReconError | None] = await future
        finally:
            self.waiting -= 1
        return outcome

    def _call(self) -> None:
        while self._functions:
            function = self._functions.popleft()
            try:
                function()
            except Exception:
                log.exception("work for the executor")
