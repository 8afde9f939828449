"""Distances on voxel fields against those of balls."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.lab.training.measure import chamfer, iou, surface_points


def ball(radius: float, grid: int = 48) -> np.ndarray:
    axis = np.arange(grid) - 0.5 * (grid - 1)
    return (np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij"))) - radius).astype(np.float32)


def test_crossings_lie_on_the_surface():
    radii = np.linalg.norm(surface_points(ball(15.0)) - 23.5, axis=1)
    assert np.abs(radii - 15.0).max() < 0.05


def test_chamfer_of_two_balls_is_the_difference_of_their_radii():
    assert chamfer(ball(15.0), ball(17.0)) == pytest.approx(2.0, abs=0.1)
    assert chamfer(ball(15.0), ball(15.0)) == 0.0


def test_empty_field_is_far_from_everything():
    assert chamfer(np.ones((48, 48, 48), np.float32), ball(15.0)) == 24.0


def test_iou_of_two_balls():
    assert iou(ball(12.0), ball(16.0)) == pytest.approx((12 / 16) ** 3, abs=0.02)
