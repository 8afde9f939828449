"""How much of what was measured within the outline of something is of it."""

import numpy as np
import pytest

from sparse_recon.observe.wholeness import wholeness

SHAPE = (120, 160)
V, U = np.indices(SHAPE)
PIXELS = np.stack([U.ravel(), V.ravel()], axis=1).astype(np.int32)
RADIUS = np.hypot(U - 80, V - 60).ravel()
NOBODY = np.zeros(len(PIXELS), bool)


def test_a_disc_is_whole_and_a_ring_is_what_it_covers():
    assert wholeness([PIXELS], [RADIUS < 40], [NOBODY], [SHAPE]) > 0.97
    ring = (RADIUS < 40) & (RADIUS > 20)
    assert wholeness([PIXELS], [ring], [NOBODY], [SHAPE]) == pytest.approx(0.75, abs=0.03)


def test_spots_are_the_share_that_they_cover():
    spots = (RADIUS < 50) & ((U // 6 % 3 == 0) & (V // 6 % 3 == 0)).ravel()
    assert wholeness([PIXELS], [spots], [NOBODY], [SHAPE]) == pytest.approx(1 / 9, abs=0.04)


def test_what_was_not_measured_or_is_hidden_does_not_count():
    disc, band = RADIUS < 40, (np.abs(U - 80) < 12).ravel()
    measured = ~band
    assert wholeness([PIXELS[measured]], [disc[measured]], [NOBODY[measured]], [SHAPE]) > 0.97
    assert wholeness([PIXELS], [disc & ~band], [band], [SHAPE]) > 0.97
    assert wholeness([PIXELS], [disc & ~band], [NOBODY], [SHAPE]) < 0.7


def test_frames_that_show_little_say_nothing():
    disc, corner = RADIUS < 40, (RADIUS < 40) & ((U + V) % 40 == 0).ravel()
    assert wholeness([PIXELS] * 2, [disc, corner], [NOBODY] * 2, [SHAPE] * 2) > 0.97
    assert wholeness([PIXELS], [NOBODY], [NOBODY], [SHAPE]) == 1.0
