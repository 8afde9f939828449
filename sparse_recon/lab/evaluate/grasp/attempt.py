"""The best grasp of one source in one case: planned on what the source knows, executed on the true object."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from sparse_recon.errors import ErrorCode, InputError, MeshError, SparseReconError, clipped
from sparse_recon.lab.evaluate.cases import Case
from sparse_recon.lab.evaluate.grasp.geometry import GivenGeometry, given_mesh, given_prediction
from sparse_recon.lab.evaluate.grasp.parts import object_parts
from sparse_recon.lab.evaluate.grasp.sampling import Grasp, sample_grasps
from sparse_recon.lab.evaluate.grasp.trial import Outcome, Trial, execute, stands_still
from sparse_recon.lab.evaluate.grasp.world import Physics, TrueObject, true_object
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.results import Score

# Why a case counts for no source, by the number that is stored.
EXCLUDED: Mapping[int, str] = {
    1: "no grasp is found on the true object itself",
    2: "the true object does not stand by itself",
    3: "the true object has no convex parts",
}
SUCCESS, OUTCOME, EXCLUSION = "grasp_success", "grasp_outcome", "grasp_excluded"
SCORE, CONFIDENCE = "grasp_score", "grasp_confidence"
FALLBACK = "grasp_success_fallback"


@dataclass(frozen=True, eq=False)
class Attempt:
    """What a source planned on, its best grasp, and how that went; no grasp, no trial.

    Attributes
    ----------
    fallback : the trial of the best grasp that touches the best estimate of the surface nowhere, where none keeps away
        from the conservative mesh; else `trial`.
    """

    given: GivenGeometry
    grasp: Grasp | None
    trial: Trial
    fallback: Trial
    timings_s: Mapping[str, float] = field(default_factory=dict)


class GraspCase:
    """One case, seen from some sides, for all sources: the same hidden mass, friction and samples.

    Parameters
    ----------
    case : of which the scene's first object is the one to grasp.
    cache : folder of convex parts.
    """

    def __init__(self, case: Case, cache: Path) -> None:
        self.case = case
        self._cache = cache
        key = [case.seed, len(case.frames), *case.name.encode(), 0, *case.condition.encode()]
        rng = np.random.default_rng(key)
        self.physics = Physics.drawn(rng)
        self._seed = int(rng.integers(2**31))

    @cached_property
    def true(self) -> TrueObject:
        """The object as it is.

        Raises
        ------
        MeshError
            If it cannot be decomposed.
        """
        thing = self.case.scene.objects[0]
        parts = object_parts(thing.shape.vertices_obj, thing.shape.faces, self._cache)
        return true_object(self.case.truth, parts, thing.T_world_obj, self.case.scene.table_z_m)

    @cached_property
    def excluded(self) -> int:
        """0, or the number in `EXCLUDED` of why this case says nothing about sources."""
        try:
            if self._planned(given_mesh(self.case.truth, seed=self._seed)) is None:
                return 1
            return 0 if stands_still(self.true, self.physics) else 2
        except (MeshError, InputError):
            return 3

    def attempt(self, prediction: Prediction, *, record: bool = False) -> Attempt:
        """Plan on a prediction and execute the best grasp.

        Raises
        ------
        InputError
            If the prediction has no surface to grasp.
        DependencyError
            If MuJoCo cannot be imported.
        """
        started = time.perf_counter()
        given = given_prediction(prediction, seed=self._seed)
        grasp = self._planned(given)
        planned = time.perf_counter()
        trial = self._executed(grasp, record)
        seconds = {"plan_grasp": planned - started, "execute_grasp": time.perf_counter() - planned}
        fallback = trial
        if grasp is None and prediction.conservative is not None:
            daring = given_prediction(replace(prediction, conservative=None), seed=self._seed)
            fallback = self._executed(self._planned(daring), False)
        return Attempt(given, grasp, trial, fallback, seconds)

    def score(self, method: str, attempt: Attempt, timings_s: Mapping[str, float]) -> Score:
        """Return an attempt as it is stored."""
        trial, grasp = attempt.trial, attempt.grasp
        metrics = {
            OUTCOME: float(trial.outcome),
            SUCCESS: float(trial.outcome is Outcome.SUCCESS),
            FALLBACK: float(attempt.fallback.outcome is Outcome.SUCCESS),
            "grasp_slip_mm": 1e3 * trial.slip_m,
            "grasp_turn_deg": float(np.rad2deg(trial.turn_rad)),
            "mass_kg": self.physics.mass_kg,
            "friction": self.physics.friction,
        }
        if grasp is not None:
            metrics |= {SCORE: grasp.score, CONFIDENCE: grasp.contact_confidence, "width_mm": 1e3 * grasp.width_m}
        message = f"hit the {trial.hit}" if trial.hit else ""
        return self._score(method, metrics, message=message, timings_s={**timings_s, **attempt.timings_s})

    def no_grasp(self, method: str, error: Exception) -> Score:
        """Return the score of a source without any geometry: it grasps nothing."""
        code = error.code if isinstance(error, SparseReconError) else ErrorCode.INTERNAL
        message = (
            error.message if isinstance(error, SparseReconError) else f"{type(error).__name__}: {clipped(str(error))}"
        )
        metrics = {OUTCOME: float(Outcome.NO_GRASP), SUCCESS: 0.0, FALLBACK: 0.0}
        return replace(self._score(method, metrics, message=message), code=code.name)

    def exclusion(self, method: str) -> Score:
        """Return the score that says why this case does not count."""
        return self._score(method, {EXCLUSION: float(self.excluded)}, message=EXCLUDED[self.excluded])

    def _executed(self, grasp: Grasp | None, record: bool) -> Trial:
        return Trial(Outcome.NO_GRASP) if grasp is None else execute(self.true, self.physics, grasp, record=record)

    def _planned(self, given: GivenGeometry) -> Grasp | None:
        found = sample_grasps(given, self.case.scene.table_z_m, seed=self._seed, wanted=1)
        return found[0] if found else None

    def _score(
        self,
        method: str,
        metrics: Mapping[str, float],
        *,
        message: str = "",
        timings_s: Mapping[str, float] | None = None,
    ) -> Score:
        case = self.case
        return Score(
            case.name,
            case.condition,
            len(case.frames),
            case.seed,
            method,
            message=message,
            metrics=metrics,
            timings_s=timings_s or {},
        )
