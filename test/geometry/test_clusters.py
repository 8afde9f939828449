"""Clusters by density, against an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.geometry.clusters import density_clusters


@pytest.mark.parametrize("count", [1, 5, 300, 3000])
@pytest.mark.parametrize("min_points", [1, 3, 4, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_clusters_are_those_of_open3d(count, min_points, seed):
    o3d = pytest.importorskip("open3d")
    points = np.random.default_rng(seed).uniform(0, (1, 1, 0.2), (count, 3)).astype(np.float32)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    expected = np.asarray(cloud.cluster_dbscan(eps=0.045, min_points=min_points))
    assert np.array_equal(density_clusters(points, 0.045, min_points), expected)


def test_no_points_are_no_clusters():
    assert density_clusters(np.zeros((0, 3), np.float32), 0.01).shape == (0,)


def test_gap_separates_and_strays_belong_to_nothing():
    line = np.arange(10)[:, None] * np.array([[0.01, 0, 0]])
    other = line + np.array([0.5, 0, 0])
    points = np.concatenate([line, other, [[0.3, 0, 0]]]).astype(np.float32)
    assert density_clusters(points, 0.015, 2).tolist() == [0] * 10 + [1] * 10 + [-1]


def test_clustering_can_be_cancelled():
    def stop() -> None:
        raise CancelledError(ErrorCode.CANCELLED, "enough")

    with pytest.raises(CancelledError):
        density_clusters(np.zeros((9, 3), np.float32), 0.01, checkpoint=stop)
