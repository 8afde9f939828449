"""Point clouds on voxels and in boxes, counted by hand."""

from __future__ import annotations

import numpy as np
from solids import turn

from sparse_recon.geometry.clouds import inside_box, robust_extent, voxel_keys, voxel_means
from sparse_recon.geometry.poses import transform_points
from sparse_recon.types import OrientedBox

CELLS = np.array([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (-3, 2, 5), (2, -3, 5), (5, 2, -3), (1, 1, 1)])
RNG = np.random.default_rng(0)


def test_points_of_a_voxel_become_their_mean():
    points = np.array([[0.001, 0, 0], [0.003, 0, 0], [0.021, 0, 0]], np.float32)
    means, count = voxel_means(points, 0.01)
    np.testing.assert_allclose(means, [[0.002, 0, 0], [0.021, 0, 0]], atol=1e-6)
    assert count.tolist() == [2, 1]


def test_every_voxel_has_a_mean_of_its_own_wherever_it_lies():
    number = RNG.integers(0, len(CELLS), 400)
    points = ((CELLS[number] + RNG.uniform(0.01, 0.99, (400, 3))) * 0.02).astype(np.float32)
    means, count = voxel_means(points, 0.02)
    assert means.shape == (len(CELLS), 3) and means.dtype == np.float32 and count.sum() == 400
    for mean, members in zip(means, count, strict=True):
        cell = np.flatnonzero((np.floor(mean / 0.02) == CELLS).all(axis=1))
        assert members == np.sum(number == cell)
        np.testing.assert_allclose(mean, points[number == cell].mean(axis=0), atol=1e-6)


def test_no_points_have_no_voxels():
    means, count = voxel_means(np.zeros((0, 3), np.float32), 0.01)
    assert means.shape == (0, 3) and count.shape == (0,)


def test_equal_voxels_have_equal_keys_in_every_cloud_and_different_ones_different_keys():
    one, other = ((CELLS + RNG.uniform(0.01, 0.99, CELLS.shape)) * 0.02 for _ in range(2))
    keys = voxel_keys(one.astype(np.float32), 0.02)
    assert len(keys) == len(CELLS) and np.all(np.diff(keys) > 0)
    np.testing.assert_array_equal(keys, voxel_keys(other[::-1].astype(np.float32), 0.02))
    shared = np.intersect1d(keys, voxel_keys(other[:3].astype(np.float32), 0.02))
    assert len(shared) == 3


def test_inside_a_turned_box_is_within_half_of_its_size_along_each_axis():
    box = OrientedBox(turn(6), np.array([0.2, 0.4, 0.6]))
    points_box = RNG.uniform(-0.5, 0.5, (20, 50, 3))
    expected = np.all(np.abs(points_box) < (0.1, 0.2, 0.3), axis=-1)
    np.testing.assert_array_equal(inside_box(transform_points(turn(6), points_box), box), expected)
    assert 0 < expected.sum() < expected.size


def test_extent_leaves_out_three_in_a_thousand_on_either_side():
    line = np.arange(1001.0)
    low, high = robust_extent(np.stack([line, 2 * line, -line], axis=1))
    np.testing.assert_allclose(low, (3, 6, -997))
    np.testing.assert_allclose(high, (997, 1994, -3))
