"""The one thread that owns the session's completions and the model: jobs one after another, each can be cancelled."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sparse_recon.errors import CancelledError, ErrorCode, SparseReconError

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One piece of work.

    Attributes
    ----------
    name : for people.
    run : does the work in the worker's thread; asks `job.cancelled` often.
    done : takes what `run` returned or the error; called exactly once for every job, in the worker's thread or in that
        of whoever cancelled it while it waited.
    goal : asked for by a goal of the action, so that goal policies apply to it.
    yields : goals need not wait for it: it is ended for them, and other jobs go before it.
    sure : runs whatever else is cancelled.
    urgent, number : goes before jobs that are not; which one it was of all that were submitted. Set by `Worker.submit`.
    """

    name: str
    run: Callable[[Job], Any]
    done: Callable[[Any, SparseReconError | None], None] = lambda result, error: None
    goal: bool = False
    yields: bool = False
    sure: bool = False
    urgent: bool = False
    number: int = 0
    reason: SparseReconError | None = None
    _cancel: threading.Event = field(default_factory=threading.Event)

    def cancel(self, code: ErrorCode, message: str) -> None:
        """Ask the job to end with this code; the first reason counts."""
        if not self._cancel.is_set():
            self.reason = CancelledError(code, message)
            self._cancel.set()

    def cancelled(self) -> bool:
        """Return whether somebody asked the job to end."""
        return self._cancel.is_set()


class Worker:
    """Runs jobs in the order in which they came, urgent ones first.

    Of two urgent jobs that came later than a waiting goal, the goal goes between: who polls does not starve it.

    Whatever a job raises becomes its error; nothing ends the thread but `stop`.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._current: Job | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self.finished = 0
        self._submitted = 0
        self._thread = threading.Thread(target=self._work, name="completion", daemon=True)
        self._thread.start()

    @property
    def current(self) -> Job | None:
        """The job at work."""
        return self._current

    def goals(self) -> list[Job]:
        """Return the jobs of goals that run or wait and were not asked to end."""
        with self._changed:
            jobs = (self._current, *self._jobs)
        return [job for job in jobs if job is not None and job.goal and not job.cancelled()]

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    def submit(self, job: Job, *, urgent: bool = False) -> None:
        """Take a job."""
        with self._changed:
            self._submitted += 1
            job.number, job.urgent = self._submitted, urgent
            if self._stopping:
                job.cancel(ErrorCode.NOT_ACTIVE, "the node is stopping")
            elif urgent:
                self._jobs.insert(sum(other.urgent for other in self._jobs), job)
            else:
                first = next((i for i, other in enumerate(self._jobs) if other.yields), len(self._jobs))
                self._jobs.insert(len(self._jobs) if job.yields else first, job)
            current = self._current
            self._changed.notify_all()
        if job.cancelled():
            self._finish(job, None, job.reason)
        elif current is not None and current.yields and job.goal:
            current.cancel(ErrorCode.CANCELLED, f"gave way to {job.name}")

    def cancel(self, job: Job, code: ErrorCode, message: str) -> None:
        """End a job: at once if it waits, at its next question if it runs."""
        job.cancel(code, message)
        with self._changed:
            waits = job in self._jobs
            if waits:
                self._jobs.remove(job)
        if waits:
            self._finish(job, None, job.reason)

    def cancel_all(self, code: ErrorCode, message: str) -> None:
        """End the job at work and all that wait."""
        with self._changed:
            jobs = [*self._jobs, self._current]
        for job in jobs:
            if job is not None and not job.sure:
                self.cancel(job, code, message)

    def stop(self, timeout_s: float) -> bool:
        """Cancel everything and end the thread; False if it has not ended in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.cancel_all(ErrorCode.NOT_ACTIVE, "the node is stopping")
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _taken(self, after_urgent: bool) -> Job:
        index = 0
        if after_urgent and self._jobs[0].urgent:
            since = self._jobs[0].number
            index = next((i for i, job in enumerate(self._jobs) if job.goal and job.number < since), 0)
        job = self._jobs[index]
        del self._jobs[index]
        return job

    def _work(self) -> None:
        after_urgent = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._stopping)
                if not self._jobs:
                    return
                job = self._current = self._taken(after_urgent)
            result, error = self._outcome(job)
            with self._changed:
                self._current = None
                self.finished += 1
            self._finish(job, result, error)
            after_urgent = job.urgent
            del job, result, error  # a large result must not live until the next job

    def _outcome(self, job: Job) -> tuple[Any, SparseReconError | None]:
        try:
            if job.cancelled():
                return None, job.reason
            return job.run(job), None
        except CancelledError as error:
            return None, _without_frames(job.reason or error)
        except SparseReconError as error:
            return None, _without_frames(error)
        except MemoryError as error:
            return None, SparseReconError(
                ErrorCode.MEMORY_BUDGET,
                f"{job.name} ran out of memory: {error}; lower memory_budget_bytes or evidence.fine_grid",
            )
        except Exception as error:
            log.exception("%s", job.name)
            text = f"{job.name} failed with an internal error, please report it: {error!r}"
            return None, SparseReconError(ErrorCode.INTERNAL, text)

    def _finish(self, job: Job, result: Any, error: SparseReconError | None) -> None:
        try:
            job.done(result, error)
        except Exception:
            log.exception("what follows %s", job.name)


def _without_frames(error: SparseReconError) -> SparseReconError:
    """Return an error that no longer holds the frames it went through, whose cycles live until a full collection."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
