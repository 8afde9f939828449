"""Scores from several processes: tasks in any order, each process with its own state, stopped by Ctrl-C."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.lab.evaluate.results import Score

T = TypeVar("T")
Work = Callable[[T], Iterator[Score]]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def scores_of(work: Work[T], tasks: Sequence[T], jobs: int) -> Iterator[Score]:
    """Yield the scores of all tasks; of one process as they come, of several when a task is done.

    Parameters
    ----------
    work : takes a task and yields its scores. With several processes each gets its own copy, so it must be picklable
        and make what is not when it is first called.
    jobs : processes. More than one keep their libraries to one thread each.

    Raises
    ------
    ModelError
        MODEL_FAILED if a process dies.
    """
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield from work(task)
        return
    context = get_context("spawn")
    stop = context.Event()
    with _one_thread_each(), ProcessPoolExecutor(jobs, context, _start, (work, stop)) as pool:
        futures = [pool.submit(_run, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield from future.result()
        except BrokenProcessPool as error:
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                "a process of the evaluation died, perhaps of too little memory; what was scored is kept: run the same "
                "command with --jobs 1 to go on and to see the case that did it",
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


_mine: tuple[Work[Any], Event]


def _start(work: Work[Any], stop: Event) -> None:
    global _mine
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one tells the others
    cv2.setNumThreads(1)
    _mine = (work, stop)


def _run(task: Any) -> list[Score]:
    work, stop = _mine
    return list(itertools.takewhile(lambda _: not stop.is_set(), work(task)))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children started inside keep their libraries to one thread."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
