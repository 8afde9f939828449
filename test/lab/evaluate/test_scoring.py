"""What is scored of several answers, and of shells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparse_recon.lab.evaluate.cases import Case, make_case
from sparse_recon.lab.evaluate.objects import ScoredObject, procedural_objects
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.quantities import QUANTITIES
from sparse_recon.lab.evaluate.scoring import Examiner
from sparse_recon.types import SurfaceHypothesis, TriangleMesh

PROTOCOL = Protocol(
    views=(1,), width_px=320, height_px=240, novel_views=0, distance_far_m=0.6, samples=4000, volume_samples=20_000
)
BOWL, BOX = procedural_objects(3)[1:3]
SEVERAL = {
    *("best_f_2pct", "hypothesis_f_2pct", "hidden_missed_pct", "hidden_outside_pct", "pairwise_mm"),
    *("energy_mm", "energy_answer_mm"),
}


def examiner_of(scored: ScoredObject) -> Examiner:
    return Examiner(make_case(scored, "clean", 0, PROTOCOL), PROTOCOL)


@pytest.fixture(scope="module")
def box() -> Examiner:
    return examiner_of(BOX)


def scaled(case: Case, factor: float) -> TriangleMesh:
    """The true surface, larger or smaller about the middle of its foot."""
    vertices = case.truth.vertices_world.astype(np.float64)
    foot = np.array([*vertices[:, :2].mean(axis=0), vertices[:, 2].min()])
    return replace(case.truth, vertices_world=(foot + factor * (vertices - foot)).astype(np.float32))


def answer(surface: TriangleMesh, *drawn: TriangleMesh) -> Prediction:
    hypotheses = tuple(SurfaceHypothesis(mesh, 1 / len(drawn)) for mesh in drawn)
    points = surface.vertices_world
    return Prediction(surface, points, np.zeros(len(points), bool), hypotheses=hypotheses)


def scored(examiner: Examiner, prediction: Prediction) -> dict[str, float]:
    return dict(examiner.score("mine", examiner.case, prediction).metrics)


def test_one_answer_has_no_columns_of_several(box: Examiner):
    assert not SEVERAL & set(scored(box, answer(box.case.truth)))
    assert set(QUANTITIES) >= SEVERAL


def test_several_answers_around_the_truth_cover_what_a_small_one_misses(box: Examiner):
    small, true, large = (scaled(box.case, factor) for factor in (0.8, 1.0, 1.2))
    found = scored(box, answer(small, small, true, large))
    assert set(found) >= SEVERAL
    assert found["best_f_2pct"] > 99.0 > found["hypothesis_f_2pct"] > found["f_2pct"]
    assert found["hidden_missed_pct"] > 20.0 and found["hidden_outside_pct"] < 0.5
    assert found["pairwise_mm"] > 2.0
    assert found["energy_mm"] < 0.5 * found["energy_answer_mm"]


def test_the_truth_alone_has_no_energy(box: Examiner):
    found = scored(box, answer(box.case.truth, box.case.truth, box.case.truth))
    assert found["energy_mm"] == pytest.approx(0.0, abs=1e-3) and found["pairwise_mm"] < 0.05


def test_walls_are_scored_of_shells_alone(box: Examiner):
    assert "walls_pct" not in scored(box, answer(box.case.truth))
    bowl = examiner_of(BOWL)
    assert scored(bowl, answer(bowl.case.truth))["walls_pct"] > 99.0
    assert scored(bowl, answer(scaled(bowl.case, 1.3)))["walls_pct"] < 50.0
