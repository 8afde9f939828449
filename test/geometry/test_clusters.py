"""Clusters by density, against an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from solids import turn

from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.geometry.clusters import density_clusters
from sparse_recon.observe.containers import contained_objects, is_on_plane


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


def sheet(origin, along, across, step_m=0.0048) -> np.ndarray:
    """Return points on a rectangle, a little off it as measured ones are."""
    along, across = np.array(along, float), np.array(across, float)
    i, j = np.meshgrid(*(np.linspace(0, 1, round(np.linalg.norm(v) / step_m) + 1) for v in (along, across)))
    points = np.array(origin) + i.ravel()[:, None] * along + j.ravel()[:, None] * across
    return points + np.random.default_rng(0).normal(0, 0.0005, points.shape)


def cuboid(low, size) -> np.ndarray:
    (x, y, z), (a, b, c) = low, size
    sides = [
        sheet((x, y, z + c), (a, 0, 0), (0, b, 0)),
        sheet((x, y, z), (a, 0, 0), (0, 0, c)),
        sheet((x, y + b, z), (a, 0, 0), (0, 0, c)),
        sheet((x, y, z), (0, b, 0), (0, 0, c)),
        sheet((x + a, y, z), (0, b, 0), (0, 0, c)),
    ]
    return np.concatenate(sides)


SHELF = [
    sheet((0, 0, 0.006), (0.8, 0, 0), (0, 0.4, 0)),  # bottom
    sheet((0, 0.4, 0), (0.8, 0, 0), (0, 0, 0.5)),  # back
    sheet((0, 0, 0), (0, 0.4, 0), (0, 0, 0.5)),  # sides
    sheet((0.8, 0, 0), (0, 0.4, 0), (0, 0, 0.5)),
    sheet((0, 0, 0.25), (0.8, 0, 0), (0, 0.4, 0)),  # board
]
THINGS = [cuboid((0.15, 0.12, 0.012), (0.1, 0.08, 0.12)), cuboid((0.5, 0.15, 0.256), (0.12, 0.1, 0.1))]
FLOATING = [cuboid((0.5, 0.15, 0.12), (0.06, 0.06, 0.04))]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("extra", [[], FLOATING])
def test_things_on_the_floor_and_on_the_board_of_a_shelf_are_found_and_what_floats_is_not(seed, extra):
    parts = [*SHELF, *THINGS, *extra]
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    points = np.concatenate(parts)
    T = turn(seed)  # the world's axes are not the shelf's
    world = (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
    generator = np.random.default_rng(seed)
    number, wall, hanging = contained_objects(
        world, points[:, 2].astype(np.float32), T[:3, 2], SegmentConfig(), generator
    )
    of_thing = [number[owner == k] for k in (5, 6)]
    # The lowest points of a thing are taken for the board that they stand on: two tolerances of 6 mm, of 10 cm.
    assert all(np.mean(own == np.median(own)) > 0.8 and np.median(own) >= 0 for own in of_thing)
    assert np.median(of_thing[0]) != np.median(of_thing[1])
    assert np.mean(number[owner < 5] == -1) > 0.98 and np.all(number[owner == 7] == -1)
    assert all(np.mean(owner[own] == 7) > 0.9 for own in hanging) and len(hanging) == len(extra)
    assert np.mean(wall[owner < 5]) > 0.98 and np.mean(wall[owner >= 5]) < 0.3


@pytest.mark.parametrize(
    ("low_m", "high_m", "does"),
    [
        (0.0, 0.1, True),
        (0.052, 0.1, False),
        (0.048, 0.1, True),
        (0.028, 0.03, True),  # two gaps of 15 mm are always allowed
        (0.032, 0.04, False),
        (-0.014, 0.05, True),
        (-0.018, 0.05, False),
    ],
)
def test_a_thing_stands_where_it_is_no_higher_up_than_it_is_tall_and_not_below(low_m, high_m, does):
    assert is_on_plane(np.linspace(low_m, high_m, 10_000, dtype=np.float32), 0.015) == does
