"""The look of plots: colours that colour-blind eyes tell apart, labels at the lines, a PNG without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sparse_recon.errors import DependencyError
from sparse_recon.lab.evaluate.pairing import BASELINES, TRUTH, in_order
from sparse_recon.viz.sheet import save_png

DPI = 100
INK, SOFT, GRID = "#1c2026", "#6c7480", "#e3e6ea"
# Okabe and Ito, "Color Universal Design", 2008, without its yellow and black.
_MODELS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_BASELINE = "#8a919c"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINE_PX, _GAP_PX = 17.5, 11.0
# Inches: of a panel, left of it for its axis, between rows, above all for the title, below all for the note.
_PANEL_IN, _AXIS_IN, _ROW_IN, _TITLE_IN, _NOTE_IN = (4.3, 3.4), 0.75, 0.95, 0.85, 1.0
_LETTER_IN = 0.092
# Where a name may stand beside its point, in half sizes of the name, the best first.
_NEAR = ((1, 0), (0, -1), (-1, 0), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
_PLACES = (*_NEAR, *((1.6 * x, 2.2 * y) for x, y in _NEAR), *((2.4 * x, 3.4 * y) for x, y in _NEAR))


@dataclass(frozen=True)
class Look:
    """How one method is drawn, the same in all plots; models stronger than baselines."""

    color: str
    marker: str
    dashes: tuple[float, ...]
    width: float
    strong: bool = False


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """Return the look of each method: models coloured, baselines grey with shapes of their own, the truth dashed."""
    found: dict[str, Look] = {}
    models = [m for m in in_order(methods) if m not in BASELINES and m != TRUTH]
    for i, method in enumerate(models):
        found[method] = Look(_MODELS[i % len(_MODELS)], _MARKERS[i // len(_MODELS) % len(_MARKERS)], (), 2.2, True)
    for i, method in enumerate(BASELINES):
        found[method] = Look(_BASELINE, _MARKERS[i % len(_MARKERS)], (), 1.2)
    found[TRUTH] = Look(INK, "", (4.0, 3.0), 1.2)
    return {method: found[method] for method in in_order(methods)}


def canvas(count: int, title: str, note: str, labels: Sequence[str]) -> tuple[Any, list[Any]]:
    """Return an empty figure for so many panels, and the grid cell of each, with room for labels right of them.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError("matplotlib", "plots", "pip install matplotlib") from error
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    label = 0.3 + _LETTER_IN * max(map(len, labels), default=0)
    panel = (_PANEL_IN[0] * (1.5 if columns == 1 else 1.0), _PANEL_IN[1])
    width = columns * (_AXIS_IN + panel[0] + label)
    height = _TITLE_IN + rows * panel[1] + (rows - 1) * _ROW_IN + _NOTE_IN
    found = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(found)
    found.text(0.12 / width, 1 - 0.12 / height, title, ha="left", va="top", fontsize=15, color=INK)
    found.text(0.12 / width, 0.12 / height, note, ha="left", va="bottom", fontsize=10, color=SOFT)
    edges = {"left": _AXIS_IN / width, "right": 1 - label / width}
    edges |= {"top": 1 - _TITLE_IN / height, "bottom": _NOTE_IN / height}
    grid = found.add_gridspec(rows, columns, wspace=(label + _AXIS_IN) / panel[0], hspace=_ROW_IN / panel[1], **edges)
    return found, [grid[i // columns, i % columns] for i in range(count)]


def tidy(axes: Any, title: str, x: str, y: str) -> None:
    """Name a panel and its axes, and take away all lines that carry nothing."""
    axes.set_title(title, loc="left", fontsize=12.5, color=INK)
    axes.set_xlabel(x, fontsize=11.5, color=INK)
    axes.set_ylabel(y, fontsize=11.5, color=INK)
    axes.tick_params(labelsize=10.5, colors=INK, length=3)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)


def plain_log(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


@dataclass(frozen=True)
class End:
    """The end of a line, with the name that belongs to it."""

    text: str
    x: float
    y: float
    color: str
    strong: bool = False


def label_ends(axes: Any, ends: Sequence[End]) -> None:
    """Write names right of a panel, moved apart where they would overlap, with a thin line to the end of each line."""
    if not ends:
        return
    pixels = axes.transData.transform([(end.x, end.y) for end in ends])
    lines = max(end.text.count("\n") + 1 for end in ends)
    heights = apart(pixels[:, 1], lines * _LINE_PX * DPI / 100)
    left = axes.get_window_extent().x1 + 0.12 * DPI
    for end, height in zip(ends, heights, strict=True):
        axes.annotate(
            end.text,
            (end.x, end.y),
            xytext=axes.transAxes.inverted().transform((left, height)),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": end.color, "lw": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 3},
            **_lettering(end),
        )


def label_beside(axes: Any, ends: Sequence[End], curves: Sequence[npt.NDArray[np.floating]]) -> None:
    """Write each name beside its end, at the first place where it covers no curve ((N, 2), data units) and no name."""
    taken = np.concatenate([_dense(axes.transData.transform(curve)) for curve in curves])
    frame, to_data = axes.get_window_extent(), axes.transData.inverted()
    steps = np.stack(np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 4)), axis=-1).reshape(-1, 2)
    for end in ends:
        text = axes.text(end.x, end.y, end.text, ha="center", va="center", **_lettering(end))
        size = np.array(text.get_window_extent().size)
        at = axes.transData.transform((end.x, end.y))
        lows = np.array([at + np.array(place) * (0.5 * size + _GAP_PX) - 0.5 * size for place in _PLACES])
        inside = ((taken > lows[:, None]) & (taken < (lows + size)[:, None])).all(axis=2).sum(axis=1)
        outside = ((lows < frame.p0) | (lows + size > np.add(frame.p1, (0.25 * DPI, 0.0)))).any(axis=1)
        low = lows[np.argmin(inside + 1000 * outside)]
        text.set_position(to_data.transform(low + 0.5 * size))
        taken = np.concatenate([taken, low + steps * size])


def _dense(curve: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return 12 points on each piece of a curve, in pixels."""
    t = np.linspace(0, 1, 12)[:, None, None]
    return np.concatenate([curve, ((1 - t) * curve[:-1] + t * curve[1:]).reshape(-1, 2)])


def _lettering(end: End) -> dict[str, Any]:
    color = SOFT if end.color == _BASELINE else end.color
    return {"fontsize": 10.5, "fontweight": "bold" if end.strong else "normal", "color": color}


def apart(heights: Sequence[float] | np.ndarray, least: float) -> np.ndarray:
    """Return heights moved as little as may be so that any two are at least `least` apart, in the same order."""
    order = np.argsort(heights, kind="stable")
    target = np.asarray(heights, dtype=float)[order] - least * np.arange(len(order))
    # Isotonic regression by pooling neighbours that violate the order (Ayer et al. 1955).
    blocks: list[list[float]] = []
    for value in target:
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    moved = np.concatenate([np.full(int(n), value) for value, n in blocks]) if blocks else np.zeros(0)
    found = np.empty(len(order))
    found[order] = moved + least * np.arange(len(order))
    return found


def save(found: Any, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; FileError DISK_FULL or OUTPUT_UNWRITABLE."""
    found.canvas.draw()
    save_png(Image.fromarray(np.asarray(found.canvas.buffer_rgba())[..., :3].copy()), path)
    return Path(path)
