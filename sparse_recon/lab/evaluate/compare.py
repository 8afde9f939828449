"""What got better or worse between two evaluations, case by case, and by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, ErrorCode, InputError
from sparse_recon.lab.evaluate.markdown import aligned, interval, named, p_text, shown_difference, sides, wrapped
from sparse_recon.lab.evaluate.pairing import changed_most, matched
from sparse_recon.lab.evaluate.quantities import Quantity, quantity
from sparse_recon.lab.evaluate.results import Group, Key, Results, Score, differences
from sparse_recon.lab.evaluate.statistics import DRAWS, Paired, holm, paired

JUDGED = (
    *("chamfer_mm", "chamfer_mm_inferred", "f_2pct", "iou_pct", "in_empty_pct"),
    *("missed_pct", "wasted_pct", "ece", "coverage90_pct"),
)
REPORTED = ("seconds", "peak_memory_mb")  # of the machine as well as of the code
SIGNIFICANT = 0.05
_MOST_CHANGED = 3
_UNCLEAR_SHOWN = 5


@dataclass(frozen=True)
class Change:
    """One metric of one method under one condition.

    Attributes
    ----------
    old, new : medians over the objects that both evaluations have.
    test : of costs, so a negative difference is better.
    p_value : corrected over all judged metrics; NaN for a metric that is not judged.
    most : objects that changed most, with their values.
    """

    condition: str
    views: int
    method: str
    metric: str
    old: float
    new: float
    test: Paired
    p_value: float
    most: tuple[tuple[str, float, float], ...]

    @property
    def verdict(self) -> str:
        """`same` to the last digit, `better` or `worse` beyond chance, or `unclear`."""
        if self.test.better == self.test.worse == 0:
            return "same"
        if not self.p_value < SIGNIFICANT:
            return "unclear"
        difference = self.test.difference.value or self.test.worse - self.test.better
        return "better" if difference < 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """Two evaluations on the cases that both have.

    Attributes
    ----------
    judged, reported : changes of `JUDGED` metrics, and of `REPORTED` ones.
    codes : cases whose code changed: key, old and new code.
    cases, only_old, only_new : scores in both, and in one alone.
    notes : sentences on what makes the two less comparable.
    agree : whether all is the same but times, memory and versions.
    """

    judged: tuple[Change, ...]
    reported: tuple[Change, ...]
    codes: tuple[tuple[Key, str, str], ...]
    cases: int
    only_old: int
    only_new: int
    notes: tuple[str, ...]
    agree: bool

    @property
    def answers_lost(self) -> dict[str, int]:
        """Methods that answer fewer cases than before, and how many fewer."""
        lost = Counter(key[4] for key, old, _ in self.codes if old == ErrorCode.OK.name)
        lost.subtract(key[4] for key, _, new in self.codes if new == ErrorCode.OK.name)
        return {method: count for method, count in sorted(lost.items()) if count > 0}

    @property
    def exit_status(self) -> int:
        """0; 1 if a metric is worse beyond chance, or a method answers fewer cases."""
        worse = any(change.verdict == "worse" for change in self.judged)
        return EXIT_FAILED if worse or self.answers_lost else EXIT_DONE


def compare(old: Results, new: Results, *, metrics: Sequence[str] = JUDGED, draws: int = DRAWS) -> Comparison:
    """Compare two evaluations on the cases (object, condition, views, seed) and methods that both have.

    Objects whose mesh is not the same in both are left out. Different protocols are compared, and noted.

    Raises
    ------
    InputError
        USAGE if the two have no case in common.
    """
    changed = differences(old.protocol, new.protocol)
    notes = [f"The protocols differ: {'; '.join(changed)}."] if changed else []
    other = {n for n, o in old.objects.items() if n in new.objects and new.objects[n].sha256 != o.sha256}
    if other:
        notes.append(f"Left out, because their meshes are not the same: {', '.join(sorted(other))}.")
    before = {s.key: s for s in old.scores if s.object not in other}
    after = {s.key: s for s in new.scores if s.object not in other}
    both = sorted(set(before) & set(after))
    if not both:
        raise InputError(
            ErrorCode.USAGE,
            "the two evaluations have no case in common: no object, condition, number of views, seed and method is in "
            f"both. {' '.join(notes)} Compare runs of the same objects and seeds",
        )
    notes += _metrics_lost([(before[key], after[key]) for key in both], metrics)
    one = replace(old, scores=tuple(before[key] for key in both))
    two = replace(new, scores=tuple(after[key] for key in both))
    return Comparison(
        _corrected(_changes(one, two, metrics, draws)),
        tuple(_changes(one, two, REPORTED, draws)),
        tuple((k, before[k].code, after[k].code) for k in both if before[k].code != after[k].code),
        len(both),
        len(before) - len(both),
        len(after) - len(both),
        tuple(notes),
        old.fingerprint() == new.fingerprint(),
    )


def _metrics_lost(pairs: Sequence[tuple[Score, Score]], metrics: Sequence[str]) -> list[str]:
    """Return a sentence for each metric that a method had and has not now, though it answered the case both times."""
    lost = Counter(
        (old.method, metric)
        for old, new in pairs
        for metric in metrics
        if old.answered and new.answered and metric in old.metrics and metric not in new.metrics
    )
    return [
        f"{method} has no {metric} in {count} cases that had it." for (method, metric), count in sorted(lost.items())
    ]


def _changes(old: Results, new: Results, metrics: Sequence[str], draws: int) -> Iterator[Change]:
    for group, scores in old.groups.items():
        for metric in metrics:
            names, a, b = matched(scores, new.groups[group], metric)
            if len(names):
                yield _change(group, quantity(metric), names, (a, b), draws)


def _change(
    group: Group, q: Quantity, names: Sequence[str], values: tuple[np.ndarray, np.ndarray], draws: int
) -> Change:
    a, b = values
    statistic = np.median if q.statistic == "median" else np.mean
    most = tuple(changed_most(names, a, b, q, _MOST_CHANGED))
    test = paired(q.cost(a), q.cost(b), draws=draws)
    return Change(*group, q.name, float(statistic(a)), float(statistic(b)), test, np.nan, most)


def _corrected(changes: Iterator[Change]) -> tuple[Change, ...]:
    """Correct p over the metrics that changed at all: the others need no test."""
    found = tuple(changes)
    p_values = holm([np.nan if change.verdict == "same" else change.test.p_value for change in found])
    return tuple(replace(change, p_value=float(p)) for change, p in zip(found, p_values, strict=True))


def report(comparison: Comparison, old: Results, new: Results) -> str:
    """Return the comparison as text for a terminal."""
    c = comparison
    parts = [
        wrapped(f"Old: {named(old.versions)}; {named(old.machine)}."),
        wrapped(f"New: {named(new.versions)}; {named(new.machine)}."),
        wrapped(
            f"{c.cases} scores are in both, {c.only_old} only in the old and {c.only_new} only in the new results. "
            + " ".join(c.notes)
        ),
    ]
    if c.agree:
        return "\n\n".join([*parts, "All that must agree agrees: no number has changed but times and memory.\n"])
    for verdict in ("worse", "better"):
        parts += _section(verdict.capitalize(), [x for x in c.judged if x.verdict == verdict])
    unclear = sorted((x for x in c.judged if x.verdict == "unclear"), key=lambda x: x.test.p_value)
    parts += _section(f"Changed, but no more than by chance (the first {_UNCLEAR_SHOWN})", unclear[:_UNCLEAR_SHOWN])
    counts = Counter(change.verdict for change in c.judged)
    parts.append(
        wrapped(
            f"Of {len(c.judged)} comparisons {counts['worse']} are worse, {counts['better']} better, "
            f"{counts['unclear']} unclear and {counts['same']} the same to the last digit. Numbers are medians over "
            "objects, or means of what most objects have none of; p: two-sided Wilcoxon signed-rank test, "
            f"Holm-corrected over {len(c.judged) - counts['same']} tests; worse and better: p < {SIGNIFICANT:g}."
        )
    )
    parts += _codes(c)
    parts += _section("Time and memory (not judged)", [x for x in c.reported if x.verdict != "same"], most=False)
    return "\n\n".join(parts) + "\n"


def _section(title: str, changes: Sequence[Change], most: bool = True) -> list[str]:
    if not changes:
        return []
    header = ["method", "metric", "condition", "views", "old", "new", "difference", "better", "worse", "p"]
    parts = [f"{title}:", aligned(header, [_row(change) for change in changes], left=3)]
    if most:
        first = {(x.method, x.condition, x.views): x for x in reversed(changes)}
        parts.append(
            "Objects that changed most:\n" + "\n".join(f"  {_most(x)}" for x in changes if x in first.values())
        )
    return parts


def _row(change: Change) -> list[str]:
    q = quantity(change.metric)
    return [
        *(change.method, q.title, change.condition, str(change.views), q.text(change.old), q.text(change.new)),
        interval(q, shown_difference(q, change.test.difference)),
        *(f"{100 * share:.0f} %" for share in (change.test.better, change.test.worse)),
        p_text(change.p_value),
    ]


def _most(change: Change) -> str:
    q = quantity(change.metric)
    objects = ", ".join(f"{name} {q.text(a)} -> {q.text(b)}" for name, a, b in change.most)
    return f"{change.method}, {change.condition}, {sides(change.views)}, {q.title}: {objects}"


def _codes(comparison: Comparison) -> list[str]:
    if not comparison.codes:
        return []
    rows = [
        [method, name, condition, str(views), str(seed), f"{old} -> {new}"]
        for (name, condition, views, seed, method), old, new in comparison.codes
    ]
    lost = [f"{method} answers {count} fewer" for method, count in comparison.answers_lost.items()]
    header = ["method", "object", "condition", "views", "seed", "answer"]
    return [
        f"Cases answered differently ({', '.join(lost) or 'no method answers fewer'}):",
        aligned(header, rows, left=3),
    ]
