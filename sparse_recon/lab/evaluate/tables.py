"""`table.md`: what was measured and how, then every method in every metric, readable in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.lab.evaluate.calibration_table import calibration
from sparse_recon.lab.evaluate.json_files import dumped, write_text
from sparse_recon.lab.evaluate.markdown import (
    aligned,
    columns,
    interval,
    named,
    p_text,
    shown_difference,
    sides,
    wrapped,
)
from sparse_recon.lab.evaluate.pairing import (
    answered_by_all,
    case_of,
    compared,
    conditions_of,
    in_order,
    methods_of,
    views_of,
)
from sparse_recon.lab.evaluate.protocol import CONDITIONS, Protocol
from sparse_recon.lab.evaluate.quantities import Quantity, quantity
from sparse_recon.lab.evaluate.results import Results, Score, by_object
from sparse_recon.lab.evaluate.statistics import DRAWS, LEVEL, Paired, bootstrap, holm

REFERENCE = "carve"
PAIRED_METRICS = ("chamfer_mm", "f_2pct")
COMMON_METRICS = ("chamfer_mm", "f_2pct", "seconds")


@dataclass(frozen=True)
class Block:
    """Metrics that stand beside each other, with or without the interval."""

    title: str
    metrics: tuple[str, ...]
    interval: bool = False


BLOCKS = (
    Block("Distance of the surface", ("chamfer_mm", "chamfer_pct"), True),
    Block("Distance where no camera looked", ("chamfer_mm_inferred", "chamfer_pct_inferred"), True),
    Block("Share of the surface in place", ("f_2pct", "f_5mm"), True),
    Block("Volume", ("iou_pct",), True),
    Block("Thin walls", ("walls_pct",)),
    Block("Hypotheses, how good", ("best_f_2pct", "hypothesis_f_2pct", "energy_mm", "energy_answer_mm")),
    Block("Hypotheses, what they cover", ("hidden_missed_pct", "hidden_outside_pct", "pairwise_mm")),
    Block("Parts of the error", ("accuracy_mm", "completeness_mm", "chamfer_mm_observed", "normal_consistency")),
    Block("Safety", ("in_empty_pct", "in_empty_conservative_pct", "missed_pct", "wasted_pct")),
    Block("Confidence of inferred points", ("ece", "ause", "spearman", "coverage90_pct")),
    Block("Colour of novel views", ("psnr_db", "ssim")),
    Block("Cost", ("seconds", "peak_memory_mb")),
)


def write_table(results: Results, path: Path, *, reference: str = REFERENCE) -> None:
    """Write `table` to a file; FileError DISK_FULL or OUTPUT_UNWRITABLE."""
    write_text(path, table(results, reference=reference), "the table")


def table(results: Results, *, reference: str = REFERENCE, draws: int = DRAWS) -> str:
    """Return all tables of an evaluation as Markdown, the protocol first.

    Parameters
    ----------
    reference : method that all others are compared with, case by case; without scores of it there is no comparison.
    draws : of the bootstrap.
    """
    parts = ["# Evaluation", *introduction(results, draws)]
    tests = _paired_tests(results, reference, draws)
    for condition in conditions_of(results):
        parts += [f"## {condition}", *([wrapped(f"{CONDITIONS[condition]}.")] if condition in CONDITIONS else [])]
        for block in BLOCKS:
            parts += _block(results, condition, block, draws)
        parts += _stages(results, condition)
        parts += _answers(results, condition)
        parts += _common(results, condition)
        for metric in PAIRED_METRICS:
            parts += _against(tests, condition, metric, reference)
        parts += calibration(results, condition, draws)
    return "\n\n".join(parts) + "\n"


def introduction(results: Results, draws: int = DRAWS) -> list[str]:
    """Return what must stand before any number: protocol, objects, statistics, versions."""
    sets = Counter(found.set for found in results.objects.values())
    counted = ", ".join(f"{count} of {name}" for name, count in sorted(sets.items()))
    sizes = [found.diameter_mm for found in results.objects.values()] or [np.nan]
    return [
        wrapped(protocol_text(results.protocol)),
        wrapped(
            f"Objects: {len(results.objects)} ({counted}), {min(sizes):.0f} to {max(sizes):.0f} mm in diameter. "
            "Numbers are medians over objects (an object's seeds are averaged first) unless a table says means; "
            f"brackets hold the {100 * LEVEL:.0f} % percentile interval of {draws} bootstrap draws over objects. A "
            "count in parentheses says that fewer objects than were answered have the metric; a dash, that none has."
        ),
        wrapped(
            f"Measured with {named(results.versions)}, on {named(results.machine)}. "
            f"Fingerprint {results.fingerprint()[:16]}: the same again for the same protocol, code and libraries."
        ),
    ]


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """Return a stored protocol as a paragraph; one of another version as names and values."""
    if set(protocol) == {field.name for field in fields(Protocol)}:
        return Protocol.of(protocol).text()
    return f"Protocol: {named({k: dumped(v) for k, v in sorted(protocol.items())})}. Alignment: none."


def _block(results: Results, condition: str, block: Block, draws: int) -> list[str]:
    methods, views = methods_of(results, condition), views_of(results, condition)
    there = [m for m in block.metrics if any(m in s.metrics for s in results.scores if s.condition == condition)]
    if not there:
        return []
    quantities = [quantity(name) for name in there]
    cells = {
        method: [_cell(results.group(condition, v, method), q, block, draws) for q in quantities for v in views]
        for method in methods
    }
    rows = [[method, *cells[method]] for method in methods if set(cells[method]) != {"-"}]
    without = [method for method in methods if set(cells[method]) == {"-"}]
    text = "; ".join(q.explained for q in quantities) + "."
    text += f" Without them: {', '.join(without)}." if without else ""
    return [
        f"### {block.title}",
        wrapped(text[:1].upper() + text[1:]),
        aligned(["method", *columns([q.title for q in quantities], views)], rows),
    ]


def _cell(scores: Sequence[Score], q: Quantity, block: Block, draws: int) -> str:
    values = by_object(scores, q.name)
    if not values:
        return "-"
    found = bootstrap(list(values.values()), statistic=q.statistic, draws=draws if block.interval else 0)
    text = interval(q, found) if block.interval else q.text(found.value)
    answered = len({score.object for score in scores if score.answered})
    return text if found.count == answered else f"{text} ({found.count})"


def _stages(results: Results, condition: str) -> list[str]:
    """Return where the time of the methods with more than two stages goes."""
    views, parts = views_of(results, condition), []
    for method in methods_of(results, condition):
        groups = [results.group(condition, v, method) for v in views]
        stages = list(dict.fromkeys(stage for scores in groups for score in scores for stage in score.timings_s))
        if len(stages) < 3:
            continue
        rows = []
        for stage in stages:
            times = [[s.timings_s[stage] for s in scores if stage in s.timings_s] for scores in groups]
            rows.append([stage, *(f"{np.median(t):.2f}" if t else "-" for t in times)])
        parts += [f"### Seconds of {method} by stage (medians)", aligned(["stage", *map(sides, views)], rows)]
    return parts


def _answers(results: Results, condition: str) -> list[str]:
    """Return how many cases each method answered, and why it did not answer the others."""
    views = views_of(results, condition)
    rows = []
    for method in methods_of(results, condition):
        groups = [results.group(condition, v, method) for v in views]
        codes = Counter(score.code for scores in groups for score in scores if not score.answered)
        shares = [f"{sum(score.answered for score in scores)} of {len(scores)}" for scores in groups]
        rows.append([method, *shares, ", ".join(f"{code} {count}" for code, count in sorted(codes.items())) or "-"])
    return ["### Cases answered", aligned(["method", *map(sides, views), "not answered"], rows)]


def _common(results: Results, condition: str) -> list[str]:
    """Return medians over the cases that all methods answered, where some method did not answer all."""
    methods, views = methods_of(results, condition), views_of(results, condition)
    groups = {(m, v): results.group(condition, v, m) for m in methods for v in views}
    if all(score.answered for scores in groups.values() for score in scores):
        return []
    half = {m: 2 * sum(s.answered for v in views for s in groups[m, v]) for m in methods}
    taken = [m for m in methods if half[m] >= sum(len(groups[m, v]) for v in views)]
    cases = {v: answered_by_all([groups[m, v] for m in taken]) for v in views}
    quantities = [quantity(name) for name in COMMON_METRICS]
    rows = []
    for method in taken:
        shared = {v: [s for s in groups[method, v] if case_of(s) in cases[v]] for v in views}
        rows.append([method, *(q.text(_median(by_object(shared[v], q.name))) for q in quantities for v in views)])
    left = [m for m in methods if m not in taken]
    without = f" Left out, with fewer than half of their cases answered: {', '.join(left)}." if left else ""
    counts = ", ".join(f"{len(cases[v])} at {sides(v)}" for v in views)
    return [
        "### Only cases that every method answered",
        wrapped(f"Medians over the same cases for all: {counts}.{without}"),
        aligned(["method", *columns([q.title for q in quantities], views)], rows),
    ]


Tests = dict[tuple[str, str, int, str], tuple[Paired, float]]


def _paired_tests(results: Results, reference: str, draws: int) -> Tests:
    """Return comparisons with the reference by metric, condition, views and method, p corrected over all of them."""
    found = {
        (metric, condition, views, method): compared(
            quantity(metric), results.group(condition, views, reference), scores, draws=draws
        )
        for metric in PAIRED_METRICS
        for (condition, views, method), scores in results.groups.items()
        if method != reference
    }
    found = {key: test for key, test in found.items() if test.count}
    corrected = holm([test.p_value for test in found.values()])
    return {key: (test, float(p)) for (key, test), p in zip(found.items(), corrected, strict=True)}


def _against(tests: Tests, condition: str, metric: str, reference: str) -> list[str]:
    here = {(views, method): test for (m, c, views, method), test in tests.items() if (m, c) == (metric, condition)}
    if not here:
        return []
    q = quantity(metric)
    views = sorted({v for v, _ in here})
    titles = [title for v in views for title in (f"{sides(v)}: difference", "better", "p")]
    rows = [
        [method, *(cell for v in views for cell in _test_cells(here.get((v, method)), q))]
        for method in in_order(m for _, m in here)
    ]
    return [
        f"### {q.title} against {reference}, on the cases that both answered",
        wrapped(
            f"Median of the differences, method minus {reference} ({q.direction}); better: share of objects in which "
            f"the method beats {reference}; p: two-sided Wilcoxon signed-rank test, Holm-corrected over all "
            f"{len(tests)} tests of this page."
        ),
        aligned(["method", *titles], rows),
    ]


def _test_cells(test: tuple[Paired, float] | None, q: Quantity) -> list[str]:
    if test is None:
        return ["-", "-", "-"]
    found, p = test
    return [interval(q, shown_difference(q, found.difference)), f"{100 * found.better:.0f} %", p_text(p)]


def _median(values: Mapping[str, float]) -> float:
    return float(np.median(list(values.values()))) if values else np.nan
