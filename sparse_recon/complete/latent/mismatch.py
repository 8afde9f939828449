"""What is wrong with weights, said so that somebody can act on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparse_recon.errors import ErrorCode, ModelError, clipped

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
        self.listed = _bounded(faults if len(faults) <= LISTED_AT_MOST else _folded(faults))
        self.probably = f"This is probably {probably}." if probably else ""
        super().__init__(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"the weights at {path} are not those of {model}, nothing was loaded; {len(faults)} faults: "
            f"{'; '.join(self.listed)}. {source} {self.probably}".rstrip(),
        )


def _bounded(listed: Sequence[str]) -> tuple[str, ...]:
    """Return a list that no file can make long, whatever names it holds."""
    more = len(listed) - LISTED_AT_MOST
    return (*map(clipped, listed[:LISTED_AT_MOST]), *([f"and {more} other kinds"] if more > 0 else []))


def _folded(faults: Sequence[str]) -> list[str]:
    """Return faults counted by kind and network, such as `unknown: model.diffusion_model.* (686)`.

    What is alone stays whole, and of shapes that differ one is told.
    """
    groups: dict[str, list[str]] = {}
    for fault in faults:
        groups.setdefault(_head(fault), []).append(fault)
    return [
        group[0] if len(group) == 1 else f"{head}.* ({len(group)}{_example(group)})" for head, group in groups.items()
    ]


def _example(group: Sequence[str]) -> str:
    return f", such as {group[0].partition(': ')[2]}" if " has shape " in group[0] else ""


def _head(fault: str) -> str:
    """Return kind and network of a fault; numbers of blocks are not told apart."""
    first, *rest = fault.split(" has ")[0].split(".")
    return f"{first}.{rest[0]}" if rest and not rest[0].isdigit() else first
