"""Run methods over cases: in parallel, resumable, the same result in whatever order the work is done."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from sparse_recon.config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.evaluate.cases import diameter, make_case
from sparse_recon.evaluate.environment import machine, versions
from sparse_recon.evaluate.examples import save_example
from sparse_recon.evaluate.methods import Contestant, check_methods, method_names
from sparse_recon.evaluate.metrics.checks import check_true_mesh
from sparse_recon.evaluate.objects import ScoredObject
from sparse_recon.evaluate.peak_memory import PeakMemory
from sparse_recon.evaluate.protocol import Protocol
from sparse_recon.evaluate.results import Key, ObjectRecord, Results, Score
from sparse_recon.evaluate.scoring import Examiner, refused
from sparse_recon.evaluate.store import FILE_NAME, ScoreStore
from sparse_recon.types import TriangleMesh

EXAMPLES = "examples"

OnScore = Callable[[Score, int, int], None]


@dataclass(frozen=True, eq=False)
class Study:
    """What is to be measured.

    Attributes
    ----------
    objects : each name once.
    methods : names of `method_names()`; none for all.
    config : parameters of the sessions that complete.
    example_method : method whose answers are kept for a contact sheet; empty for none.
    """

    objects: tuple[ScoredObject, ...]
    protocol: Protocol = field(default_factory=Protocol)
    methods: tuple[str, ...] = ()
    config: SessionConfig = field(default_factory=SessionConfig)
    example_method: str = ""

    def __post_init__(self) -> None:
        check_methods(self.methods)
        object.__setattr__(self, "methods", self.methods or method_names())

    def keys(self, task: _Task) -> Iterator[Key]:
        """Yield what one task has to score."""
        for views, method in itertools.product(self.protocol.views, self.methods):
            yield (task.scored.name, task.condition, views, task.seed, method)

    def tasks(self) -> list[_Task]:
        """Return the objects under all conditions: what is rendered once, for all views and methods."""
        seeds = range(self.protocol.seed, self.protocol.seed + self.protocol.repeats)
        return [
            _Task(scored, condition, seed)
            for seed, condition, scored in itertools.product(seeds, self.protocol.conditions, self.objects)
        ]


@dataclass(frozen=True, eq=False)
class _Task:
    scored: ScoredObject
    condition: str
    seed: int


def evaluate(
    study: Study, folder: Path, *, jobs: int = 1, on_score: OnScore | None = None
) -> tuple[Results, tuple[str, ...]]:
    """Score all that is not in `folder` yet.

    Parameters
    ----------
    folder : where scores and examples are kept as they come; a run that was stopped goes on there.
    jobs : processes. With more than one, each keeps to one thread, and times are those of a busy machine.
    on_score : called after each score with it, the number of scores there are, and of those wanted.

    Returns
    -------
    The results of this study, and warnings about its objects.

    Raises
    ------
    InputError
        MESH_INVALID for an object that cannot be the truth of anything.
    FileError
        If the folder cannot be written, or holds the scores of another protocol.
    ModelError
        If a model cannot be loaded: it is not scored as bad, but as not there.
    """
    records, warnings = _records(study)
    _check_models(study)
    wanted = [key for task in study.tasks() for key in study.keys(task)]
    with ScoreStore(folder / FILE_NAME, study.protocol.as_dict(), records, versions()) as store:
        missing = [(task, todo) for task in study.tasks() if (todo := [k for k in study.keys(task) if k not in store])]
        done = len(wanted) - sum(len(todo) for _, todo in missing)
        for score in _scores(study, folder, missing, jobs):
            store.append(score)
            done += 1
            if on_score is not None:
                on_score(score, done, len(wanted))
        keys = set(wanted)
        scores = tuple(score for score in store.scores if score.key in keys)
        return Results(study.protocol.as_dict(), records, scores, store.versions, machine()), warnings


def _records(study: Study) -> tuple[dict[str, ObjectRecord], tuple[str, ...]]:
    records: dict[str, ObjectRecord] = {}
    warnings: list[str] = []
    for scored in study.objects:
        shape = scored.load()
        mesh = TriangleMesh(shape.vertices_obj.astype("float32"), shape.faces)
        warnings += check_true_mesh(mesh, scored.name)
        records[scored.name] = ObjectRecord(scored.sha256(), 1e3 * diameter(shape.vertices_obj), scored.origin)
    return records, tuple(warnings)


def _check_models(study: Study) -> None:
    contestant = Contestant(study.config)
    for method in study.methods:
        contestant.load(method)


def _scores(study: Study, folder: Path, missing: list[tuple[_Task, list[Key]]], jobs: int) -> Iterator[Score]:
    if jobs <= 1 or len(missing) <= 1:
        contestant = Contestant(study.config)
        for task, todo in missing:
            yield from _run(study, contestant, folder, task, todo)
        return
    context = get_context("spawn")
    stop = context.Event()
    with _one_thread_each(), ProcessPoolExecutor(jobs, context, _start, (study, folder, stop)) as pool:
        futures = [pool.submit(_run_in_worker, task, todo) for task, todo in missing]
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


def _run(study: Study, contestant: Contestant, folder: Path, task: _Task, todo: Sequence[Key]) -> Iterator[Score]:
    full = make_case(task.scored, task.condition, task.seed, study.protocol)
    examiner = Examiner(full, study.protocol)
    for _, _, views, _, method in todo:
        case = full.seen_from(views)
        try:
            contestant.load(method)
            with PeakMemory() as memory:
                prediction = contestant.predict(method, case)
            yield examiner.score(method, case, prediction, memory.peak_mb)
        except Exception as error:  # also a library's: one bad case must not end a study of hours
            yield refused(method, case, error)
            continue
        if method == study.example_method:
            save_example(folder / EXAMPLES / method, case, prediction)


_worker: tuple[Study, Contestant, Path, Event]


def _start(study: Study, folder: Path, stop: Event) -> None:
    global _worker
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one tells the others
    cv2.setNumThreads(1)
    _worker = (study, Contestant(study.config), folder, stop)


def _run_in_worker(task: _Task, todo: Sequence[Key]) -> list[Score]:
    study, contestant, folder, stop = _worker
    return list(itertools.takewhile(lambda _: not stop.is_set(), _run(study, contestant, folder, task, todo)))


class _one_thread_each:
    """Children started inside keep their libraries to one thread."""

    _NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._NAMES}
        os.environ.update(dict.fromkeys(self._NAMES, "1"))

    def __exit__(self, *exception: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
