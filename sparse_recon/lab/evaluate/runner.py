"""Run methods over cases: in parallel, resumable, the same result in whatever order the work is done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import DependencyError
from sparse_recon.lab.evaluate.cases import diameter, make_case
from sparse_recon.lab.evaluate.environment import machine, versions
from sparse_recon.lab.evaluate.examples import save_example
from sparse_recon.lab.evaluate.methods import Contestant, check_methods, ready_methods
from sparse_recon.lab.evaluate.metrics.checks import check_true_mesh
from sparse_recon.lab.evaluate.objects import ScoredObject
from sparse_recon.lab.evaluate.peak_memory import PeakMemory
from sparse_recon.lab.evaluate.processes import scores_of
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.results import Key, ObjectRecord, Results, Score
from sparse_recon.lab.evaluate.scoring import Examiner, refused
from sparse_recon.lab.evaluate.store import FILE_NAME, ScoreStore
from sparse_recon.types import TriangleMesh

EXAMPLES = "examples"

OnScore = Callable[[Score, int, int], None]


@dataclass(frozen=True, eq=False)
class Study:
    """What is to be measured.

    Attributes
    ----------
    objects : each name once.
    methods : names of `method_names()`; none for all that need no weights from elsewhere.
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
        object.__setattr__(self, "methods", self.methods or ready_methods())

    def keys(self, task: Task) -> Iterator[Key]:
        """Yield what one task has to score."""
        for views, method in itertools.product(self.protocol.views, self.methods):
            yield (task.scored.name, task.condition, views, task.seed, method)

    def tasks(self) -> list[Task]:
        """Return the objects under all conditions and seeds."""
        seeds = range(self.protocol.seed, self.protocol.seed + self.protocol.repeats)
        return [
            Task(scored, condition, seed)
            for seed, condition, scored in itertools.product(seeds, self.protocol.conditions, self.objects)
        ]

    def missing(self, store: ScoreStore) -> list[tuple[Task, list[Key]]]:
        """Return the tasks that are not done, each with what is not scored yet."""
        found = [(task, [key for key in self.keys(task) if key not in store]) for task in self.tasks()]
        return [(task, todo) for task, todo in found if todo]


@dataclass(frozen=True, eq=False)
class Task:
    """What is rendered once, for all views and methods."""

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
        missing = study.missing(store)
        done = len(wanted) - sum(len(todo) for _, todo in missing)
        for score in scores_of(_Scoring(study, folder), missing, jobs):
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


@dataclass(frozen=True, eq=False)
class _Scoring:
    """Scores what is missing of a task."""

    study: Study
    folder: Path

    @cached_property
    def contestant(self) -> Contestant:
        return Contestant(self.study.config)

    def __call__(self, missing: tuple[Task, list[Key]]) -> Iterator[Score]:
        task, todo = missing
        full = make_case(task.scored, task.condition, task.seed, self.study.protocol)
        examiner = Examiner(full, self.study.protocol)
        for _, _, views, _, method in todo:
            case = full.seen_from(views)
            try:
                self.contestant.load(method)
                with PeakMemory() as memory:
                    prediction = self.contestant.predict(method, case)
                score = examiner.score(method, case, prediction, memory.peak_mb)
            except (DependencyError, MemoryError):
                raise
            except Exception as error:  # also a library's: one bad case must not end a study of hours
                yield refused(method, case, error)
                continue
            if method == self.study.example_method:
                save_example(self.folder / EXAMPLES / method, case, prediction)
            yield score
