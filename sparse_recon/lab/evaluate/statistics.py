"""Medians, intervals and tests over objects: what a difference in a table is worth.

Objects are the unit. Cases of one object (seeds) are averaged first, because they are no independent evidence.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.types import Bool, Float64

LEVEL = 0.95
DRAWS = 2000
# Two values this close, relative to the larger, are the same but for rounding.
_SAME = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A statistic and the interval that holds the true one with probability `LEVEL`; NaN where it is unknown.

    Attributes
    ----------
    count : objects (or trials) behind it. With fewer than two there is no interval.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Paired:
    """Two methods on the same objects; costs, so lower is better.

    Attributes
    ----------
    difference : median of second minus first, with its interval.
    p_value : two-sided, of the Wilcoxon signed-rank test that the differences are symmetric about 0.
    better, worse : shares of the objects where the second is better or worse; the rest are ties.
    """

    difference: Estimate
    p_value: float
    better: float
    worse: float

    @property
    def count(self) -> int:
        return self.difference.count


@dataclass(frozen=True)
class McNemar:
    """Paired successes: trials that only the first, or only the second, got right, and the two-sided exact p value."""

    first_only: int
    second_only: int
    p_value: float


def per_object(objects: Sequence[str], values: npt.ArrayLike) -> tuple[tuple[str, ...], Float64]:
    """Average the cases of each object.

    Parameters
    ----------
    objects : N names.
    values : (N,) finite.

    Returns
    -------
    K names, sorted, and (K,) means.
    """
    checked = _values(values)
    names, index = np.unique(np.asarray(objects, dtype=str), return_inverse=True)
    sums = np.bincount(index, weights=checked, minlength=len(names))
    return tuple(str(name) for name in names), sums / np.bincount(index, minlength=len(names))


def bootstrap(
    values: npt.ArrayLike,
    *,
    statistic: Literal["median", "mean"] = "median",
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Estimate a median or mean with the percentile interval of the bootstrap over objects.

    Efron, "Bootstrap methods: another look at the jackknife", 1979; Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13. The same values in any order give the same interval.

    Parameters
    ----------
    values : (K,) one finite value an object.
    draws : 0 for no interval.

    Raises
    ------
    InputError
        If a value is not finite or the array is not flat.
    """
    ordered = np.sort(_values(values))
    reduce = np.median if statistic == "median" else np.mean
    count = len(ordered)
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value = float(reduce(ordered))
    if count == 1 or not draws:
        return Estimate(value, np.nan, np.nan, count)
    low, high = np.percentile(resampled(ordered, reduce, draws, seed), [50 * (1 - level), 50 * (1 + level)])
    return Estimate(value, float(low), float(high), count)


def paired(first: npt.ArrayLike, second: npt.ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Paired:
    """Compare two methods by their costs on the same objects.

    Wilcoxon, "Individual comparisons by ranking methods", 1945; exact for up to 50 objects without ties, and with
    zero differences ranked as Pratt (1959) does, so that objects without change count against a difference.

    Parameters
    ----------
    first, second : (K,) one finite cost an object, in the same order; lower is better.

    Raises
    ------
    InputError
        If a value is not finite or the lengths differ.
    """
    a, b = _values(first), _values(second)
    if len(a) != len(b):
        raise InputError(ErrorCode.USAGE, f"a paired comparison needs equally many values, got {len(a)} and {len(b)}")
    difference = np.where(agreeing(a, b), 0.0, b - a)
    if not len(difference):
        return Paired(bootstrap(difference), np.nan, np.nan, np.nan)
    return Paired(
        bootstrap(difference, draws=draws, seed=seed),
        _signed_rank(difference),
        float(np.mean(difference < 0)),
        float(np.mean(difference > 0)),
    )


def holm(p_values: npt.ArrayLike) -> Float64:
    """Return p values corrected for how many there are (Holm, "A simple sequentially rejective procedure", 1979).

    Parameters
    ----------
    p_values : (N,) in [0, 1]; NaN for a test that could not be made, which stays NaN and does not count.

    Returns
    -------
    (N,) adjusted, in the same order.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted


def wilson(successes: int, count: int, *, level: float = LEVEL) -> Estimate:
    """Return a proportion with its score interval (Wilson 1927; Newcombe 1998, method 3).

    Raises
    ------
    InputError
        If there are more successes than trials, or a number is negative.
    """
    if not 0 <= successes <= count:
        raise InputError(ErrorCode.USAGE, f"{successes} successes of {count} trials: give 0 <= successes <= trials")
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0)
    from scipy.stats import binomtest

    interval = binomtest(successes, count).proportion_ci(level, method="wilson")
    return Estimate(successes / count, float(interval.low), float(interval.high), count)


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> McNemar:
    """Compare two methods by success or failure in the same trials (McNemar 1947, exact conditional test).

    Parameters
    ----------
    first, second : (N,) bool, in the same order.

    Raises
    ------
    InputError
        If the lengths differ.
    """
    a, b = (np.asarray(x, dtype=bool).reshape(-1) for x in (first, second))
    if len(a) != len(b):
        raise InputError(ErrorCode.USAGE, f"a paired comparison needs equally many trials, got {len(a)} and {len(b)}")
    first_only, second_only = int((a & ~b).sum()), int((b & ~a).sum())
    if first_only + second_only == 0:
        return McNemar(0, 0, 1.0)
    from scipy.stats import binomtest

    return McNemar(first_only, second_only, float(binomtest(first_only, first_only + second_only, 0.5).pvalue))


def agreeing(first: npt.ArrayLike, second: npt.ArrayLike) -> Bool:
    """Return which pairs of values are the same but for rounding."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return np.asarray(np.abs(b - a) <= _SAME * np.maximum(np.abs(a), np.abs(b)))


def _signed_rank(difference: Float64) -> float:
    if not difference.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(difference, zero_method="pratt").pvalue)


def resampled(
    sample: npt.NDArray[np.generic], statistic: Callable[..., npt.NDArray[np.float64]], draws: int, seed: int
) -> Float64:
    """Return a statistic of `draws` samples drawn from one, with replacement; the same seed gives the same ones.

    Parameters
    ----------
    sample : (K,) values, or indices of what is drawn together.
    statistic : takes (..., K) values and `axis=-1`, returns (...) or (B, ...).

    Returns
    -------
    (draws,) or (B, draws).
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    generator = np.random.default_rng((seed, len(sample)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of intervals where some draws are NaN
        found = bootstrap(
            (sample,), statistic, n_resamples=draws, vectorized=True, method="percentile", random_state=generator
        )
    return np.asarray(found.bootstrap_distribution, np.float64)


def _values(values: npt.ArrayLike) -> Float64:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InputError(
            ErrorCode.USAGE,
            f"statistics take a flat list of finite numbers, got shape {array.shape} with {bad} not finite; leave out "
            "what was not measured",
        )
    return array
