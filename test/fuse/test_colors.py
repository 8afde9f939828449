"""Colours are measured, carried over, or grey."""

from __future__ import annotations

import numpy as np

from sparse_recon.fuse.colors import UNKNOWN_GREY, surface_colors

SEEN = np.array([[0, 0, 0], [0.1, 0, 0]], np.float32)
RED_BLUE = np.array([[250, 0, 0], [0, 0, 250]], np.uint8)


def colors(points, observed):
    return surface_colors(np.array(points, np.float32), np.array(observed), SEEN, RED_BLUE).astype(int)


def test_observed_points_have_the_colour_of_the_nearest_measured_one():
    assert colors([[0.01, 0, 0], [0.09, 0, 0]], [True, True]).tolist() == RED_BLUE.tolist()


def test_carried_colour_fades_to_grey_with_distance():
    near, far, farthest = colors([[0.05, 0.01, 0], [0.05, 0.1, 0], [0.05, 5.0, 0]], [False] * 3)
    mean = RED_BLUE.astype(float).mean(axis=0)
    assert np.abs(near - mean).max() < np.abs(far - mean).max() < np.abs(farthest - mean).max()
    assert np.abs(farthest - UNKNOWN_GREY).max() <= 1


def test_all_is_grey_where_nothing_was_measured():
    nothing = surface_colors(SEEN, np.zeros(2, bool), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    assert (nothing == UNKNOWN_GREY).all()
