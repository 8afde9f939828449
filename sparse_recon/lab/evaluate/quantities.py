"""What the numbers of a score are called, in which unit they are, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sparse_recon.types import Float64

Better = Literal["lower", "higher", "target", "unknown"]
PARTS = ("observed", "inferred")
ANSWERED = "answered_pct"  # of a method, not of a case


@dataclass(frozen=True)
class Quantity:
    """One metric.

    Attributes
    ----------
    name : key in `Score.metrics`.
    label, unit : for people; a quantity without unit has an empty one.
    better : which way is better; `target` means near `target`, `unknown` that no way is.
    decimals : as many as tables show at most; they show three digits.
    meaning : what the label alone does not say.
    statistic : over objects; the mean where most objects have none of it.
    """

    name: str
    label: str
    unit: str = ""
    better: Better = "lower"
    decimals: int = 2
    meaning: str = ""
    target: float = 0.0
    statistic: Literal["median", "mean"] = "median"

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} {self.unit}".strip()

    @property
    def explained(self) -> str:
        """Title, meaning and which way is better."""
        mean = "a mean because most objects have none" if self.statistic == "mean" else ""
        parts = [part for part in (self.meaning, mean, self.direction) if part]
        return f"{self.title}: {', '.join(parts)}" if parts else self.title

    @property
    def direction(self) -> str:
        """Which way is better, as text."""
        if self.better == "target":
            return f"best {self.target:g}"
        return "" if self.better == "unknown" else f"{self.better} is better"

    def text(self, value: float) -> str:
        """Return a value as tables show it; a dash for NaN."""
        if np.isnan(value):
            return "-"
        whole = int(np.floor(np.log10(abs(value)))) if value else 0
        shown = f"{value:.{max(min(self.decimals, 2 - whole), 0)}f}"
        return shown.removeprefix("-") if float(shown) == 0 else shown

    def cost(self, values: Any) -> Float64:
        """Return values turned so that lower is better: negated, or their distance from the target."""
        array = np.asarray(values, dtype=np.float64)
        if self.better == "target":
            return np.abs(array - self.target)
        return -array if self.better == "higher" else array


_SURFACE = (
    Quantity("chamfer_mm", "Chamfer", "mm", meaning="mean of accuracy and completeness"),
    Quantity("chamfer_pct", "Chamfer", "%", meaning="the same over the object's diameter"),
    Quantity("chamfer_diagonal_pct", "Chamfer/diagonal", "%", meaning="over the diagonal of the upright box"),
    Quantity("accuracy_mm", "accuracy", "mm", meaning="mean distance of the answer to the true surface"),
    Quantity("completeness_mm", "completeness", "mm", meaning="mean distance of the true surface to the answer"),
    Quantity("f_1pct", "F(1 %)", "%", "higher", 1, "F-score of points within 1 % of the diameter"),
    Quantity("f_2pct", "F(2 %)", "%", "higher", 1, "F-score of points within 2 % of the diameter"),
    Quantity("f_5mm", "F(5 mm)", "%", "higher", 1, "F-score of points within 5 mm"),
    Quantity("normal_consistency", "normals", "", "higher", 3, "mean |cosine| between true and given normals"),
)
_HIDDEN = "true volume nearest to surface that no camera saw"
_EMPTY = "in space truly seen to be empty"
_SAFE = "the conservative mesh (without one, the answer)"
_WHOLE = (
    Quantity("iou_pct", "IoU", "%", "higher", 1, "shared volume over joined volume"),
    Quantity("in_empty_pct", "in empty", "%", meaning=f"surface {_EMPTY}", statistic="mean"),
    Quantity(
        *("in_empty_conservative_pct", "conservative in empty", "%"),
        meaning=f"conservative surface {_EMPTY}",
        statistic="mean",
    ),
    Quantity("ece", "ECE", "", "lower", 3, "gap between claimed and right"),
    Quantity("ause", "AUSE", "", "lower", 3, "0 where doubt ranks points as their error does, 1 by chance"),
    Quantity("coverage90_pct", "in radius90", "%", "target", 1, "inferred surface as near as radius90 says", 90.0),
    Quantity("spearman", "Spearman", "", "higher", 2, "rank correlation of doubt with error"),
    Quantity("missed_pct", "missed", "%", meaning=f"true volume outside {_SAFE}", statistic="mean"),
    Quantity("wasted_pct", "wasted", "%", "lower", 1, f"free volume inside {_SAFE}, over the true volume"),
    Quantity(
        *("walls_pct", "walls", "%", "higher", 1),
        meaning="of shells: thin walls both of whose sides lie within 2 % of the diameter and face the right way",
    ),
    Quantity("best_f_2pct", "best F(2 %)", "%", "higher", 1, "of the hypotheses, the one nearest to the truth"),
    Quantity("hypothesis_f_2pct", "mean F(2 %)", "%", "higher", 1, "mean over the hypotheses"),
    Quantity("hidden_missed_pct", "hidden missed", "%", "lower", 1, f"{_HIDDEN} outside the answer"),
    Quantity("hidden_outside_pct", "hidden outside all", "%", "lower", 1, f"{_HIDDEN} outside every hypothesis"),
    Quantity("pairwise_mm", "apart", "mm", "unknown", meaning="mean Chamfer distance of two hypotheses"),
    Quantity("energy_mm", "energy score", "mm", meaning="of the hypotheses' signed distances, 0 for the truth"),
    Quantity("energy_answer_mm", "of the answer", "mm", meaning="energy score of the answer alone"),
    Quantity("psnr_db", "PSNR", "dB", "higher", 1),
    Quantity("ssim", "SSIM", "", "higher", 3),
    Quantity("seconds", "time", "s"),
    Quantity("peak_memory_mb", "memory", "MB", "lower", 0, "peak of the process"),
    Quantity(ANSWERED, "answered", "%", "higher", 1, "cases that were not refused"),
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
