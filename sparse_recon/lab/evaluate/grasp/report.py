"""`table.md`, the curve of success against coverage, and a picture of each outcome of a grasp study."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.lab.evaluate.grasp.attempt import EXCLUDED
from sparse_recon.lab.evaluate.grasp.rates import (
    COVERAGES,
    REFERENCE,
    Tally,
    against,
    counted,
    exclusions,
    risk_coverage,
    tally,
)
from sparse_recon.lab.evaluate.grasp.study import settings
from sparse_recon.lab.evaluate.grasp.trial import Outcome
from sparse_recon.lab.evaluate.json_files import write_text
from sparse_recon.lab.evaluate.markdown import aligned, named, p_text, sides, wrapped
from sparse_recon.lab.evaluate.pairing import conditions_of, in_order, views_of
from sparse_recon.lab.evaluate.plot_style import End, canvas, label_ends, looks, save, tidy
from sparse_recon.lab.evaluate.protocol import CONDITIONS, Protocol
from sparse_recon.lab.evaluate.results import Results, Score, write_results
from sparse_recon.lab.evaluate.statistics import LEVEL, Estimate

RESULTS, TABLE, CURVE = "results.json", "table.md", "success_by_coverage.png"
_SMOOTH = 10  # the most certain ones are too few for a share


def write_report(results: Results, folder: Path, *, pictures: bool = True) -> tuple[Path, ...]:
    """Write results, table and curve of a study, and return their paths.

    Raises
    ------
    FileError
        DISK_FULL or OUTPUT_UNWRITABLE.
    DependencyError
        If matplotlib is not installed and `pictures` are wanted.
    """
    folder = Path(folder)
    write_results(results, folder / RESULTS)
    write_text(folder / TABLE, table(results), "the table of grasps")
    written = [folder / RESULTS, folder / TABLE]
    if pictures and (curve := success_by_coverage(results, folder / CURVE)):
        written.append(curve)
    return tuple(written)


def table(results: Results) -> str:
    """Return success, outcomes and comparisons of all methods as Markdown, the protocol first."""
    parts = ["# Grasps", *_introduction(results)]
    for condition in conditions_of(results):
        parts.append(f"## {condition}")
        if condition in CONDITIONS:
            parts.append(wrapped(f"{CONDITIONS[condition]}."))
        views = views_of(results, condition)
        scores = [score for score in results.scores if score.condition == condition]
        if len(views) > 1:
            parts += ["### All views", _table(scores)]
        for number in views:
            parts += [f"### {sides(number).capitalize()}", _table([s for s in scores if s.views == number])]
    return "\n\n".join(parts) + "\n"


def success_by_coverage(results: Results, path: Path) -> Path | None:
    """Plot success among the most certain grasps against the share of cases tried, one panel a condition, all views.

    Returns
    -------
    The path; None, and no file, where nothing was grasped.
    """
    curves = {c: _curves([s for s in results.scores if s.condition == c]) for c in conditions_of(results)}
    curves = {condition: found for condition, found in curves.items() if found}
    if not curves:
        return None
    styles = looks(sorted({score.method for score in results.scores}))
    note = (
        "The least certain grasps are refused first: by the claimed confidence of the contacts, else by the planner's "
        "rank.\nA line ends where there are no more grasps."
    )
    found, cells = canvas(len(curves), "Grasps that succeed, of those tried", note, list(styles))
    panels = []
    for cell, (condition, lines) in zip(cells, curves.items(), strict=True):
        axes, ends = found.add_subplot(cell), []
        for method, (coverage, success) in lines.items():
            look = styles[method]
            axes.plot(
                100 * coverage, 100 * success, color=look.color, lw=look.width, dashes=look.dashes or (None, None)
            )
            axes.plot(100 * coverage[-1], 100 * success[-1], color=look.color, marker=look.marker or "o", ms=5)
            ends.append(End(method, 100 * coverage[-1], 100 * success[-1], look.color, look.strong))
        tidy(axes, condition, "cases tried, %", "success of those tried, %")
        axes.set(xlim=(0, 101), ylim=(min(50.0, *(100 * float(s.min()) for _, s in lines.values())) - 2, 101))
        panels.append((axes, ends))
    found.draw_without_rendering()
    for axes, ends in panels:
        label_ends(axes, ends)
    return save(found, path)


def _curves(scores: Sequence[Score]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for method, own in _by_method(scores).items():
        curve = risk_coverage(own)
        if len(curve.coverage) > _SMOOTH:
            found[method] = (curve.coverage[_SMOOTH - 1 :], curve.success[_SMOOTH - 1 :])
    return found


def _introduction(results: Results) -> list[str]:
    names = {field.name for field in fields(Protocol)}
    protocol = Protocol.of({name: value for name, value in results.protocol.items() if name in names})
    left_out = exclusions(results.scores)
    reasons = ", ".join(f"{count} because {EXCLUDED[number]}" for number, count in sorted(left_out.items()))
    return [
        wrapped(protocol.text()),
        wrapped(_trial_text({**settings(), **results.protocol})),
        wrapped(
            f"{len(results.objects)} objects. Cases that count for no method: {reasons or 'none'}. Brackets hold the "
            f"{100 * LEVEL:.0f} % Wilson interval, as if all cases were independent. A method that answers nothing, or "
            "on whose answer no grasp is found, has failed; fallback: success if the hand then keeps away from the "
            "best estimate of the surface alone, and no more from the conservative mesh. "
            f"Against {REFERENCE}: cases in which only this method, and in which only {REFERENCE} succeeded, with the "
            "exact p value of McNemar's test. Success at a coverage: of that share of all cases, the ones with the "
            "most certain grasps, by the claimed confidence of the less certain contact, else by the planner's rank; "
            "a dash, where there are fewer grasps."
        ),
        wrapped(f"Measured with {named(results.versions)}, on {named(results.machine)}."),
    ]


def _trial_text(s: Mapping[str, Any]) -> str:
    lightest, heaviest = s["grasp_mass_kg"]
    low, high = s["grasp_friction"]
    shift, turn, rate = s["grasp_shake"]
    mm = {name: f"{1e3 * s[name]:.0f} mm" for name in s if name.startswith("grasp_") and name.endswith("_m")}
    return (
        f"Planning: antipodal grasps on {s['grasp_surface_points']} points of what the method answered (friction cone "
        f"{s['grasp_cone_friction']}, jaw up to {mm['grasp_jaw_m']}, {s['grasp_approaches']} approaches about each "
        "axis), free of the table and of the method's conservative mesh where it has one, else of its answer; where "
        "only a part of the surface is known, the far contact may be taken where the points end. The best one is "
        f"executed. Trial (MuJoCo): the true object as convex parts ({mm['grasp_parts_tolerance_m']}), mass "
        f"{lightest:g} to {heaviest:g} kg and friction {low:g} to {high:g}, drawn once a case for all methods; a "
        f"Franka-like hand with {s['grasp_force_n']:g} N a finger; approach, close, lift by {mm['grasp_lift_m']}, "
        f"shake at {rate:g} Hz by {1e3 * shift:.0f} mm along and {turn:g} rad about each of three axes. Success: both "
        f"fingers hold it in the end, slip below {mm['grasp_max_slip_m']}. Collision: the hand overlaps object or "
        f"table by more than {mm['grasp_collision_depth_m']} before closing."
    )


def _table(scores: Sequence[Score]) -> str:
    groups = _by_method(scores)
    header = ["method", "success", "fallback", "trials", f"only it / {REFERENCE}", "p"]
    header += [outcome.name.lower().replace("_", " ") for outcome in Outcome if outcome is not Outcome.SUCCESS]
    header += [f"at {100 * coverage:.0f} %" for coverage in COVERAGES]
    rows = []
    for method, own in groups.items():
        found, curve = tally(own), risk_coverage(own)
        rows.append(
            [method, _share(found.success), _percent(found.fallback.value), str(found.success.count)]
            + _comparison(own, groups.get(REFERENCE, ()), method)
            + _failures(found)
            + [_percent(curve.at(coverage)) for coverage in COVERAGES]
        )
    return aligned(header, rows)


def _failures(found: Tally) -> list[str]:
    return [str(found.outcomes[outcome]) for outcome in Outcome if outcome is not Outcome.SUCCESS]


def _comparison(own: Sequence[Score], reference: Sequence[Score], method: str) -> list[str]:
    if method == REFERENCE or not counted(reference):
        return ["-", "-"]
    test = against(own, reference)
    return [f"{test.first_only} / {test.second_only}", p_text(test.p_value)]


def _by_method(scores: Sequence[Score]) -> dict[str, list[Score]]:
    ordered = sorted(counted(scores), key=lambda score: score.method)
    groups = {method: list(own) for method, own in itertools.groupby(ordered, key=lambda score: score.method)}
    return {method: groups[method] for method in in_order(groups)}


def _share(found: Estimate) -> str:
    return f"{_percent(found.value)} [{_percent(found.low)}, {_percent(found.high)}]"


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"
