"""Statistics of reliability bins: calibration of many points together, with intervals over objects.

Bins are (K, B, 3): for each of K objects and B ranges of confidence the number of points, their summed confidence, and
how many of them are right.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.statistics import DRAWS, LEVEL, Estimate, resampled
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
    value = float(_calibration_errors(table.sum(axis=0)))
    if len(table) == 1:
        return Estimate(value, np.nan, np.nan, 1)
    drawn = resampled(np.arange(len(table)), lambda rows, axis: _calibration_errors(_pooled(table, rows)), draws, seed)
    low, high = np.nanpercentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return Estimate(value, float(low), float(high), len(table))


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
    right = _shares(table.sum(axis=0))
    missing = np.isnan(right)
    drawn = right[:, None]
    if len(table) > 1:
        drawn = resampled(np.arange(len(table)), lambda rows, axis: _shares(_pooled(table, rows)), draws, seed)
    drawn = np.where(missing[:, None], 0.0, drawn)
    low, high = np.nanpercentile(drawn, [50 * (1 - level), 50 * (1 + level)], axis=1)
    return right, np.where(missing, np.nan, low), np.where(missing, np.nan, high)


def _calibration_errors(pooled: Float64) -> Float64:
    """Return the errors (...) of (..., B, 3) bins; NaN for those without points."""
    points = pooled[..., 0].sum(axis=-1)
    gap = np.abs(pooled[..., 1] - pooled[..., 2]).sum(axis=-1)
    return np.divide(gap, points, out=np.full(points.shape, np.nan), where=points > 0)


def _shares(pooled: Float64) -> Float64:
    """Return the shares (B, ...) of right points in the bins of (..., B, 3)."""
    count = pooled[..., 0]
    shares = np.divide(pooled[..., 2], count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.moveaxis(shares, -1, 0)


def _pooled(table: Float64, rows: npt.NDArray[np.intp]) -> Float64:
    """Return the sums of bins, (..., B, 3), over the objects (..., K) that were drawn."""
    drawn = rows.reshape(-1, rows.shape[-1])
    times = np.zeros((len(drawn), len(table)))
    np.add.at(times, (np.arange(len(drawn))[:, None], drawn), 1.0)
    return (times @ table.reshape(len(table), -1)).reshape(*rows.shape[:-1], *table.shape[1:])


def _reliability(bins: npt.ArrayLike) -> Float64:
    table = np.asarray(bins, dtype=np.float64)
    if table.ndim != 3 or table.shape[2] != 3:
        raise InputError(ErrorCode.USAGE, f"reliability bins must be (objects, bins, 3), got {table.shape}")
    return table
