"""Depth filters on images of a few pixels, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.evidence.depth_filter import (
    MIN_SAME_SHARE,
    carving_depth,
    smoothed,
    valid_neighbours,
    without_flying_pixels,
)

NAN = np.float32(np.nan)


def plane(value_m: float = 1.0, size: int = 9) -> np.ndarray:
    return np.full((size, size), value_m, np.float32)


def test_carving_depth_is_the_nearest_of_the_eight_neighbours_and_the_pixel():
    depth_m = plane()
    depth_m[3, 5] = 0.4
    expected = plane()
    expected[2:5, 4:7] = 0.4
    np.testing.assert_array_equal(carving_depth(depth_m, depth_m > 0), expected)


@pytest.mark.parametrize(("missing", "carved"), [(1, True), (2, True), (3, False)])
def test_a_pinhole_is_carved_through_and_a_gap_is_not(missing, carved):
    depth_m = plane()
    depth_m[4, 4 : 4 + missing] = NAN  # the first of them has 8, 7 or 7 neighbours, the one amid three has 6
    middle = (4, 4 + missing // 2)
    assert np.isfinite(carving_depth(depth_m, depth_m > 0)[middle]) == carved


def test_valid_neighbours_count_the_window_and_nothing_beyond_the_image():
    valid = np.ones((5, 6), bool)
    valid[2, 3] = False
    count = valid_neighbours(valid, 3)
    assert count[0].tolist() == [4, 6, 6, 6, 6, 4] and count[2].tolist() == [6, 9, 8, 8, 8, 6]
    assert valid_neighbours(valid, 5)[2].tolist() == [15, 19, 24, 24, 19, 14]


def test_smoothing_averages_noise_and_keeps_an_edge():
    depth_m = np.where(np.arange(40)[None, :] < 20, 0.5, 0.6) * np.ones((40, 1))
    noisy = (depth_m + np.random.default_rng(0).normal(0, 0.001, depth_m.shape)).astype(np.float32)
    smooth = smoothed(noisy, noisy > 0, np.full(noisy.shape, 0.001, np.float32))
    assert np.std(smooth - depth_m) < 0.4 * np.std(noisy - depth_m)  # of about 20 pixels in the window
    assert np.abs(smooth - depth_m).max() < 0.003  # the edge of 100 mm is where it was


def test_smoothing_takes_nothing_from_invalid_pixels_and_leaves_them_invalid():
    depth_m = plane(0.5)
    depth_m[4, 4], depth_m[0] = NAN, 0.0
    smooth = smoothed(depth_m, depth_m > 0, np.full(depth_m.shape, 0.001, np.float32))
    np.testing.assert_array_equal(np.isnan(smooth), ~(depth_m > 0))
    np.testing.assert_allclose(smooth[depth_m > 0], 0.5, atol=1e-6)
    nothing = smoothed(depth_m, np.zeros(depth_m.shape, bool), depth_m)
    assert nothing.shape == depth_m.shape and np.isnan(nothing).all()


@pytest.mark.parametrize("at", [(0, 0), (0, 4), (4, 0), (8, 8), (4, 4)])
def test_a_pixel_alone_in_the_air_is_dropped_and_its_neighbours_stay(at):
    depth_m = plane()
    depth_m[at] = 0.8
    kept = without_flying_pixels(depth_m, 0.02)
    assert np.isnan(kept[at]) and np.isnan(kept).sum() == 1


@pytest.mark.parametrize("turns", range(4))
def test_the_rim_of_a_corner_stays_and_what_hangs_between_two_surfaces_goes(turns):
    depth_m = plane()
    depth_m[:5, :5] = 0.8  # a near corner
    depth_m[5, :5] = 0.9  # a row that averages both: each pixel has two of eight neighbours with it
    kept = without_flying_pixels(np.rot90(depth_m, turns).copy(), 0.02)
    np.testing.assert_array_equal(np.isnan(kept), np.rot90(depth_m == np.float32(0.9), turns))


@pytest.mark.parametrize("offset", [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])
def test_one_of_three_neighbours_on_the_same_surface_is_enough_whichever_it_is(offset):
    depth_m = np.full((5, 5), NAN, np.float32)
    depth_m[2, 2], depth_m[2 + offset[0], 2 + offset[1]] = 1.0, 1.004
    depth_m[2 - offset[0], 2 - offset[1]] = 1.5
    assert np.isfinite(without_flying_pixels(depth_m, 0.01)[2, 2])  # 4 mm is less than half of 10 mm
    assert np.isnan(without_flying_pixels(depth_m, 0.006)[2, 2])


@pytest.mark.parametrize(("same", "kept"), [(2, False), (3, True)])
def test_three_of_eight_neighbours_must_lie_on_the_surface(same, kept):
    ring = [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1), (2, 1)]
    depth_m = np.full((5, 5), 2.0, np.float32)
    depth_m[2, 2] = 1.0
    for v, u in ring[:same]:
        depth_m[v, u] = 1.0
    assert np.isfinite(without_flying_pixels(depth_m, 0.02)[2, 2]) == kept


def without_flying_pixels_one_neighbour_at_a_time(depth_m, edge_jump_m):
    padded = np.pad(depth_m, 1, constant_values=np.nan)
    height, width = depth_m.shape
    valid, same = np.zeros(depth_m.shape, np.uint8), np.zeros(depth_m.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        for dv, du in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            neighbour = padded[1 + dv : 1 + dv + height, 1 + du : 1 + du + width]
            same += np.abs(neighbour - depth_m) < np.float32(0.5 * edge_jump_m)
            valid += neighbour > 0
    return np.where(same >= np.maximum(MIN_SAME_SHARE * valid, 1), depth_m, np.float32(np.nan))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (33, 47), (240, 320)])
@pytest.mark.parametrize("edge_jump_m", [1e-6, 0.01, 0.02, 1.0])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.9, 1.0])
def test_the_filter_equals_the_plain_one_bit_for_bit(shape, edge_jump_m, missing):
    rng = np.random.default_rng(shape[0] * shape[1])
    depth_m = (0.5 + 0.005 * rng.integers(0, 6, shape)).astype(np.float32)  # many differences of the limit itself
    depth_m += rng.choice(np.float32([0, 1e-7, 0.3]), shape)
    depth_m[rng.random(shape) < missing] = NAN
    expected = without_flying_pixels_one_neighbour_at_a_time(depth_m, edge_jump_m)
    got = without_flying_pixels(depth_m, edge_jump_m)
    assert got.dtype == np.float32 and got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, -np.inf, 1e-40, 3e38])
def test_numbers_that_are_no_depth_count_as_in_the_plain_filter(value):
    depth_m = np.random.default_rng(1).choice(np.float32([0.5, 0.505, value]), (40, 50))
    expected = without_flying_pixels_one_neighbour_at_a_time(depth_m, 0.02)
    assert without_flying_pixels(depth_m, 0.02).tobytes() == expected.tobytes()
