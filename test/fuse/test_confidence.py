"""Probabilities and quantiles of the error model, against draws from it."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.fuse.confidence import CORRECT_WITHIN_M, error_quantile, mixture_quantile, probability_within

ERRORS_M = np.array([0.0, 1e-5, 0.001, 0.003, 0.01, 0.1, 10.0], np.float32)


def test_confidence_is_a_probability_and_falls_with_the_error():
    confidence = probability_within(ERRORS_M)
    assert confidence.dtype == np.float32
    assert np.all((confidence >= 0) & (confidence <= 1)) and np.isfinite(confidence).all()
    assert np.all(np.diff(confidence) <= 0) and confidence[0] > 0.99 and confidence[-1] < 0.01


def test_probability_grows_with_the_distance_allowed():
    error = np.full(1, 0.004, np.float32)
    assert probability_within(error, 0.002) < probability_within(error, 0.004) < probability_within(error, 0.02)


def stretch() -> float:
    """By how much outer quantiles lie beyond those of a Laplace error."""
    return float(error_quantile(np.ones(1, np.float32), 0.9)[0] / -np.log(0.1))


def test_quantiles_are_never_inside_the_laplace_ones():
    assert 1.0 <= stretch() + 1e-6 < 1.5


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_quantile_and_probability_agree(quantile):
    error = np.array([0.001, 0.004, 0.02], np.float32)
    for e, distance in zip(error, error_quantile(error, quantile), strict=True):
        stretched = np.array([e * stretch()], np.float32)
        assert probability_within(stretched, float(distance))[0] == pytest.approx(quantile, abs=1e-5)


def test_mixture_of_equal_errors_is_their_quantile():
    error = np.full(100, 0.003, np.float32)
    assert mixture_quantile(error, 0.9) == pytest.approx(float(error_quantile(error, 0.9)[0]), rel=1e-4)


def test_mixture_quantile_holds_for_drawn_errors():
    rng = np.random.default_rng(0)
    expected = rng.choice([0.001, 0.006, 0.02], 200_000, p=[0.6, 0.3, 0.1]).astype(np.float32)
    drawn = rng.laplace(scale=expected * stretch())
    assert np.mean(np.abs(drawn) < mixture_quantile(expected, 0.9)) == pytest.approx(0.9, abs=0.005)


def test_confidence_is_the_share_of_drawn_errors_that_are_small():
    rng = np.random.default_rng(0)
    expected = rng.choice([0.001, 0.006, 0.02], 200_000, p=[0.6, 0.3, 0.1]).astype(np.float32)
    right = np.abs(rng.laplace(scale=expected)) < CORRECT_WITHIN_M
    assert right.mean() == pytest.approx(probability_within(expected).mean(), abs=0.005)


def test_mixture_of_nothing_is_zero():
    assert mixture_quantile(np.zeros(0, np.float32), 0.9) == 0.0
