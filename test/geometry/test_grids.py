"""Voxel grids against coordinates, and interpolation against a trilinear function, which it reproduces."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.geometry.grids import VoxelGrid, solid_distances

GRID = VoxelGrid((4, 6, 9), (-0.3, 0.2, 1.0), 0.1)


def trilinear(points) -> np.ndarray:
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    return 0.7 + 2 * x - 3 * y + 5 * z - 4 * x * y + 6 * y * z - 7 * z * x + 9 * x * y * z


VOLUME = trilinear(GRID.centres()).astype(np.float32)
# Between the outer voxel centres.
INSIDE = np.random.default_rng(0).uniform((-0.25, 0.25, 1.05), (0.05, 0.75, 1.85), (500, 3))


def test_cube_lies_around_the_origin():
    grid = VoxelGrid.cube(5, 0.25)
    assert grid.shape == (5, 5, 5) and grid.voxel_m == pytest.approx(0.1)
    for axis in grid.axes():
        np.testing.assert_allclose(axis, [-0.2, -0.1, 0.0, 0.1, 0.2], atol=1e-7)


def test_centres_are_indexed_x_y_z():
    assert GRID.centres().shape == (4, 6, 9, 3)
    np.testing.assert_allclose(GRID.centres()[1, 2, 3], (-0.15, 0.45, 1.35), rtol=1e-6)


def test_block_around_a_box_is_the_smallest_that_holds_it_and_has_its_middle():
    low, high = np.array([-0.1, 0.2, 0.3]), np.array([0.4, 1.0, 0.95])
    grid = VoxelGrid.around(low, high, 0.1)
    assert grid.shape == (5, 8, 7)
    np.testing.assert_allclose(grid.low_m, (-0.1, 0.2, 0.275))
    assert VoxelGrid.around(low, low + 1e-3, 0.1).shape == (4, 4, 4)  # never thinner than four voxels


def test_index_and_points_undo_each_other_and_integers_are_centres():
    np.testing.assert_allclose(GRID.points(GRID.index(INSIDE)), INSIDE)
    np.testing.assert_allclose(GRID.points(np.array([1.0, 2.0, 3.0])), (-0.15, 0.45, 1.35))


def test_nearest_is_the_voxel_that_holds_a_point_and_the_border_for_points_outside():
    points = np.array([(-0.16, 0.49, 1.31), (-9.0, 9.0, 1.35), (9.0, -9.0, 9.0)])
    assert np.stack(GRID.nearest(points), axis=1).tolist() == [[1, 2, 3], [0, 5, 3], [3, 0, 8]]


def test_inside_is_the_block_up_to_its_faces():
    low, high = np.array(GRID.low_m), np.array(GRID.low_m) + 0.1 * np.array(GRID.shape)
    middle = 0.5 * (low + high)
    for axis in range(3):
        for edge, outward in ((low, -1e-4), (high, 1e-4)):
            point = middle.copy()
            point[axis] = edge[axis] - outward
            assert GRID.inside(point)
            point[axis] = edge[axis] + outward
            assert not GRID.inside(point)
    assert GRID.inside(np.stack([middle, high + 1, low - 1, middle])).tolist() == [True, False, False, True]


def test_sampling_reproduces_a_trilinear_function():
    np.testing.assert_allclose(GRID.sample(VOLUME, INSIDE), trilinear(INSIDE), atol=2e-5)  # float32


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])
def test_sampling_outside_holds_the_border_value(direction):
    low, high = np.array([-0.25, 0.25, 1.05]), np.array([0.05, 0.75, 1.85])
    points = INSIDE[:20] + np.array(direction) * 5.0
    # The last thousandth of a voxel before the outer centres is not used: of 0.1 m at a slope below 40 per metre.
    np.testing.assert_allclose(GRID.sample(VOLUME, points), trilinear(np.clip(points, low, high)), atol=4e-3)


def test_resampling_reproduces_a_trilinear_function_and_holds_the_border_outside():
    target = VoxelGrid((7, 5, 6), (-0.35, 0.15, 1.3), 0.13)
    clipped = np.clip(target.centres(), (-0.25, 0.25, 1.05), (0.05, 0.75, 1.85))
    np.testing.assert_allclose(GRID.resample(VOLUME, target), trilinear(clipped), atol=4e-3)
    inner = VoxelGrid((3, 4, 5), (-0.2, 0.3, 1.1), 0.07)
    np.testing.assert_allclose(GRID.resample(VOLUME, inner), trilinear(inner.centres()), atol=2e-5)


def test_distances_of_a_slab_are_those_to_its_faces():
    inside = np.zeros((12, 5, 5), bool)
    inside[4:9] = True  # from 0.4 to 0.9 m
    x = (np.arange(12) + 0.5) * 0.1
    expected = np.maximum(0.4 - x, x - 0.9)
    got = solid_distances(inside, 0.1, threads=1)
    np.testing.assert_allclose(got, np.broadcast_to(expected[:, None, None], got.shape), atol=1e-6)
