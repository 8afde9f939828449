"""What is wrong with weights, said so that somebody can act on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sparse_recon.errors import ErrorCode, ModelError

# More faults than this are folded; all of them are in the list of the error.
LISTED_AT_MOST = 40


class WeightsMismatchError(ModelError):
    """MODEL_WEIGHTS_INVALID.

    Attributes
    ----------
    faults : every fault, one a line.
    listed : the same, counted by kind and network where there are many.
    probably : sentence on what the file probably is instead; empty: not known.
    """

    def __init__(self, path: Path, faults: Sequence[str], model: str, source: str, probably: str = "") -> None:
        self.faults = tuple(faults)
        self.listed = tuple(faults if len(faults) <= LISTED_AT_MOST else _folded(faults))
        self.probably = f"This is probably {probably}." if probably else ""
        super().__init__(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"the weights at {path} are not those of {model}, nothing was loaded; {len(faults)} faults: "
            f"{'; '.join(self.listed)}. {source} {self.probably}".rstrip(),
        )


def _folded(faults: Sequence[str]) -> list[str]:
    """Return faults counted by kind and network, such as `unknown: model.diffusion_model.* (686)`."""
    counts = Counter(".".join(fault.split(" has ")[0].split(".")[:2]) for fault in faults)
    return [f"{head}.* ({count})" if count > 1 else head for head, count in counts.items()]
