"""What the numbers of a score are called, in which unit they are, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sparse_recon.types import Float64

Better = Literal["lower", "higher", "target", "unknown"]
PARTS = ("observed", "inferred")


@dataclass(frozen=True)
class Quantity:
    """One metric.

    Attributes
    ----------
    name : key in `Score.metrics`.
    label, unit : for people; a quantity without unit has an empty one.
    better : which way is better; `target` means near `target`, `unknown` that no way is.
    decimals : as many as tables show.
    """

    name: str
    label: str
    unit: str = ""
    better: Better = "lower"
    decimals: int = 2
    target: float = 0.0

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} {self.unit}".strip()

    @property
    def direction(self) -> str:
        """Which way is better, as text."""
        if self.better == "target":
            return f"best {self.target:g}"
        return "" if self.better == "unknown" else f"{self.better} is better"

    def text(self, value: float) -> str:
        """Return a value as tables show it; a dash for NaN."""
        return "-" if np.isnan(value) else f"{value:.{self.decimals}f}"

    def cost(self, values: Any) -> Float64:
        """Return values turned so that lower is better: negated, or their distance from the target."""
        array = np.asarray(values, dtype=np.float64)
        if self.better == "target":
            return np.abs(array - self.target)
        return -array if self.better == "higher" else array


_SURFACE = (
    Quantity("chamfer_mm", "Chamfer", "mm"),
    Quantity("chamfer_pct", "Chamfer", "% of diameter"),
    Quantity("chamfer_diagonal_pct", "Chamfer", "% of diagonal"),
    Quantity("accuracy_mm", "accuracy", "mm"),
    Quantity("completeness_mm", "completeness", "mm"),
    Quantity("f_1pct", "F1 at 1 %", "%", "higher", 1),
    Quantity("f_2pct", "F1 at 2 %", "%", "higher", 1),
    Quantity("f_5mm", "F1 at 5 mm", "%", "higher", 1),
    Quantity("normal_consistency", "normal consistency", "", "higher", 3),
)
_WHOLE = (
    Quantity("iou_pct", "volume IoU", "%", "higher", 1),
    Quantity("in_empty_pct", "surface in empty space", "%"),
    Quantity("in_empty_conservative_pct", "conservative in empty space", "%"),
    Quantity("ece", "calibration error", "", "lower", 3),
    Quantity("ause", "AUSE", "", "lower", 3),
    Quantity("coverage90_pct", "inside radius90", "%", "target", 1, target=90.0),
    Quantity("spearman", "rank correlation", "", "higher", 2),
    Quantity("missed_pct", "missed volume", "%"),
    Quantity("wasted_pct", "wasted volume", "%", "lower", 1),
    Quantity("psnr_db", "PSNR", "dB", "higher", 1),
    Quantity("ssim", "SSIM", "", "higher", 3),
    Quantity("seconds", "time", "s"),
    Quantity("peak_memory_mb", "peak memory", "MB", "lower", 0),
)
QUANTITIES: dict[str, Quantity] = {q.name: q for q in (*_SURFACE, *_WHOLE)}
for _q in _SURFACE:
    for _part in PARTS:
        _name = f"{_q.name}_{_part}"
        QUANTITIES[_name] = replace(_q, name=_name, label=f"{_part} {_q.label}")

# Two runs on one machine do not agree in these.
UNREPEATABLE = ("seconds", "peak_memory_mb")


def quantity(name: str) -> Quantity:
    """Return what is known of a metric; of one that is not in `QUANTITIES`, no way is better."""
    return QUANTITIES.get(name) or Quantity(name, name.replace("_", " "), "", "unknown", 3)
