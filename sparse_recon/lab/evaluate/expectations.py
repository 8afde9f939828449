"""Stored medians with tolerances from the spread between seeds: what continuous integration holds a change against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.lab.evaluate.json_files import read_json, write_text
from sparse_recon.lab.evaluate.markdown import sides
from sparse_recon.lab.evaluate.quantities import ANSWERED, Quantity, quantity
from sparse_recon.lab.evaluate.results import Group, Results, Score, differences, summary

FORMAT = 1
METRICS = (
    *("chamfer_mm", "chamfer_mm_inferred", "f_2pct", "iou_pct", "in_empty_pct"),
    *("missed_pct", "wasted_pct", "ece", "coverage90_pct", ANSWERED),
)
FEWEST_SEEDS = 3
# Chance that a seed that was not among those of the expectations leaves the tolerance of one metric.
FALSE_ALARM = 1e-3
# No tolerance is smaller, so that a last digit, or a library's rounding, is no regression.
FLOOR_SHARE = 0.02
_SEED_FIELDS = ("seed", "repeats")


@dataclass(frozen=True)
class Expectation:
    """The expected median (or mean, see `Quantity.statistic`) of a metric, and how far it may be off."""

    condition: str
    views: int
    method: str
    metric: str
    expected: float
    tolerance: float


@dataclass(frozen=True)
class Expectations:
    """All that is expected of one protocol and set of objects.

    Attributes
    ----------
    protocol : without its seeds.
    objects : sha256 of each mesh by name.
    seeds : from which the expectations come.
    """

    protocol: Mapping[str, Any]
    objects: Mapping[str, str]
    seeds: tuple[int, ...]
    entries: tuple[Expectation, ...]


def derive(
    runs: Sequence[Results],
    *,
    spreads: float | None = None,
    floor_share: float = FLOOR_SHARE,
    metrics: Sequence[str] = METRICS,
) -> Expectations:
    """Derive expectations from several seeds, of one run or of several.

    The expected value is the mean over seeds of what a table shows; the tolerance is `spreads` times its standard
    deviation over seeds, at least `floor_share` of the value and one unit of the last digit that tables show. The more
    seeds, the closer the tolerance: without `spreads` it is the prediction interval of one more seed that misses it
    with a chance of `FALSE_ALARM` (Hahn and Meeker, "Statistical Intervals", 1991, section 4.7): 9.4 standard
    deviations of 5 seeds, 5.0 of 10.

    Raises
    ------
    InputError
        USAGE if the runs are of different protocols or objects, or have fewer than three seeds.
    """
    if not runs:
        raise InputError(ErrorCode.USAGE, "expectations need results of at least one run")
    protocol, objects = _without_seeds(runs[0].protocol), _hashes(runs[0])
    for run in runs[1:]:
        _check_same(protocol, objects, run)
    scores = [score for run in runs for score in run.scores]
    seeds = tuple(sorted({score.seed for score in scores}))
    if len(seeds) < FEWEST_SEEDS:
        raise InputError(
            ErrorCode.USAGE,
            f"a spread between seeds needs {FEWEST_SEEDS} seeds or more, got {len(seeds)}; evaluate with more repeats",
        )
    entries = []
    for group, by_seed in _grouped(scores):
        for metric in metrics:
            values = np.array([summary(by_seed[seed], metric) for seed in sorted(by_seed)])
            values = values[~np.isnan(values)]
            if len(values) >= FEWEST_SEEDS:
                expected = float(values.mean())
                times = _prediction_factor(len(values)) if spreads is None else spreads
                floor = max(floor_share * abs(expected), 10.0 ** -quantity(metric).decimals)
                tolerance = max(times * float(values.std(ddof=1)), floor)
                entries.append(Expectation(*group, metric, expected, tolerance))
    return Expectations(protocol, objects, seeds, tuple(entries))


def _grouped(scores: Sequence[Score]) -> list[tuple[Group, dict[int, list[Score]]]]:
    """Return scores by condition, views and method, then by seed."""
    groups: dict[Group, dict[int, list[Score]]] = {}
    for score in scores:
        by_seed = groups.setdefault((score.condition, score.views, score.method), {})
        by_seed.setdefault(score.seed, []).append(score)
    return sorted(groups.items())


def _prediction_factor(count: int) -> float:
    from scipy.stats import t

    return float(t.ppf(1 - FALSE_ALARM / 2, count - 1) * np.sqrt(1 + 1 / count))


def regressions(stored: Expectations, new: Results) -> list[str]:
    """Return a sentence for each metric that is worse than expected by more than its tolerance, or is not there.

    Raises
    ------
    InputError
        USAGE if `new` is of another protocol (seeds aside) or of other objects.
    """
    return [text for better, text in _departures(stored, new) if not better]


def improvements(stored: Expectations, new: Results) -> list[str]:
    """Return a sentence for each metric that is better than expected by more than its tolerance; see `regressions`."""
    return [text for better, text in _departures(stored, new) if better]


def _departures(stored: Expectations, new: Results) -> Iterator[tuple[bool, str]]:
    _check_same(stored.protocol, stored.objects, new)
    for entry in stored.entries:
        q = quantity(entry.metric)
        where = f"{q.title} of {entry.method} at {sides(entry.views)} ({entry.condition})"
        expected = f"expected {q.text(entry.expected)} with tolerance {q.text(entry.tolerance)}"
        found = summary(new.group(entry.condition, entry.views, entry.method), entry.metric)
        if np.isnan(found):
            yield False, f"{where} is not there: {expected}, found none"
            continue
        worse = _excess(q, entry.expected, found)
        if abs(worse) > entry.tolerance:
            better = worse < 0
            yield better, f"{where} is {'better' if better else 'worse'}: {expected}, found {q.text(found)}"


def _excess(q: Quantity, expected: float, found: float) -> float:
    """Return how much worse a value is than expected; where no way is better, any change is worse."""
    if q.better == "unknown":
        return abs(found - expected)
    return float(q.cost(found) - q.cost(expected))


def write_expectations(expectations: Expectations, path: Path) -> None:
    """Write them as JSON, a line each; FileError DISK_FULL or OUTPUT_UNWRITABLE."""
    head = {"format": FORMAT, **asdict(expectations)}
    entries = ",\n".join(json.dumps(entry, allow_nan=False) for entry in head.pop("entries"))
    lines = [
        f"{json.dumps(name)}: {json.dumps(value, sort_keys=True, allow_nan=False)}," for name, value in head.items()
    ]
    write_text(path, "{\n" + "\n".join(lines) + f'\n"entries": [\n{entries}\n]\n}}\n', "the expectations")


def read_expectations(path: Path) -> Expectations:
    """Read what `write_expectations` wrote.

    Raises
    ------
    FileError
        INPUT_MISSING if the file is missing, is no JSON, has another format number or other fields.
    """
    content = read_json(Path(path), "expectations", FORMAT)
    del content["format"]
    try:
        entries = tuple(Expectation(**entry) for entry in content.pop("entries"))
        return Expectations(seeds=tuple(content.pop("seeds")), entries=entries, **content)
    except (TypeError, KeyError, ValueError) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} does not hold whole expectations: {error}; derive them again"
        ) from error


def _check_same(protocol: Mapping[str, Any], objects: Mapping[str, str], run: Results) -> None:
    found = differences(protocol, _without_seeds(run.protocol))
    hashes = _hashes(run)
    found += [f"object {name}" for name in sorted(set(objects) | set(hashes)) if objects.get(name) != hashes.get(name)]
    if found:
        raise InputError(
            ErrorCode.USAGE,
            f"expectations hold for one protocol and its objects; different are {'; '.join(found)}. Run the protocol "
            "that they are of, or derive them again",
        )


def _without_seeds(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in protocol.items() if name not in _SEED_FIELDS}


def _hashes(results: Results) -> dict[str, str]:
    return {name: found.sha256 for name, found in results.objects.items()}
