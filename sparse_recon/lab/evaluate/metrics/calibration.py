"""Whether claimed confidence is true: calibration, sparsification, coverage and rank correlation."""

from __future__ import annotations

import numpy as np

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.types import Bool, Float32, Float64

BINS = 15


def reliability(confidence: Float32, right: Bool, bins: int = BINS) -> Float64:
    """Return, for each of `bins` equal ranges of confidence: points, summed confidence, points that are right.

    (bins, 3) float64. Tables of several objects may be added.

    Parameters
    ----------
    confidence : (N,) claimed probability of being right, in [0, 1]; 1 belongs to the last range.
    right : (N,) bool.

    Raises
    ------
    InputError
        USAGE if lengths differ, or a confidence is not in [0, 1].
    """
    _check(confidence, right)
    value = confidence.astype(np.float64)
    index = np.minimum((value * bins).astype(np.intp), bins - 1)
    columns = [np.bincount(index, weights=w, minlength=bins) for w in (np.ones(len(value)), value, right.astype(float))]
    return np.stack(columns, axis=1)


def expected_calibration_error(table: Float64) -> float:
    """Return the ECE, in [0, 1], of a `reliability` table (Naeini, Cooper, Hauskrecht, AAAI 2015); NaN of no points."""
    total = table[:, 0].sum()
    return float(np.abs(table[:, 1] - table[:, 2]).sum() / total) if total > 0 else float("nan")


def area_under_sparsification_error(confidence: Float32, error_m: Float32) -> float:
    """Return the AUSE: how far an order by confidence is from that by true error; 0 is as good, 1 is chance.

    The least confident points are taken away one by one, and the mean error of those that remain is followed (Ilg et
    al., ECCV 2018). The area between this curve and that of the true order is divided by the area between the curve
    of a random order, which is flat, and that of the true order. Points of equal confidence are taken in a random
    order, on average. May exceed 1. NaN if there are no points, or if all errors are equal.

    Raises
    ------
    InputError
        USAGE if lengths differ, or a confidence is not in [0, 1].
    """
    _check(confidence, error_m)
    if len(error_m) == 0:
        return float("nan")
    error = error_m.astype(np.float64)
    by_confidence = _remaining(_tied_means(-confidence.astype(np.float64), error))
    by_error = _remaining(np.sort(error))
    random = float(by_error[-1] - by_error.mean())
    if random <= 1e-12 * float(by_error[-1]):
        return float("nan")
    return float(by_confidence.mean() - by_error.mean()) / random


def coverage(error_m: Float32, radius_m: float) -> float:
    """Return the share of (N,) errors that are no larger than a radius; NaN of none."""
    return float((error_m <= radius_m).mean()) if len(error_m) else float("nan")


def spearman(confidence: Float32, error_m: Float32) -> float:
    """Return Spearman's rank correlation, in [-1, 1], of 1 - confidence with the error; NaN if one does not vary.

    Raises
    ------
    InputError
        USAGE if lengths differ, or a confidence is not in [0, 1].
    """
    from scipy.stats import spearmanr

    _check(confidence, error_m)
    if len(error_m) < 2 or np.ptp(confidence) == 0 or np.ptp(error_m) == 0:
        return float("nan")
    return float(spearmanr(-confidence, error_m).statistic)


def _remaining(sorted_error: Float64) -> Float64:
    """Mean error of the first 1, 2, ... N points."""
    return np.cumsum(sorted_error) / np.arange(1, len(sorted_error) + 1)


def _tied_means(key: Float64, error: Float64) -> Float64:
    """Sort errors by a key; those of one key become their mean."""
    _, group, count = np.unique(key, return_inverse=True, return_counts=True)
    # Summed in the order of size, so that the result does not depend on the order of the points.
    order = np.argsort(error, kind="stable")
    mean = np.bincount(group.ravel()[order], weights=error[order]) / count
    return np.repeat(mean, count)


def _check(confidence: Float32, other: Float32 | Bool) -> None:
    if confidence.ndim != 1 or confidence.shape != other.shape:
        raise InputError(
            ErrorCode.USAGE, f"confidence and errors must both be (N,), got {confidence.shape} and {other.shape}"
        )
    if len(confidence) and not (confidence.min() >= 0.0 and confidence.max() <= 1.0):
        raise InputError(
            ErrorCode.USAGE,
            f"confidence must be a probability in [0, 1], got {confidence.min():g} to {confidence.max():g}",
        )
