"""Grasps of all sources in all cases: parallel by process, resumable, the same result in whatever order it is made."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sparse_recon.errors import DependencyError
from sparse_recon.lab.evaluate.cases import diameter, make_case
from sparse_recon.lab.evaluate.environment import machine, versions
from sparse_recon.lab.evaluate.grasp import sampling, trial, world
from sparse_recon.lab.evaluate.grasp.attempt import GraspCase
from sparse_recon.lab.evaluate.grasp.geometry import SURFACE_POINTS
from sparse_recon.lab.evaluate.grasp.gripper import MAX_OPENING_M
from sparse_recon.lab.evaluate.grasp.parts import PARTS_TOLERANCE_M
from sparse_recon.lab.evaluate.methods import Contestant
from sparse_recon.lab.evaluate.processes import scores_of
from sparse_recon.lab.evaluate.results import Key, ObjectRecord, Results, Score
from sparse_recon.lab.evaluate.runner import OnScore, Study, Task
from sparse_recon.lab.evaluate.store import ScoreStore

FILE_NAME = "grasps.jsonl"
PARTS = "parts"
FORMAT = 2  # of planner and trial: scores of another one are no scores of this study


def settings() -> dict[str, Any]:
    """Return the conditions of a grasp trial beside the protocol, as JSON holds them."""
    return {
        "grasp_format": FORMAT,
        "grasp_surface_points": SURFACE_POINTS,
        "grasp_cone_friction": sampling.FRICTION,
        "grasp_approaches": sampling.APPROACHES,
        "grasp_jaw_m": MAX_OPENING_M,
        "grasp_force_n": world.GRIP_FORCE_N,
        "grasp_mass_kg": list(world.MASS_RANGE_KG),
        "grasp_friction": list(world.FRICTION_RANGE),
        "grasp_parts_tolerance_m": PARTS_TOLERANCE_M,
        "grasp_collision_depth_m": trial.COLLISION_DEPTH_M,
        "grasp_lift_m": trial.LIFT_M,
        "grasp_shake": [trial.SHAKE_M, trial.SHAKE_RAD, trial.SHAKE_HZ],
        "grasp_max_slip_m": trial.MAX_SLIP_M,
    }


def run_study(
    study: Study, folder: Path, *, jobs: int = 1, cache: Path | None = None, on_score: OnScore | None = None
) -> Results:
    """Grasp every object of a study once for each of its conditions, views, seeds and methods.

    The metric `grasp_success` is 1 or 0, `grasp_outcome` a number of `trial.Outcome`; cases that count for no source
    have `grasp_excluded` instead, a number of `attempt.EXCLUDED`.

    Parameters
    ----------
    folder : where scores are kept as they come; a run that was stopped goes on there.
    jobs : processes.
    cache : folder of convex parts of the objects, which take up to a minute each; None for one below `folder`.
    on_score : called after each score with it, the number of scores there are, and of those wanted.

    Raises
    ------
    DependencyError
        If MuJoCo or CoACD is not installed.
    FileError
        If a folder cannot be written, or holds the scores of another protocol.
    ModelError
        If a model cannot be loaded, or a process dies.
    """
    world.load_mujoco()
    _check_methods(study)
    protocol = {**study.protocol.as_dict(), **settings()}
    records = {scored.name: _record(scored) for scored in study.objects}
    wanted = [key for task in study.tasks() for key in study.keys(task)]
    found = {**versions(), "mujoco": _mujoco_version()}
    with ScoreStore(Path(folder) / FILE_NAME, protocol, records, found) as store:
        missing = study.missing(store)
        done = len(wanted) - sum(len(todo) for _, todo in missing)
        for score in scores_of(_Grasping(study, cache or Path(folder) / PARTS), missing, jobs):
            store.append(score)
            done += 1
            if on_score is not None:
                on_score(score, done, len(wanted))
        keys = set(wanted)
        scores = tuple(score for score in store.scores if score.key in keys)
        return Results(protocol, records, scores, store.versions, machine())


def _record(scored: Any) -> ObjectRecord:
    return ObjectRecord(scored.sha256(), 1e3 * diameter(scored.load().vertices_obj), scored.origin)


def _check_methods(study: Study) -> None:
    contestant = Contestant(study.config)
    for method in study.methods:
        contestant.load(method)


def _mujoco_version() -> str:
    return str(world.load_mujoco().__version__)


@dataclass(frozen=True, eq=False)
class _Grasping:
    """Grasps what is missing of a task."""

    study: Study
    cache: Path

    @cached_property
    def contestant(self) -> Contestant:
        return Contestant(self.study.config)

    def __call__(self, missing: tuple[Task, list[Key]]) -> Iterator[Score]:
        task, todo = missing
        full = make_case(task.scored, task.condition, task.seed, replace(self.study.protocol, novel_views=0))
        for views, keys in itertools.groupby(todo, key=lambda key: key[2]):
            case = full.seen_from(views)
            scene = GraspCase(case, self.cache)
            for *_, method in keys:
                if scene.excluded:
                    yield scene.exclusion(method)
                    continue
                try:
                    prediction = self.contestant.predict(method, case)
                    yield scene.score(method, scene.attempt(prediction), prediction.timings_s)
                except DependencyError:
                    raise
                except Exception as error:  # also a library's: one bad case must not end a study of hours
                    yield scene.no_grasp(method, error)
