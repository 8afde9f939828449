"""Slow fields have the stated strength and width, and the stated share of them stays."""

import numpy as np
import pytest

from sparse_recon.lab.simulate.slow_error import Draws, height_of

SHAPE = (400, 500)


def field(sigma_px: tuple[float, float], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return Draws(rng, rng, 0.0).field(SHAPE, sigma_px)


@pytest.mark.parametrize("sigma_px", [0.0, 1.0, 1.5, 3.0, 5.0, 8.0])
def test_field_has_variance_one_and_is_alike_over_the_stated_distance(sigma_px: float) -> None:
    fields = np.stack([field((sigma_px, sigma_px), seed) for seed in range(8)])
    assert np.mean(fields**2) == pytest.approx(1.0, rel=0.12)  # 8 px: 8 x 250 lumps are 3 %; interpolation takes 2 %
    apart = max(1, round(2 * sigma_px))
    alike = np.mean(fields[:, :, :-apart] * fields[:, :, apart:]) / np.mean(fields**2)
    assert alike == pytest.approx(np.exp(-(apart**2) / (4 * max(sigma_px, 1e-3) ** 2)), abs=0.06)


def test_field_may_be_wider_along_rows() -> None:
    wide = field((3.0, 9.0))
    along, down = (np.mean(wide[:, :-8] * wide[:, 8:]), np.mean(wide[:-8] * wide[8:]))
    assert along > 0.7 and down < 0.35


def test_share_that_changes_is_as_stated() -> None:
    frames = [Draws(np.random.default_rng(5), np.random.default_rng(s), 0.3).field(SHAPE, (4.0, 4.0)) for s in (0, 1)]
    assert np.corrcoef(frames[0].ravel(), frames[1].ravel())[0, 1] == pytest.approx(0.7, abs=0.06)


def test_height_covers_its_share() -> None:
    high = field((1.0, 1.0))
    for share in (0.01, 0.2, 0.7):
        assert np.mean(high > height_of(share)) == pytest.approx(share, rel=0.1)
    assert not np.any(high > height_of(0.0)) and np.all(high > height_of(1.0))
