"""How often grasps succeed, how sure that is, and what refusing the least certain ones is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.lab.evaluate.grasp.attempt import CONFIDENCE, EXCLUSION, FALLBACK, OUTCOME, SCORE, SUCCESS
from sparse_recon.lab.evaluate.grasp.trial import Outcome
from sparse_recon.lab.evaluate.pairing import Case, case_of
from sparse_recon.lab.evaluate.results import Score
from sparse_recon.lab.evaluate.statistics import Estimate, McNemar, mcnemar, wilson
from sparse_recon.types import Float64

REFERENCE = "observed"
COVERAGES = (0.9, 0.7, 0.5)


@dataclass(frozen=True)
class Tally:
    """Trials of one method: the share that succeeded, with and without fallback, and how many ended how."""

    success: Estimate
    fallback: Estimate
    outcomes: Counter[Outcome]


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Success among the most certain grasps: shares of all cases that are tried, (K,) rising, and success of those."""

    coverage: Float64
    success: Float64

    def at(self, coverage: float) -> float:
        """Return the success when that share of all cases is tried; NaN where there are not so many grasps."""
        enough = np.flatnonzero(self.coverage >= coverage - 1e-9)
        return float(self.success[enough[0]]) if len(enough) else float("nan")


def counted(scores: Iterable[Score]) -> tuple[Score, ...]:
    """Return the scores of cases that count."""
    return tuple(score for score in scores if EXCLUSION not in score.metrics)


def tally(scores: Iterable[Score]) -> Tally:
    """Count trials; a method that gave no geometry, or no grasp, has failed."""
    trials = counted(scores)
    outcomes = Counter(Outcome(int(score.metrics[OUTCOME])) for score in trials)
    fallback = sum(score.metrics.get(FALLBACK, score.metrics[SUCCESS]) > 0 for score in trials)
    return Tally(wilson(outcomes[Outcome.SUCCESS], len(trials)), wilson(fallback, len(trials)), outcomes)


def against(first: Iterable[Score], second: Iterable[Score]) -> McNemar:
    """Compare two methods on the cases that both have: exact McNemar test of who succeeded."""
    one, other = _successes(first), _successes(second)
    cases = sorted(set(one) & set(other))
    return mcnemar([one[case] for case in cases], [other[case] for case in cases])


def certainty(score: Score) -> float:
    """Return how certain a method was: of the contacts, where it claims that, else its rank; NaN without a grasp."""
    return score.metrics.get(CONFIDENCE, score.metrics.get(SCORE, float("nan")))


def risk_coverage(scores: Iterable[Score]) -> RiskCoverage:
    """Try the most certain grasps only (Geifman and El-Yaniv 2017); cases without a grasp are never tried."""
    trials = counted(scores)
    tried = sorted((s for s in trials if SCORE in s.metrics), key=lambda s: (-certainty(s), -s.metrics[SCORE], s.key))
    number = np.arange(1, len(tried) + 1)
    success = np.cumsum([score.metrics[SUCCESS] for score in tried]) if tried else np.zeros(0)
    return RiskCoverage(number / max(len(trials), 1), success / number)


def exclusions(scores: Sequence[Score]) -> Counter[int]:
    """Count the cases that count for no method, by the numbers of `attempt.EXCLUDED`."""
    cases = {case_of(score): int(score.metrics[EXCLUSION]) for score in scores if EXCLUSION in score.metrics}
    return Counter(cases.values())


def _successes(scores: Iterable[Score]) -> dict[Case, bool]:
    return {case_of(score): score.metrics[SUCCESS] > 0 for score in counted(scores)}
