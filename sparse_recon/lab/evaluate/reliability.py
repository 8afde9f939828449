"""Statistics of reliability bins: calibration of many points together, with intervals over objects.

Bins are (K, B, 3): for each of K objects and B ranges of confidence the number of points, their summed confidence, and
how many of them are right.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.statistics import DRAWS, LEVEL, Estimate, percentiles, resampled
from sparse_recon.types import Float64


def calibration_error(bins: npt.ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate the expected calibration error of all points together (Naeini et al. 2015), bootstrap over objects.

    Parameters
    ----------
    bins : (K, B, 3) for each object and bin of confidence: points, their summed confidence, how many are right.

    Returns
    -------
    The error in [0, 1]; NaN without points. `count` is the number of objects.
    """
    table = _reliability(bins)
    if not table[..., 0].sum():
        return Estimate(np.nan, np.nan, np.nan, len(table))
    value = float(_calibration_errors(table.sum(axis=0)[None])[0])
    if len(table) == 1:
        return Estimate(value, np.nan, np.nan, 1)
    low, high = percentiles(_calibration_errors(_pooled(table, draws, seed)), level)
    return Estimate(value, low, high, len(table))


def right_by_confidence(
    bins: npt.ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> tuple[Float64, Float64, Float64]:
    """Return the share of right points in each bin of confidence, all objects together, and its interval's ends.

    Parameters
    ----------
    bins : (K, B, 3), see `calibration_error`.

    Returns
    -------
    Three (B,) arrays; NaN for bins without points.
    """
    table = _reliability(bins)
    right = _shares(table.sum(axis=0)[None])[0]
    drawn = _shares(_pooled(table, draws, seed)) if len(table) > 1 else right[None]
    drawn = np.where(np.isnan(right), 0.0, drawn)
    low, high = np.nanpercentile(drawn, [50 * (1 - level), 50 * (1 + level)], axis=0)
    missing = np.isnan(right)
    return right, np.where(missing, np.nan, low), np.where(missing, np.nan, high)


def _calibration_errors(pooled: Float64) -> Float64:
    """Return the errors of (M, B, 3) bins; NaN for those without points."""
    points = pooled[..., 0].sum(axis=1)
    gap = np.abs(pooled[..., 1] - pooled[..., 2]).sum(axis=1)
    return np.divide(gap, points, out=np.full(len(pooled), np.nan), where=points > 0)


def _shares(pooled: Float64) -> Float64:
    """Return the share of right points in the bins of (M, B, 3)."""
    count = pooled[..., 0]
    return np.divide(pooled[..., 2], count, out=np.full(count.shape, np.nan), where=count > 0)


def _pooled(table: Float64, draws: int, seed: int) -> Float64:
    """Return the (draws, B, 3) sums of bins over resampled objects."""
    times = np.zeros((draws, len(table)))
    np.add.at(times, (np.arange(draws)[:, None], resampled(len(table), draws, seed)), 1.0)
    return (times @ table.reshape(len(table), -1)).reshape(draws, *table.shape[1:])


def _reliability(bins: npt.ArrayLike) -> Float64:
    table = np.asarray(bins, dtype=np.float64)
    if table.ndim != 3 or table.shape[2] != 3:
        raise InputError(ErrorCode.USAGE, f"reliability bins must be (objects, bins, 3), got {table.shape}")
    return table
