"""From expected errors to calibrated probabilities, and from probabilities to safe growth."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Float32

# A point counts as right within this distance of the true surface.
CORRECT_WITHIN_M = 0.005


def probability_within(error_m: Float32, distance_m: float = CORRECT_WITHIN_M) -> Float32:
    """Return P(|e| < distance) of an error whose mean absolute value is `error_m` (Laplace), in [0, 1].

    Heavy tails suit imagined surface: most of it is nearly right, some of it is far off.
    """
    return (1.0 - np.exp(-distance_m / np.maximum(error_m, np.float32(1e-6)))).astype(np.float32)


def error_quantile(error_m: Float32, quantile: float) -> Float32:
    """Return the distance within which the error stays with probability `quantile` (Laplace), metres."""
    return (-np.log(1.0 - quantile) * error_m).astype(np.float32)


def mixture_quantile(error_m: Float32, quantile: float) -> float:
    """Return the distance within which `quantile` of all points lie, each with its own expected error, metres."""
    if len(error_m) == 0:
        return 0.0
    low, high = 0.0, float(-np.log(1.0 - quantile) * error_m.max()) + 1e-6
    for _ in range(40):
        mid = 0.5 * (low + high)
        if float(np.mean(probability_within(error_m, mid))) < quantile:
            low = mid
        else:
            high = mid
    return high
