"""Shadows and gaps of depth that is moved from one camera to another."""

import numpy as np
import pytest

from sparse_recon.lab.simulate.registration import gaps, hidden_from
from sparse_recon.lab.simulate.virtual_cameras import depth_camera

CAMERA = depth_camera(320, 240)
FLAT = np.zeros((240, 320), np.float32)


def step(left_m: float, right_m: float) -> np.ndarray:
    inverse_m = np.full(FLAT.shape, 1 / left_m, np.float32)
    inverse_m[:, 160:] = 1 / right_m
    return inverse_m


@pytest.mark.parametrize("offset_m", [0.05, -0.05])
def test_shadow_falls_on_the_side_away_from_the_second_camera(offset_m: float) -> None:
    inverse_m = step(1.2, 0.6) if offset_m > 0 else step(0.6, 1.2)
    hidden = hidden_from(inverse_m, CAMERA, offset_m, 90.0, FLAT)[120]
    width_px = CAMERA.fx * 0.05 * (1 / 0.6 - 1 / 1.2)
    assert hidden.sum() == pytest.approx(width_px, abs=1.5)
    assert hidden[155:160].all() if offset_m > 0 else hidden[160:165].all()
    assert not hidden_from(inverse_m[:, ::-1], CAMERA, offset_m, 90.0, FLAT).any()


def test_ends_of_a_shadow_wander_with_the_slack() -> None:
    slack_px = np.zeros_like(FLAT)
    slack_px[::2] = 3.0
    hidden = hidden_from(step(1.2, 0.6), CAMERA, 0.05, 90.0, slack_px).sum(axis=1)
    assert np.all(hidden[1::2] - hidden[::2] == 3)


def test_end_of_the_second_image_hides_the_rest() -> None:
    hidden = hidden_from(step(1.0, 1.0), CAMERA, 0.1, 20.0, FLAT)
    x = (np.arange(320) - CAMERA.cx) / CAMERA.fx
    np.testing.assert_array_equal(hidden[0], np.abs(x - 0.1) > np.tan(np.deg2rad(20.0)))


def test_stretched_depth_leaves_a_regular_grid_of_single_pixels() -> None:
    missed = gaps(np.ones_like(FLAT), 500.0, (0.02, 0.0), 1.25, lines=False)
    assert missed.mean() == pytest.approx(0.2**2, rel=0.1)  # every fifth row and column
    v, u = np.nonzero(missed)
    assert set(np.diff(np.unique(u))) == {5} and set(np.diff(np.unique(v))) == {5}
    assert gaps(np.ones_like(FLAT), 500.0, (0.02, 0.0), 1.25, lines=True).mean() == pytest.approx(0.36, rel=0.05)


def test_gaps_follow_depth_where_pixels_move_apart_and_nowhere_else() -> None:
    farther_below = np.linspace(1.5, 1.0, 240, dtype=np.float32)[:, None] + FLAT  # 1 / depth
    missed = gaps(farther_below, 500.0, (0.0, -0.02), 1.0, lines=True)
    shift_px = 500.0 * 0.02 * 0.5
    assert missed.all(axis=1).sum() == pytest.approx(shift_px, abs=1)  # one row for each pixel that it moved
    assert not gaps(farther_below[::-1], 500.0, (0.0, -0.02), 1.0, lines=True).any()
    assert not gaps(np.ones_like(FLAT), 500.0, (0.02, 0.02), 1.0, lines=True).any()
