"""A few frames in place of many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparse_recon.types import Frame


def evenly_sampled(frames: Sequence[Frame], most: int) -> list[Frame]:
    """Return at most `most` frames, evenly spread over all."""
    pick = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).astype(int))
    return [frames[i] for i in pick]
