"""How far claimed errors must be stretched to be true, measured on objects that were not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparse_recon.evidence import VoxelState
from sparse_recon.types import Float32, SurfaceField


@dataclass(frozen=True)
class Calibration:
    """One temperature a kind of hidden surface, and the tail of all (`SurfaceField.tail`).

    Attributes
    ----------
    hidden_by_self : factor on claimed errors where the object hides itself, and elsewhere.
    hidden_by_other : where something else is in front of it.
    tail : split-conformal factor of outer quantiles.
    """

    hidden_by_self: float = 1.0
    hidden_by_other: float = 1.0
    tail: float = SurfaceField.tail

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Calibration:
        """Return the calibration in what a weights file says of itself; the neutral one where it says nothing.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it holds something else than positive numbers.
        """
        found = cls(**{name: float(value) for name, value in about.get("calibration", {}).items()})
        if not all(0 < value < 100 for value in asdict(found).values()):
            raise ValueError(f"calibration {asdict(found)} is not positive")
        return found

    def factors(self, state: np.ndarray) -> Float32:
        """Return the factor on the claimed error of each voxel by its `VoxelState` flags."""
        by_other = hidden_only_by_other(state)
        return np.where(by_other, np.float32(self.hidden_by_other), np.float32(self.hidden_by_self)).astype(np.float32)


def hidden_only_by_other(state: np.ndarray) -> np.ndarray:
    """Return where nothing but another thing hides what is there."""
    by_other, by_self = (state & VoxelState.HIDDEN_BY_OTHER) > 0, (state & VoxelState.HIDDEN_BY_SELF) > 0
    return by_other & ~by_self
