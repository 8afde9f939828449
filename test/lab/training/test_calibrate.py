"""Temperatures and tails are found back where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.errors import InputError
from sparse_recon.fuse.confidence import mixture_quantile
from sparse_recon.lab.training.calibrate import Claims, calibrate


def claims(count: int, own: float, other: float, tail: float = 1.0, seed: int = 0) -> list[Claims]:
    """Objects whose errors are exponential, `own` or `other` times as large as claimed, with heavier tails beyond."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        claimed = rng.uniform(0.001, 0.006, 600).astype(np.float32)
        hidden = rng.random(600) < 0.4
        mean = claimed * np.where(hidden, other, own)
        error = rng.exponential(1.0, 600) * mean
        error = np.where(error > 0.005, 0.005 + tail * (error - 0.005), error)
        found.append(Claims(error.astype(np.float32), claimed, hidden))
    return found


def test_temperatures_of_both_kinds_are_found():
    found = calibrate(claims(60, own=2.0, other=3.0))
    assert found.hidden_by_self == pytest.approx(2.0, rel=0.08)
    assert found.hidden_by_other == pytest.approx(3.0, rel=0.08)
    assert found.tail == pytest.approx(1.07, abs=0.1)  # 60 objects ask for 91.5 % here to be sure of 90 elsewhere


def test_heavy_tails_are_stretched_until_new_objects_are_covered():
    found = calibrate(claims(60, own=1.0, other=1.0, tail=2.0))
    assert found.tail > 1.1
    shares = [
        np.mean(c.error_m <= found.tail * mixture_quantile(c.claimed_m, 0.9)) for c in claims(60, 1, 1, 2, seed=1)
    ]
    assert np.mean(shares) == pytest.approx(0.9, abs=0.02)


def test_kinds_that_were_not_seen_share_the_other_temperature():
    found = calibrate([Claims(c.error_m, c.claimed_m, np.zeros(600, bool)) for c in claims(20, 1.5, 1.5)])
    assert found.hidden_by_other == found.hidden_by_self


def test_few_objects_are_refused():
    with pytest.raises(InputError, match="10 are needed"):
        calibrate(claims(9, 1.0, 1.0))
