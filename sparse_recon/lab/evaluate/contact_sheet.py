"""Contact sheet: the best, the middling and the worst answers of one method, so that one sees how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from sparse_recon.fuse.surface_points import scattered
from sparse_recon.lab.evaluate.examples import INPUT_PX, Example, example_path, load_example
from sparse_recon.lab.evaluate.markdown import sides
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.lab.evaluate.pairing import conditions_of, views_of
from sparse_recon.lab.evaluate.quantities import quantity
from sparse_recon.lab.evaluate.results import Results, Score, by_object
from sparse_recon.types import Bool, Float32, Float64, TriangleMesh, UInt8
from sparse_recon.viz.raster import OrthographicView, shade_mesh, splat_cloud, views_around
from sparse_recon.viz.sheet import INFERRED, OBSERVED, SOFT_INK, Sheet, confidence_colors, fitted, save_png

METRICS = ("chamfer_pct_inferred", "chamfer_pct")
EACH = 3
WORST_SHOWN_PCT = 5.0  # of the diameter: the end of the scale of errors
_TILE, _GAP, _MARGIN, _HEADER, _NUMBERS = INPUT_PX, 10, 26, 118, 268
_AZIMUTH_DEG = 110.0  # from the first camera: half of what it saw, half of what it did not
_SHOWN = (
    *("chamfer_pct", "chamfer_mm", "f_2pct", "iou_pct"),
    *("in_empty_pct", "missed_pct", "ece", "coverage90_pct"),
)
_CAPTIONS = ("input, mask outlined", "truth", "answer", "observed | inferred", "error of the answer", "missing truth")
_DRAWN_POINTS = 12_000
_CLOSING = 5.0  # discs so large that an even cloud shows nothing behind it


@dataclass(frozen=True)
class Pick:
    """One object of the sheet: `rank` counts from the best, `group` says why it is there."""

    group: str
    rank: int
    score: Score


def write_sheet(
    results: Results,
    method: str,
    examples: Path,
    path: Path,
    *,
    condition: str = "",
    views: int = 0,
    metric: str = "",
) -> Path | None:
    """Draw the three best, three median and three worst objects of a method whose answers were kept.

    Parameters
    ----------
    examples : folder of this method's examples, see `examples.save_example`.
    condition : `noisy` where it was run, else the first.
    views : the fewest, where failures show best.
    metric : by which objects are ranked; the Chamfer distance of the inferred surface over the diameter, or, where no
        score has it, that of all.

    Returns
    -------
    The path; None, and no file, where no answer was kept.

    Raises
    ------
    FileError
        INPUT_MISSING if an example cannot be read, DISK_FULL or OUTPUT_UNWRITABLE.
    """
    condition, views = _hardest(results, condition, views)
    scores = results.group(condition, views, method)
    kept = [s for s in scores if _path(examples, s).is_file()]
    metric = metric or next((m for m in METRICS if by_object(kept, m)), METRICS[0])
    picks, count = ranked(kept, metric), len(by_object(kept, metric))
    if not picks:
        return None
    width, row = 2 * _MARGIN + len(_CAPTIONS) * (_TILE + _GAP) + _NUMBERS, _TILE + 34
    footer = _footer(scores, kept)
    sheet = Sheet(width, _HEADER + len(picks) * (row + _GAP) + _MARGIN + 24 * bool(footer))
    _head(sheet, f"{method}, {condition}, {sides(views)}: best, median and worst of {count} objects", metric)
    for i, pick in enumerate(picks):
        top = _HEADER + i * (row + _GAP)
        sheet.card(_MARGIN - 12, top, width - 2 * _MARGIN + 24, row)
        _draw_tiles(sheet, load_example(_path(examples, pick.score)), top + 10)
        _draw_numbers(sheet, pick, count, metric, top + 10)
    sheet.text((_MARGIN, sheet.image.height - 36), footer, 14, SOFT_INK)
    save_png(sheet.image, path)
    return Path(path)


def _hardest(results: Results, condition: str, views: int) -> tuple[str, int]:
    """Return what was asked for, else noisy input where it was run, and the fewest views."""
    conditions = conditions_of(results)
    condition = condition or ("noisy" if "noisy" in conditions else next(iter(conditions), ""))
    return condition, views or min(views_of(results, condition), default=0)


def ranked(scores: Sequence[Score], metric: str, each: int = EACH) -> list[Pick]:
    """Choose the best, median and worst objects by a metric, seeds averaged, each object once; best first."""
    q, values = quantity(metric), by_object(scores, metric)
    order = sorted(values, key=lambda name: (float(q.cost(values[name])), name))
    middle = max((len(order) - each) // 2, 0)
    groups = dict.fromkeys(range(middle, min(middle + each, len(order))), "median")
    groups |= dict.fromkeys(range(max(len(order) - each, 0), len(order)), "worst")
    groups |= dict.fromkeys(range(min(each, len(order))), "best")
    first = {s.object: s for s in sorted(scores, key=lambda s: -s.seed) if s.answered and metric in s.metrics}
    return [Pick(groups[i], i + 1, first[order[i]]) for i in sorted(groups)]


def _path(examples: Path, score: Score) -> Path:
    return example_path(examples, score.object, score.condition, score.views, score.seed)


def _footer(scores: Sequence[Score], kept: Sequence[Score]) -> str:
    refused = [f"{s.object} ({s.code})" for s in scores if not s.answered]
    without = sum(s.answered for s in scores) - len(kept)
    parts = [f"No answer: {', '.join(refused[:6])}{' and others' if len(refused) > 6 else ''}."] if refused else []
    parts += [f"{without} answers were not kept."] if without > 0 else []
    return " ".join(parts)


def _head(sheet: Sheet, title: str, metric: str) -> None:
    sheet.text((_MARGIN, 18), title, 26)
    q = quantity(metric)
    sheet.text(
        (_MARGIN, 54), f"Ranked by {q.label} in % of the diameter" if "_pct" in metric else q.title, 15, SOFT_INK
    )
    left = sheet.image.width - _MARGIN - 540
    for color, text in ((OBSERVED, "observed"), (INFERRED, "inferred")):
        sheet.dot((left + 6, 63), 6, color)
        sheet.text((left + 18, 54), text, 14, SOFT_INK)
        left += 100
    sheet.text((left, 54), "error 0", 14, SOFT_INK)
    sheet.paste(_error_colors(np.tile(np.linspace(0, WORST_SHOWN_PCT, 140), (12, 1))), left + 52, 57)
    sheet.text((left + 200, 54), f"{WORST_SHOWN_PCT:g} % of diameter", 14, SOFT_INK)
    for i, caption in enumerate(_CAPTIONS):
        sheet.text((_MARGIN + i * (_TILE + _GAP), _HEADER - 26), caption, 15)


def _draw_tiles(sheet: Sheet, example: Example, top: int) -> None:
    """Draw the input, and five images from one side."""
    shape = example.points_world if example.surface is None else example.surface.vertices_world
    extent = example.truth.vertices_world
    if len(shape):
        extent = np.concatenate([extent, np.percentile(shape, (1, 99), axis=0)])  # an answer of rubbish is cut off
    view = views_around(extent, (_AZIMUTH_DEG,), _TILE, front_world=example.front_world)[0]
    for i, image in enumerate((fitted(example.inputs, _TILE, _TILE), *_images(example, view))):
        sheet.paste(image, _MARGIN + i * (_TILE + _GAP), top + 4)


def _draw_numbers(sheet: Sheet, pick: Pick, count: int, metric: str, top: int) -> None:
    left = _MARGIN + len(_CAPTIONS) * (_TILE + _GAP) + 6
    score = pick.score
    sheet.text((left, top), score.object if len(score.object) < 27 else f"{score.object[:25]}…", 18)
    sheet.text((left, top + 26), f"{pick.group}: {pick.rank} of {count}, seed {score.seed}", 14, SOFT_INK)
    line, width = top + 54, _NUMBERS - 24
    for name in dict.fromkeys((metric, *_SHOWN)):
        if name in score.metrics:
            q = quantity(name)
            sheet.text((left, line), q.label, 14, SOFT_INK)
            sheet.text((left + width, line), f"{q.text(score.metrics[name])} {q.unit}".strip(), 14, anchor="ra")
            line += 22


def _images(example: Example, view: OrthographicView) -> tuple[UInt8, ...]:
    """Return truth, answer, provenance, error of the answer, and the truth that it misses."""

    def cloud(points_world: Float32, colors: UInt8) -> UInt8:
        point_m = _CLOSING * view.half_width_m / np.sqrt(max(len(points_world), 1))
        return splat_cloud(points_world, colors, view, float(point_m))

    truth, surface = example.truth, example.surface
    points, inferred = _even_points(example)
    true_points = scattered(truth.vertices_world, truth.faces, 1e-5, _DRAWN_POINTS)
    wrong_pct = 100 * MeshQuery(truth).closest(points)[0] / example.diameter_m
    missed_pct = 100 * _distances(true_points, surface, points) / example.diameter_m
    return (
        shade_mesh(truth, [view])[0],
        cloud(points, np.full((len(points), 3), 190, np.uint8)) if surface is None else shade_mesh(surface, [view])[0],
        cloud(points, np.where(inferred[:, None], INFERRED, OBSERVED).astype(np.uint8)),
        cloud(points, _error_colors(wrong_pct)),
        cloud(true_points, _error_colors(missed_pct)),
    )


def _even_points(example: Example) -> tuple[Float32, Bool]:
    """Return points that close the answer's surface, and whether the nearest published point was inferred."""
    if example.surface is None or not len(example.surface.faces) or not len(example.points_world):
        return example.points_world, example.inferred
    points = scattered(example.surface.vertices_world, example.surface.faces, 1e-5, _DRAWN_POINTS)
    return points, example.inferred[cKDTree(example.points_world).query(points)[1]]


def _distances(true_points: Float32, surface: TriangleMesh | None, points: Float32) -> Float64:
    """Return how far true points are from the answer; infinite where there is none."""
    if surface is not None:
        distance_m = MeshQuery(surface).closest(true_points)[0]
        return np.where(np.isnan(distance_m), np.inf, distance_m)
    return np.asarray(cKDTree(points).query(true_points)[0], dtype=np.float64)


def _error_colors(error_pct: Float64) -> UInt8:
    """Map errors in % of the diameter to colours: yellow is exact, dark violet `WORST_SHOWN_PCT` or more."""
    return confidence_colors(1.0 - error_pct / WORST_SHOWN_PCT)
