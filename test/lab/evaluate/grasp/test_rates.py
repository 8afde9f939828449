"""Rates, comparisons and curves of made-up outcomes are what one counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.lab.evaluate.grasp.attempt import CONFIDENCE, EXCLUSION, FALLBACK, OUTCOME, SCORE, SUCCESS
from sparse_recon.lab.evaluate.grasp.rates import against, certainty, exclusions, risk_coverage, tally
from sparse_recon.lab.evaluate.grasp.trial import Outcome
from sparse_recon.lab.evaluate.results import Score

S, C, D, N = Outcome.SUCCESS, Outcome.COLLISION, Outcome.DROPPED, Outcome.NO_GRASP


def scores(method: str, outcomes, ranks=None, confidences=None, views: int = 1) -> list[Score]:
    made = []
    for i, outcome in enumerate(outcomes):
        metrics = {OUTCOME: float(outcome), SUCCESS: float(outcome is S), FALLBACK: float(outcome in (S, N))}
        if outcome is not N:
            metrics[SCORE] = 0.5 if ranks is None else ranks[i]
            if confidences is not None:
                metrics[CONFIDENCE] = confidences[i]
        made.append(Score(f"o{i}", "clean", views, 0, method, metrics=metrics))
    return made


def excluded(name: str, method: str, reason: int) -> Score:
    return Score(name, "clean", 1, 0, method, metrics={EXCLUSION: float(reason)})


def test_tally_counts_every_failure_and_no_excluded_case():
    found = tally([*scores("m", [S, S, C, N]), excluded("far", "m", 1)])
    assert found.success.value == 0.5 and found.success.count == 4
    assert found.success.low < 0.5 < found.success.high
    assert found.fallback.value == 0.75
    assert (found.outcomes[S], found.outcomes[C], found.outcomes[N], found.outcomes[D]) == (2, 1, 1, 0)


def test_comparison_counts_the_cases_that_only_one_got():
    test = against(scores("m", [S, S, S, C, D]), scores("observed", [S, C, N, S, D]))
    assert (test.first_only, test.second_only) == (2, 1)


def test_comparison_leaves_out_cases_that_only_one_has():
    assert against(scores("m", [S, S, S]), scores("observed", [C, S])).first_only == 1


def test_refusing_the_least_certain_raises_success_where_certainty_is_true():
    curve = risk_coverage(scores("m", [S, S, C, S, D], ranks=[0.9, 0.8, 0.2, 0.7, 0.1]))
    assert curve.coverage == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve.success == pytest.approx([1, 1, 1, 0.75, 0.6])
    assert curve.at(0.6) == 1.0 and curve.at(1.0) == 0.6


def test_cases_without_a_grasp_are_never_tried():
    curve = risk_coverage(scores("m", [S, N, N, C], ranks=[0.9, 0, 0, 0.3]))
    assert curve.coverage == pytest.approx([0.25, 0.5])
    assert np.isnan(curve.at(0.6))


def test_claimed_confidence_goes_before_the_rank():
    claimed = scores("m", [S, C], ranks=[0.1, 0.9], confidences=[0.8, 0.3])
    assert [certainty(score) for score in claimed] == [0.8, 0.3]
    assert risk_coverage(claimed).success[0] == 1.0
    assert np.isnan(certainty(scores("m", [N])[0]))


def test_nothing_grasped_gives_an_empty_curve():
    assert len(risk_coverage(scores("m", [N, N])).coverage) == 0


def test_excluded_cases_count_once_whatever_the_methods():
    found = exclusions([excluded("a", "m", 1), excluded("a", "n", 1), excluded("b", "m", 2)])
    assert found == {1: 1, 2: 1}
