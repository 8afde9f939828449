"""The order in which the worker does what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from sparse_recon.errors import ErrorCode
from sparse_recon.ros.worker import Job, Worker

PATIENCE_S = 20.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    assert made.stop(PATIENCE_S)


class Blocked:
    """A job at work that ends when it is told to; what is submitted meanwhile waits."""

    def __init__(self, worker: Worker) -> None:
        self.done: list[str] = []
        self._worker, self._go, begun = worker, threading.Event(), threading.Event()

        def run(job: Job) -> None:
            begun.set()
            self._go.wait(PATIENCE_S)

        worker.submit(Job("first", run))
        assert begun.wait(PATIENCE_S)

    def submit(self, name: str, *, urgent: bool = False, goal: bool = False) -> None:
        self._worker.submit(Job(name, lambda job: self.done.append(name), goal=goal), urgent=urgent)

    def release(self, count: int) -> list[str]:
        """Let everything run, and return the names in the order in which they ran."""
        self._go.set()
        until_s = time.monotonic() + PATIENCE_S
        while len(self.done) < count:
            assert time.monotonic() < until_s, self.done
            time.sleep(0.005)
        return self.done


def test_services_that_wait_run_in_the_order_in_which_they_were_asked(worker):
    blocked = Blocked(worker)
    for name in "abc":
        blocked.submit(name, urgent=True)
    assert blocked.release(3) == ["a", "b", "c"]


def test_services_go_before_goals_that_came_later(worker):
    blocked = Blocked(worker)
    blocked.submit("region", urgent=True)
    blocked.submit("goal", goal=True)
    blocked.submit("list", urgent=True)
    assert blocked.release(3) == ["region", "goal", "list"]


def test_a_goal_is_not_overtaken_by_more_than_one_service_that_came_later(worker):
    blocked = Blocked(worker)
    blocked.submit("goal", goal=True)
    for name in "abc":
        blocked.submit(name, urgent=True)
    assert blocked.release(4) == ["a", "goal", "b", "c"]


def test_a_goal_does_not_overtake_a_service_that_came_before_it(worker):
    blocked = Blocked(worker)
    for name in "ab":
        blocked.submit(name, urgent=True)
    blocked.submit("goal", goal=True)
    assert blocked.release(3) == ["a", "b", "goal"]


def test_everything_that_waits_is_cancelled_but_what_must_run(worker):
    blocked = Blocked(worker)
    ended = []
    for name, sure in (("goal", False), ("tidy", True)):
        worker.submit(Job(name, lambda job: None, lambda _, error, name=name: ended.append((name, error)), sure=sure))
    worker.cancel_all(ErrorCode.CANCELLED, "time jumped back")
    blocked.submit("last")
    blocked.release(1)
    assert [(name, error and error.code) for name, error in ended] == [("goal", ErrorCode.CANCELLED), ("tidy", None)]
