"""Confidence of synthetic predictors whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.calibration import (
    area_under_sparsification_error,
    coverage,
    expected_calibration_error,
    reliability,
    spearman,
)

MANY = 200_000


def claims(seed: int = 0) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.random(MANY).astype(np.float32), rng


def test_calibrated_predictor_has_no_calibration_error():
    confidence, rng = claims()
    table = reliability(confidence, rng.random(MANY) < confidence)
    # 13 000 points a bin scatter by 0.004.
    assert expected_calibration_error(table) < 0.006


def test_overconfident_predictor_has_the_known_calibration_error():
    confidence, rng = claims()
    table = reliability(confidence, rng.random(MANY) < confidence**2)
    assert expected_calibration_error(table) == pytest.approx(1 / 2 - 1 / 3, abs=0.005)  # mean of c - c^2


def test_constant_claim_is_off_by_the_difference_to_the_share_that_is_right():
    right = np.arange(1000) < 600
    assert expected_calibration_error(reliability(np.full(1000, 0.9, np.float32), right)) == pytest.approx(0.3)


def test_too_much_and_too_little_confidence_do_not_cancel():
    confidence = np.repeat(np.array([0.1, 0.9], np.float32), 500)
    right = np.arange(1000) % 2 == 0
    assert expected_calibration_error(reliability(confidence, right)) == pytest.approx(0.4)


def test_reliability_counts_claims_and_hits_by_bin():
    confidence = np.array([0.0, 0.05, 0.5, 1.0, 1.0], np.float32)
    table = reliability(confidence, np.array([True, False, True, True, False]), bins=10)
    assert table.shape == (10, 3)
    np.testing.assert_allclose(table[[0, 5, 9]], [[2, 0.05, 1], [1, 0.5, 1], [2, 2.0, 1]], atol=1e-6)
    assert table[:, 0].sum() == 5


def test_tables_of_several_objects_add_up():
    confidence, rng = claims()
    right = rng.random(MANY) < confidence
    parts = sum(reliability(confidence[s], right[s]) for s in (slice(0, 777), slice(777, None)))
    np.testing.assert_allclose(parts, reliability(confidence, right), rtol=1e-12)


def test_order_by_true_error_has_no_sparsification_error():
    error = np.random.default_rng(0).exponential(0.01, 5000).astype(np.float32)
    confidence = np.exp(-error / 0.01)
    assert area_under_sparsification_error(confidence, error) == pytest.approx(0.0, abs=1e-12)
    assert spearman(confidence, error) == pytest.approx(1.0)


def test_random_order_has_sparsification_error_one():
    rng = np.random.default_rng(0)
    values = [
        area_under_sparsification_error(rng.random(5000).astype(np.float32), rng.exponential(0.01, 5000))
        for _ in range(20)
    ]
    assert np.mean(values) == pytest.approx(1.0, abs=0.02)


def test_confidence_that_never_varies_is_exactly_as_good_as_chance():
    error = np.random.default_rng(0).exponential(0.01, 5000).astype(np.float32)
    assert area_under_sparsification_error(np.full(5000, 0.7, np.float32), error) == pytest.approx(1.0, abs=1e-12)


def test_inverted_order_is_worse_than_chance():
    error = np.random.default_rng(0).uniform(0, 0.01, 5000).astype(np.float32)
    assert area_under_sparsification_error(100 * error, error) > 1.5
    assert spearman(100 * error, error) == pytest.approx(-1.0)


def test_half_informed_order_has_half_the_sparsification_error():
    # Half of the points are wrong by one: a quarter of those claimed good, three quarters of those claimed bad.
    n = 40_000
    good = np.arange(n) < n // 2
    wrong = np.arange(n) % 4 < np.where(good, 1, 3)
    confidence = np.where(good, 0.9, 0.1).astype(np.float32)
    assert area_under_sparsification_error(confidence, wrong.astype(np.float32)) == pytest.approx(0.5, abs=1e-3)


def test_order_of_points_does_not_matter():
    rng = np.random.default_rng(0)
    confidence, error = np.round(rng.random(3000), 2).astype(np.float32), rng.exponential(0.01, 3000)
    order = rng.permutation(3000)
    for measure in (area_under_sparsification_error, spearman):
        assert measure(confidence[order], error[order]) == measure(confidence, error)
    one, other = (reliability(c, e < 0.005) for c, e in ((confidence, error), (confidence[order], error[order])))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_spearman_with_ties_is_scipys():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    confidence, error = np.round(rng.random(500), 1), np.round(rng.exponential(1, 500), 1)
    assert spearman(confidence, error) == pytest.approx(spearmanr(1 - confidence, error).statistic)


def test_radius_covers_the_errors_within_it():
    assert coverage(np.linspace(0.001, 0.1, 100), 0.09) == pytest.approx(0.9)


def test_nothing_has_no_calibration():
    none = np.zeros(0, np.float32)
    values = [
        expected_calibration_error(reliability(none, none > 0)),
        area_under_sparsification_error(none, none),
        coverage(none, 0.01),
        spearman(none, none),
    ]
    assert np.isnan(values).all()


def test_equal_errors_have_no_order():
    confidence = np.linspace(0, 1, 10).astype(np.float32)
    same = np.full(10, 0.003, np.float32)
    assert np.isnan([area_under_sparsification_error(confidence, same), spearman(confidence, same)]).all()


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_confidence_that_is_no_probability_is_refused(value):
    confidence = np.array([0.5, value], np.float32)
    for measure in (reliability, area_under_sparsification_error, spearman):
        with pytest.raises(InputError, match="probability") as caught:
            measure(confidence, np.array([0.1, 0.2]))
        assert caught.value.code == ErrorCode.USAGE


def test_other_numbers_of_errors_are_refused():
    with pytest.raises(InputError, match=r"must both be \(N,\)") as caught:
        spearman(np.zeros(3, np.float32), np.zeros(4))
    assert caught.value.code == ErrorCode.USAGE
