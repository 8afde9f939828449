"""Scores side by side: what was run, in the order of tables, and which scores are of the same case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sparse_recon.lab.evaluate.protocol import CONDITIONS
from sparse_recon.lab.evaluate.quantities import Quantity
from sparse_recon.lab.evaluate.results import Results, Score
from sparse_recon.lab.evaluate.statistics import DRAWS, Paired, paired, per_object
from sparse_recon.types import Float64

Case = tuple[str, str, int, int]

BASELINES = ("observed", "tsdf", "hull", "carved_hull", "poisson", "mirror")
TRUTH = "truth"


def in_order(methods: Iterable[str]) -> list[str]:
    """Return methods in the order of tables: baselines, then models by name, then the truth."""

    def place(method: str) -> tuple[int, str]:
        if method in BASELINES:
            return BASELINES.index(method), method
        return len(BASELINES) + (method == TRUTH), method

    return sorted(set(methods), key=place)


def conditions_of(results: Results) -> list[str]:
    """Return the conditions that have scores."""
    found = {condition for condition, _, _ in results.groups}
    return [c for c in CONDITIONS if c in found] + sorted(found - set(CONDITIONS))


def views_of(results: Results, condition: str) -> list[int]:
    """Return the numbers of views that have scores under a condition."""
    return sorted({views for c, views, _ in results.groups if c == condition})


def methods_of(results: Results, condition: str) -> list[str]:
    """Return the methods that have scores under a condition."""
    return in_order(method for c, _, method in results.groups if c == condition)


def matched(first: Iterable[Score], second: Iterable[Score], metric: str) -> tuple[tuple[str, ...], Float64, Float64]:
    """Pair two methods by object, over the cases that both answered and in which both have the metric.

    Returns
    -------
    K names, and (K,) values of the first and of the second, seeds averaged.
    """
    one, other = _by_case(first, metric), _by_case(second, metric)
    cases = sorted(set(one) & set(other))
    names, a = per_object([case[0] for case in cases], [one[case] for case in cases])
    _, b = per_object([case[0] for case in cases], [other[case] for case in cases])
    return names, a, b


def compared(
    quantity: Quantity, first: Iterable[Score], second: Iterable[Score], *, draws: int = DRAWS, seed: int = 0
) -> Paired:
    """Compare two methods in a metric, as costs: a negative difference says that the second is better."""
    _, a, b = matched(first, second, quantity.name)
    return paired(quantity.cost(a), quantity.cost(b), draws=draws, seed=seed)


def answered_by_all(groups: Iterable[Sequence[Score]]) -> set[Case]:
    """Return the cases that every method answered."""
    answered = [{case_of(score) for score in scores if score.answered} for scores in groups]
    return set.intersection(*answered) if answered else set()


def case_of(score: Score) -> Case:
    """Return the case of a score: object, condition, views, seed."""
    return (score.object, score.condition, score.views, score.seed)


def _by_case(scores: Iterable[Score], metric: str) -> dict[Case, float]:
    return {case_of(s): s.metrics[metric] for s in scores if s.answered and metric in s.metrics}


def changed_most(
    names: Sequence[str], first: Float64, second: Float64, quantity: Quantity, count: int
) -> list[tuple[str, float, float]]:
    """Return up to `count` objects whose cost changed most, with both values; not those without change."""
    change = np.abs(quantity.cost(second) - quantity.cost(first))
    order = [i for i in np.argsort(-change, kind="stable") if change[i] > 0][:count]
    return [(names[i], float(first[i]), float(second[i])) for i in order]
