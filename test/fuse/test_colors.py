"""Colours are measured, carried over, usual, or grey."""

from __future__ import annotations

import numpy as np

from sparse_recon.fuse.colors import UNKNOWN_GREY, surface_colors

SEEN = np.array([[0, 0, 0], [0.1, 0, 0]], np.float32)
RED_BLUE = np.array([[250, 0, 0], [0, 0, 250]], np.uint8)


def colors(points, observed):
    return surface_colors(np.array(points, np.float32), np.array(observed), SEEN, RED_BLUE).astype(int)


def test_observed_points_have_the_colour_of_the_nearest_measured_one():
    assert colors([[0.01, 0, 0], [0.09, 0, 0]], [True, True]).tolist() == RED_BLUE.tolist()


def test_colour_beside_a_gap_is_carried_into_it_and_fades_to_the_usual_one():
    seen = np.array([[0, 0, 0.0]] * 8 + [[0.1, 0, 0]] * 24, np.float32)
    red_and_blue = np.repeat(RED_BLUE, (8, 24), axis=0)
    asked = np.array([[0, 0.001, 0], [0, 0.005, 0], [0, 5.0, 0]], np.float32)
    near, far, farthest = surface_colors(asked, np.zeros(3, bool), seen, red_and_blue).astype(int)
    assert near[0] > far[0] > farthest[0] and near[0] > 200
    assert farthest.tolist() == [0, 0, 250]  # most of what was seen is blue


def test_all_is_grey_where_nothing_was_measured():
    nothing = surface_colors(SEEN, np.zeros(2, bool), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    assert (nothing == UNKNOWN_GREY).all()
