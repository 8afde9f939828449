"""Pooled calibration tells honest from overconfident claims, and how sure that is."""

import numpy as np
import pytest

from sparse_recon.errors import InputError
from sparse_recon.lab.evaluate.reliability import calibration_error, right_by_confidence


def bins_of(claimed: np.ndarray, right: np.ndarray) -> np.ndarray:
    index = np.minimum((15 * claimed).astype(int), 14)
    return np.stack([np.bincount(index, weights=w, minlength=15) for w in (np.ones(len(index)), claimed, right)], 1)


def test_honest_claims_have_no_calibration_error():
    rng = np.random.default_rng(6)
    claims = rng.random((20, 4000))
    found = calibration_error([bins_of(c, rng.random(4000) < c) for c in claims])
    assert found.value < 0.01 and found.low <= found.high < 0.02


def test_overconfident_claims_have_the_known_calibration_error():
    rng = np.random.default_rng(7)
    claims = rng.uniform(0.3, 1.0, (20, 4000))
    found = calibration_error([bins_of(c, rng.random(4000) < c - 0.2) for c in claims])
    assert found.value == pytest.approx(0.2, abs=0.01)
    assert found.low < found.value < found.high


def test_calibration_error_without_points_is_unknown():
    assert np.isnan(calibration_error(np.zeros((3, 15, 3))).value)
    with pytest.raises(InputError, match=r"\(objects, bins, 3\)"):
        calibration_error(np.zeros((15, 3)))


def test_reliability_has_the_shares_of_the_bins_and_their_interval():
    rng = np.random.default_rng(0)
    claimed = rng.random((10, 3000))
    right = rng.random((10, 3000)) < claimed
    index = np.minimum((15 * claimed).astype(int), 14)
    bins = [
        [[(i == b).sum(), c[i == b].sum(), r[i == b].sum()] for b in range(15)]
        for i, c, r in zip(index, claimed, right, strict=True)
    ]
    share, low, high = right_by_confidence(bins)
    assert share == pytest.approx((np.arange(15) + 0.5) / 15, abs=0.03)
    assert (low < share).all() and (share < high).all() and (high - low).max() < 0.1


def test_bins_without_points_have_no_share():
    bins = np.zeros((2, 3, 3))
    bins[:, 1] = (10, 5, 4)
    share, low, high = right_by_confidence(bins)
    assert np.isnan(share[[0, 2]]).all() and np.isnan(low[0]) and np.isnan(high[2])
    assert share[1] == pytest.approx(0.4)
