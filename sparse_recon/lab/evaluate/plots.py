"""Plots of an evaluation: error against views, claimed against true confidence, time against error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.lab.evaluate.calibration_table import object_bins
from sparse_recon.lab.evaluate.pairing import TRUTH, conditions_of, in_order, methods_of, views_of
from sparse_recon.lab.evaluate.plot_style import (
    SOFT,
    End,
    Look,
    canvas,
    label_beside,
    label_ends,
    looks,
    plain_log,
    save,
    tidy,
)
from sparse_recon.lab.evaluate.quantities import Quantity, quantity
from sparse_recon.lab.evaluate.reliability import right_by_confidence
from sparse_recon.lab.evaluate.results import Results, by_object, summary
from sparse_recon.lab.evaluate.statistics import Estimate, bootstrap
from sparse_recon.types import Float64

ERROR_METRICS = {"error_by_views.png": "chamfer_pct", "inferred_error_by_views.png": "chamfer_pct_inferred"}
RELIABILITY, TIME = "reliability.png", "time_by_error.png"
_FEWEST_SHARE = 0.003  # of the points; bins with fewer are not drawn


def write_plots(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write all plots that the results have numbers for, and return their paths.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    """
    folder = Path(folder)
    made = [error_by_views(results, folder / name, metric) for name, metric in ERROR_METRICS.items()]
    made += [reliability(results, folder / RELIABILITY), time_by_error(results, folder / TIME)]
    return tuple(path for path in made if path is not None)


def error_by_views(results: Results, path: Path, metric: str = "chamfer_pct") -> Path | None:
    """Plot the median of a metric over objects against the number of views, one panel a condition.

    Returns
    -------
    The path; None, and no file, where no score has the metric.
    """
    conditions = [c for c in conditions_of(results) if _estimates(results, c, metric)]
    if not conditions:
        return None
    q, styles = quantity(metric), _looks(results)
    note = (
        f"{len(results.objects)} objects: medians with 95 % bootstrap intervals. No alignment. "
        "The truth, without error, is not drawn."
    )
    title = f"{_error(q)}, {q.direction}"
    found, cells = canvas(len(conditions), title, note, list(styles))
    first, panels = None, []
    for cell, condition in zip(cells, conditions, strict=True):
        axes = first = found.add_subplot(cell, sharey=first)
        panels.append((axes, _error_panel(axes, results, condition, metric, styles)))
    found.draw_without_rendering()  # settles the limits
    for axes, ends in panels:
        label_ends(axes, ends)
    return save(found, path)


def _error_panel(axes: Any, results: Results, condition: str, metric: str, styles: dict[str, Look]) -> list[End]:
    """Draw one condition; return the ends of its lines."""
    q, views, ends = quantity(metric), views_of(results, condition), []
    estimates = _estimates(results, condition, metric)
    for i, (method, values) in enumerate(estimates.items()):
        look = styles[method]
        x = np.array([views.index(v) for v in values]) + 0.016 * (i - len(estimates) / 2)
        y, low, high = np.array([(e.value, e.low, e.high) for e in values.values()]).T
        axes.vlines(x, np.where(np.isnan(low), y, low), np.where(np.isnan(high), y, high), color=look.color, lw=1.2)
        axes.plot(x, y, color=look.color, marker=look.marker, ms=5.5, lw=look.width, dashes=look.dashes or (None, None))
        ends.append(End(method, x[-1], y[-1], look.color, look.strong))
    tidy(axes, condition, "views", q.title)
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    axes.set_xticks(range(len(views)), [str(v) for v in views])
    axes.set_xlim(-0.25, len(views) - 0.75)
    return ends


def reliability(results: Results, path: Path) -> Path | None:
    """Plot how often points are right against what was claimed of them, with how many claim so, one panel a condition.

    Returns
    -------
    The path; None, and no file, where no method claims a confidence.
    """
    bins = {c: _bins(results, c) for c in conditions_of(results)}
    conditions = [c for c in bins if bins[c]]
    if not conditions:
        return None
    note = (
        "Inferred points of all objects and views; right: within 5 mm of the true surface; 95 % intervals over objects."
    )
    styles = _looks(results)
    labels = ["ECE 0.000", *{method for found in bins.values() for method in found}]
    found, cells = canvas(len(conditions), "Claimed confidence against share of right points", note, labels)
    panels = []
    for cell, condition in zip(cells, conditions, strict=True):
        upper, lower = cell.subgridspec(2, 1, height_ratios=(3.4, 1), hspace=0.1).subplots(sharex=True)
        panels.append((upper, _reliability_panel(upper, lower, condition, bins[condition], styles)))
    found.draw_without_rendering()
    for axes, ends in panels:
        label_ends(axes, ends)
    return save(found, path)


