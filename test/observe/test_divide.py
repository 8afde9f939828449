"""Things that touch come apart where they are too large together; single things and boards do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.clouds import voxel_means
from sparse_recon.observe.divide import divided

CONFIG = SegmentConfig()
UP = np.array([0.0, 0.0, 1.0])


def cloud(*parts: np.ndarray) -> np.ndarray:
    points, _ = voxel_means(np.concatenate(parts).astype(np.float32), CONFIG.voxel_size_m)
    return points


def dome(x: float, radius_m: float = 0.06) -> np.ndarray:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(20000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * radius_m + (x, 0, 0)


def test_domes_come_apart_at_their_neck():
    points = cloud(dome(-0.05), dome(0.05))
    parts = divided(points, UP, replace(CONFIG, max_size_m=0.15))
    assert len(parts) == 2
    assert sorted(np.concatenate(parts)) == list(range(len(points)))
    middles = sorted(float(points[part, 0].mean()) for part in parts)
    np.testing.assert_allclose(middles, (-0.053, 0.053), atol=0.01)


def test_a_dome_that_is_too_large_stays_one():
    assert divided(cloud(dome(0.0, 0.12)), UP, replace(CONFIG, max_size_m=0.15)) == []


def test_boards_are_no_bodies():
    rng = np.random.default_rng(1)
    wall = rng.uniform((-0.1, 0, 0), (0.1, 0, 0.2), (20000, 3))
    other = rng.uniform((-0.1, 0.012, 0), (0.1, 0.012, 0.2), (20000, 3))  # linked, but not by half of the gap
    assert divided(cloud(wall, other), UP, replace(CONFIG, max_size_m=0.19)) == []
