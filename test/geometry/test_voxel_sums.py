"""Sums of points by voxel."""

from __future__ import annotations

import numpy as np

from sparse_recon.geometry.clouds import voxel_means
from sparse_recon.geometry.voxel_sums import VoxelSums

POINTS = np.random.default_rng(0).uniform(-0.2, 0.3, (3000, 3)).astype(np.float32)


def test_clouds_joined_are_the_cloud_of_all_their_points():
    parts = [VoxelSums.of(part, 0.05) for part in np.array_split(POINTS, 4)]
    joined, whole = VoxelSums.joined(parts), VoxelSums.of(POINTS, 0.05)
    np.testing.assert_array_equal(joined.cells, whole.cells)
    np.testing.assert_array_equal(joined.count, whole.count)
    np.testing.assert_allclose(joined.total, whole.total, atol=1e-12)


def test_each_voxel_holds_the_points_that_lie_in_it():
    sums = VoxelSums.of(POINTS, 0.05)
    cells = np.floor(POINTS.astype(np.float64) / 0.05).astype(int)
    own = (cells == sums.cells[17]).all(axis=1)
    assert sums.count[17] == own.sum() > 0
    np.testing.assert_allclose(sums.means()[17], POINTS[own].mean(axis=0), atol=1e-6)
    assert len(np.unique(sums.cells, axis=0)) == len(sums.cells)


def test_means_are_those_of_the_thinned_cloud():
    means, count = voxel_means(POINTS, 0.05)
    sums = VoxelSums.of(POINTS, 0.05)
    np.testing.assert_array_equal(means, sums.means())
    np.testing.assert_array_equal(count, sums.count)


def test_no_points_and_no_clouds_are_no_voxels():
    assert VoxelSums.joined([]).means().shape == (0, 3)
    empty = VoxelSums.of(np.zeros((0, 3), np.float32), 0.05)
    assert VoxelSums.joined([empty, VoxelSums.of(POINTS[:1], 0.05)]).count.tolist() == [1]
