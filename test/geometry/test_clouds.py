"""Thinning of point clouds."""

import numpy as np

from sparse_recon.geometry.clouds import voxel_means


def test_each_voxel_gives_its_mean_and_count():
    points = np.array([[0.001, 0, 0], [0.003, 0, 0], [0.021, 0, 0]], np.float32)
    means, count = voxel_means(points, 0.01)
    np.testing.assert_allclose(means, [[0.002, 0, 0], [0.021, 0, 0]], atol=1e-6)
    assert count.tolist() == [2, 1]


def test_no_points_have_no_voxels():
    means, count = voxel_means(np.zeros((0, 3), np.float32), 0.01)
    assert means.shape == (0, 3) and count.shape == (0,)
