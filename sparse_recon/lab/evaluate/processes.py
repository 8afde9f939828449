"""Scores from several processes: tasks in any order, each process with its own state, ended with the first one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from sparse_recon.errors import ErrorCode, ModelError, SparseReconError
from sparse_recon.lab.evaluate.results import Score
from sparse_recon.machine.children import end_with_parent, python_child

T = TypeVar("T")
Work = Callable[[T], Iterator[Score]]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_END_S = 10.0


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
    SparseReconError
        What the work raises.
    """
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield from work(task)
        return
    with _children(min(jobs, len(tasks))) as children:
        try:
            yield from _shared_out(work, tasks, children)
        except (EOFError, ConnectionError) as error:
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                "a process of the evaluation died, perhaps of too little memory; what was scored is kept: run the same "
                "command with --jobs 1 to go on and to see the case that did it",
            ) from error


def _shared_out(work: Work[T], tasks: Sequence[T], children: Sequence[_Child]) -> Iterator[Score]:
    """Give every child a task, and another one when it has answered."""
    rest, busy = deque(tasks), {}
    for child in children:
        child.tasks.send(work)
        child.tasks.send(rest.popleft())
        busy[child.answers] = child
    while busy:
        for answers in wait(list(busy)):
            child = busy[answers]  # type: ignore[index]
            scores = child.answer()
            if rest:
                child.tasks.send(rest.popleft())
            else:
                del busy[child.answers]
            yield from scores


class _Child:
    """A process that works on one task after another."""

    def __init__(self) -> None:
        reads_tasks, writes_tasks = os.pipe()
        reads_answers, writes_answers = os.pipe()
        words = (str(reads_tasks), str(writes_answers))
        self.process = subprocess.Popen(
            python_child(f"from {__name__} import serve\nserve(*map(int, sys.argv[1:]))", *words),
            stdin=subprocess.DEVNULL,
            pass_fds=(reads_tasks, writes_answers),
            env={**os.environ, **dict.fromkeys(_THREADS, "1")},
            preexec_fn=end_with_parent,
        )
        os.close(reads_tasks)
        os.close(writes_answers)
        self.tasks = Connection(writes_tasks, readable=False)
        self.answers = Connection(reads_answers, writable=False)

    def answer(self) -> list[Score]:
        """Return the scores of the task; raise what the work raised."""
        scores, refusal, mistake = self.answers.recv()
        if refusal is not None:
            raise SparseReconError(ErrorCode(refusal[0]), refusal[1])
        if mistake:
            raise RuntimeError(f"a process of the evaluation failed:\n{mistake}")
        return list(scores)

    def end(self) -> None:
        """Wait for its end, for a while."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)
        self.process.kill()
        self.process.wait()
        self.tasks.close()
        self.answers.close()


@contextmanager
def _children(count: int) -> Iterator[list[_Child]]:
    children: list[_Child] = []
    try:
        for _ in range(count):
            children.append(_Child())
        yield children
    finally:
        for child in children:
            child.process.terminate()
        for child in children:
            child.end()


def serve(tasks_fd: int, answers_fd: int) -> None:
    """Be a child: take the work, then one task after another, until there are no more or SIGTERM ends it."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    cv2.setNumThreads(1)
    tasks, answers = Connection(tasks_fd, writable=False), Connection(answers_fd, readable=False)
    with suppress(EOFError, ConnectionError):  # the first process is gone
        work: Work[Any] = tasks.recv()
        while True:
            answers.send(_answer(work, tasks.recv()))


def _answer(work: Work[T], task: T) -> tuple[list[Score], tuple[int, str] | None, str]:
    """Return the scores of a task, or what refused it, or a trace."""
    try:
        return list(work(task)), None, ""
    except SparseReconError as error:
        return [], (int(error.code), error.message), ""
    except Exception:
        return [], None, traceback.format_exc()
