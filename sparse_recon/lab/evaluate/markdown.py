"""How numbers, tables and paragraphs look in a terminal and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparse_recon.lab.evaluate.quantities import Quantity
from sparse_recon.lab.evaluate.statistics import Estimate

WIDTH = 120


def interval(q: Quantity, found: Estimate) -> str:
    """Return `value [low, high]`."""
    if np.isnan(found.low):
        return q.text(found.value)
    return f"{q.text(found.value)} [{q.text(found.low)}, {q.text(found.high)}]"


def shown_difference(q: Quantity, cost: Estimate) -> Estimate:
    """Return a difference of costs as one of values; for a target it stays the difference of distances from it."""
    if q.better != "higher":
        return cost
    return Estimate(-cost.value, -cost.high, -cost.low, cost.count)


def p_text(p: float) -> str:
    """Return a p value as tables show it."""
    if np.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def sides(views: int) -> str:
    """Return `1 view` or `2 views`."""
    return "1 view" if views == 1 else f"{views} views"


def named(values: Mapping[str, Any]) -> str:
    """Return `name value, name value`."""
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "nothing known"


def wrapped(text: str) -> str:
    """Break a paragraph into lines of `WIDTH`."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table whose columns line up in a terminal; all but the first `left` are set right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rules = [":" + "-" * (w - 1) if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = []
    for cells in (header, rules, *rows):
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines)


def columns(titles: Sequence[str], views: Sequence[int]) -> list[str]:
    """Return the headers of titles that have a column for each number of views, which the first of them names."""
    return [f"{title}, {sides(v)}" if i == 0 else sides(v) for title in titles for i, v in enumerate(views)]