def _reliability_panel(
    upper: Any, lower: Any, condition: str, bins: dict[str, Float64], styles: dict[str, Look]
) -> Any:
    """Draw curves above and counts below; return the ends of the curves."""
    ends = []
    upper.plot([0, 1], [0, 1], color=SOFT, lw=1.0, dashes=(4, 3))
    turned = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    upper.text(0.04, 0.06, "as claimed", color=SOFT, fontsize=9.5, **turned)
    for method, table in bins.items():
        look, pooled = styles[method], table.sum(axis=0)
        share = pooled[:, 0] / pooled[:, 0].sum()
        there = share >= _FEWEST_SHARE
        right, low, high = (values[there] for values in right_by_confidence(table))
        claimed = pooled[there, 1] / pooled[there, 0]
        upper.fill_between(claimed, low, high, color=look.color, alpha=0.18, lw=0)
        upper.plot(claimed, right, color=look.color, marker=look.marker, ms=4.5, lw=look.width)
        edges = np.linspace(0, 1, len(pooled) + 1)
        lower.stairs(100 * share, edges, color=look.color, lw=1.6)
        error = np.abs(pooled[:, 1] - pooled[:, 2]).sum() / pooled[:, 0].sum()
        ends.append(End(f"{method}\nECE {error:.3f}", claimed[-1], right[-1], look.color, look.strong))
    tidy(upper, condition, "", "right within 5 mm")
    tidy(lower, "", "claimed confidence", "% of points")
    upper.tick_params(labelbottom=False)
    upper.set(xlim=(0, 1), ylim=(0, 1))
    lower.set_ylim(bottom=0)
    return ends


def time_by_error(results: Results, path: Path, metric: str = "chamfer_pct") -> Path | None:
    """Plot the median error against the median time, a line through the numbers of views, one panel a condition.

    Returns
    -------
    The path; None, and no file, where no score has both.
    """
    conditions = [c for c in conditions_of(results) if _times(results, c, metric)]
    if not conditions:
        return None
    q, cpu = quantity(metric), results.machine.get("cpu", "an unknown processor")
    views = "/".join(str(v) for v in sorted({v for _, v, _ in results.groups}))
    note = f"Medians over {len(results.objects)} objects; marks from small to large: {views} views. Time on {cpu}."
    title = f"{_error(q)}, against time"
    found, cells = canvas(len(conditions), title, note, ())
    first, panels = None, []
    for cell, condition in zip(cells, conditions, strict=True):
        axes = first = found.add_subplot(cell, sharex=first, sharey=first)
        panels.append((axes, *_time_panel(axes, _times(results, condition, metric), _looks(results))))
        tidy(axes, condition, "seconds", q.title)
        plain_log(axes.xaxis)
        plain_log(axes.yaxis)
    found.draw_without_rendering()
    for axes, ends, curves in panels:
        label_beside(axes, ends, curves)
    return save(found, path)


def _time_panel(
    axes: Any, times: dict[str, list[tuple[int, float, float]]], styles: dict[str, Look]
) -> tuple[list[End], list[Float64]]:
    """Draw one condition; return the ends of its lines, and the lines."""
    ends, curves = [], []
    for method, points in times.items():
        look, curve = styles[method], np.array([point[1:] for point in points])
        axes.plot(*curve.T, color=look.color, lw=look.width)
        axes.scatter(*curve.T, [20 + 22 * i for i in range(len(curve))], color=look.color, marker=look.marker, zorder=3)
        ends.append(End(method, float(curve[-1, 0]), float(curve[-1, 1]), look.color, look.strong))
        curves.append(curve)
    axes.set(xscale="log", yscale="log")
    axes.margins(0.14, 0.12)
    return ends, curves


def _error(q: Quantity) -> str:
    return f"{q.label} in % of the object's diameter" if q.name.startswith("chamfer_pct") else q.title


def _looks(results: Results) -> dict[str, Look]:
    return looks(sorted({method for _, _, method in results.groups}))


def _estimates(results: Results, condition: str, metric: str) -> dict[str, dict[int, Estimate]]:
    """Return medians with intervals by method and views, of those that have the metric.

    Not of the truth: on a logarithmic axis what rounding leaves of its error would be all there is to see.
    """
    found: dict[str, dict[int, Estimate]] = {}
    for method in methods_of(results, condition):
        for views in views_of(results, condition):
            values = list(by_object(results.group(condition, views, method), metric).values())
            if values and method != TRUTH:
                found.setdefault(method, {})[views] = bootstrap(values)
    return found


def _bins(results: Results, condition: str) -> dict[str, Float64]:
    """Return (K, B, 3) reliability bins by method, all numbers of views together."""
    scores = [score for score in results.scores if score.condition == condition]
    found = {m: object_bins(s for s in scores if s.method == m) for m in in_order(s.method for s in scores)}
    return {method: bins for method, bins in found.items() if bins.sum()}


def _times(results: Results, condition: str, metric: str) -> dict[str, list[tuple[int, float, float]]]:
    """Return views, median time and median error by method; the truth takes no time that means anything."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for method in methods_of(results, condition):
        for views in views_of(results, condition):
            scores = results.group(condition, views, method)
            point = (views, summary(scores, "seconds"), summary(scores, metric))
            if method != TRUTH and np.isfinite(point).all() and point[1] > 0:
                found.setdefault(method, []).append(point)
    return found
