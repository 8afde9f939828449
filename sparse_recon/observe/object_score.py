"""How sure it is that something is an object and not a bump, a wall or noise: a calibrated probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.evidence.depth_noise import robust_sigma
from sparse_recon.types import Float32

# Of the heights above the support, the share that something's height is; strays are above it.
TOP = 0.95
# Noise of the support is never taken for less, metres.
LEAST_NOISE_M = 0.0005
# Shares count up to this.
SURE = 0.98
# A thing so many times as high as the support's noise does not get surer with height.
MOST_RELIEF, MOST_PIXELS = 100.0, 20000.0


@dataclass(frozen=True)
class ObjectCues:
    """What speaks for something being an object.

    Attributes
    ----------
    objectness : mean probability of being of a thing that the network gives its pixels; None where it was not asked.
    agreement : mean share of the pixels that measured its points which frames call this one thing; None as above.
    relief : its height above the support over the noise of that; None without a support plane.
    pixels : its depth pixels in all frames.
    """

    objectness: float | None
    agreement: float | None
    relief: float | None
    pixels: int

    def features(self) -> npt.NDArray[np.float64]:
        """Return what the score is linear in: a constant, logits of the shares, logarithms of the others."""
        told = [0.0, 0.0]
        if self.objectness is not None and self.agreement is not None:
            told = [_logit(self.objectness), _logit(self.agreement)]
        relief = 1.0 if self.relief is None else float(np.clip(self.relief, 1.0, MOST_RELIEF))
        return np.array([1.0, *told, np.log10(relief), np.log10(min(max(self.pixels, 1), MOST_PIXELS))])


def _logit(share: float) -> float:
    share = min(max(share, 1.0 - SURE), SURE)
    return float(np.log(share / (1.0 - share)))


# `benchmarks/object_scores.py --fit` finds these in simulated clutter: with a network, and by gaps alone. The latter
# find four times as many pieces of trays and shelves as things there, which robots' tables do not hold: true and
# phantom ones count alike for them, and the constant is 1.25 higher than was found: 0.6 lists 9 of 10 true ones.
WEIGHTS_TOLD = np.array([-5.55, 2.13, -0.35, 1.86, 0.51])
WEIGHTS_GAPS = np.array([-4.43, 0.0, 0.0, 1.47, 1.26])


def object_score(cues: ObjectCues, weights: npt.NDArray[np.float64] | None = None) -> float:
    """Return the probability in [0, 1] of being an object (logistic regression); `weights` replace the usual ones."""
    if weights is None:
        weights = WEIGHTS_GAPS if cues.objectness is None else WEIGHTS_TOLD
    return float(1.0 / (1.0 + np.exp(-(weights @ cues.features()))))


def support_noise_m(height_m: Float32, on_plane: npt.NDArray[np.bool_]) -> float:
    """Return the standard deviation of the heights (N,) of a support plane, from the median, at least half a mm."""
    return max(robust_sigma(height_m[on_plane]) if on_plane.any() else 0.0, LEAST_NOISE_M)
