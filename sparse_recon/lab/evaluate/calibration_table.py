"""Whether claimed confidences come true, over the inferred points of all objects together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sparse_recon.lab.evaluate.markdown import aligned, interval, sides, wrapped
from sparse_recon.lab.evaluate.pairing import methods_of, views_of
from sparse_recon.lab.evaluate.quantities import quantity
from sparse_recon.lab.evaluate.reliability import calibration_error
from sparse_recon.lab.evaluate.results import Results, Score
from sparse_recon.types import Float64


def calibration(results: Results, condition: str, draws: int) -> list[str]:
    """Return how right claimed confidences are, over all inferred points together."""
    views = views_of(results, condition)
    bins = {(m, v): object_bins(results.group(condition, v, m)) for m in methods_of(results, condition) for v in views}
    methods = [m for m in methods_of(results, condition) if any(bins[m, v].sum() for v in views)]
    if not methods:
        return []
    titles = [title for v in views for title in (f"{sides(v)}: ECE", "claimed", "right")]
    rows = [[m, *(cell for v in views for cell in _calibration_cells(bins[m, v], draws))] for m in methods]
    pooled = {m: sum(bins[m, v].sum(axis=0) for v in views) for m in methods}
    count = len(next(iter(pooled.values())))
    by_bin = [
        [f"{i / count:.2f} to {(i + 1) / count:.2f}", *(cell for m in methods for cell in _bin_cells(pooled[m], i))]
        for i in range(count)
    ]
    return [
        "### Calibration of all inferred points together",
        wrapped(
            "A point is right within 5 mm of the true surface. ECE: mean gap between claimed and right over bins of "
            "confidence (best 0); claimed above right is overconfident."
        ),
        aligned(["method", *titles], rows),
        wrapped(
            "The same by claimed confidence, all numbers of views together: share of points, and how many are right."
        ),
        aligned(["claimed", *(title for m in methods for title in (f"{m}: points", "right"))], by_bin),
    ]


def object_bins(scores: Iterable[Score]) -> Float64:
    """Return (K, B, 3) reliability bins, summed over each object's cases."""
    found: dict[str, Float64] = {}
    for score in scores:
        if score.answered and score.reliability:
            found[score.object] = found.get(score.object, np.zeros(())) + np.array(score.reliability)
    return np.stack([found[name] for name in sorted(found)]) if found else np.zeros((0, 15, 3))


def _calibration_cells(bins: Float64, draws: int) -> list[str]:
    count, claimed, right = bins.sum(axis=(0, 1))
    if not count:
        return ["-", "-", "-"]
    error = interval(quantity("ece"), calibration_error(bins, draws=draws))
    return [error, f"{100 * claimed / count:.1f} %", f"{100 * right / count:.1f} %"]


def _bin_cells(pooled: Float64, index: int) -> list[str]:
    count, _, right = pooled[index]
    share = f"{100 * count / pooled[:, 0].sum():.1f} %"
    return [share, f"{100 * right / count:.1f} %" if count else "-"]
