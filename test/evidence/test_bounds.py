"""Where a surface cannot be, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import EYES, GRID, HALF_M, OBJECT_FRAME, SIGMA_M, T_WORLD_OBJ, ball_view, ball_views, evidence_of
from scipy.spatial import cKDTree
from solids import turn

from sparse_recon.evidence import Bounds
from sparse_recon.evidence.bounds import free_space_sdf
from sparse_recon.types import ObjectFrame

INNER = (slice(1, -1),) * 3  # the border of the cube is free by definition


@pytest.mark.parametrize("table_z_m", [-0.04, 0.01])
def test_nothing_is_below_what_the_object_stands_on_though_nobody_saw_it(table_z_m):
    bounds = Bounds.of(evidence_of([], object_frame=ObjectFrame(T_WORLD_OBJ, HALF_M, table_z_m)))
    depth_m = np.broadcast_to(table_z_m - GRID.axes()[2], GRID.shape)
    below = depth_m[INNER] > 0
    np.testing.assert_array_less(depth_m[INNER][below] - 1e-6, bounds.lower_m[INNER][below])
    assert np.all(bounds.lower_m[INNER][~below] < 0)
    assert np.all(bounds.project(np.full(GRID.shape, -1.0, np.float32))[INNER][below] > 0)


def test_without_a_support_the_space_below_is_as_unknown_as_any():
    bounds = Bounds.of(evidence_of([], object_frame=ObjectFrame(T_WORLD_OBJ, HALF_M)))
    assert np.all(bounds.lower_m[INNER] < 0)


def test_bare_table_is_free_down_to_its_plane_without_slack():
    bounds = Bounds.of(evidence_of([ball_view((0.1, 0.05, 0.5))], slack_voxels=2.0))
    x, y, z = GRID.axes()
    beside = np.hypot(x[:, None], y[None, :]) > 0.055  # seen from above, beside the ball's shadow
    lowest = int(np.argmax(z > OBJECT_FRAME.support_z_m))
    assert bounds.free[:, :, lowest][1:-1, 1:-1][beside[1:-1, 1:-1]].mean() > 0.98
    # A ray is read at the nearest pixel centre: half of its 4.5 mm on the table, and less than that in height.
    assert not bounds.free[1:-1, 1:-1, 1:][..., GRID.axes()[2][1:] < OBJECT_FRAME.support_z_m - 0.00225].any()


def test_the_border_of_the_cube_is_free_so_that_every_surface_is_closed():
    free = Bounds.of(evidence_of([])).free
    border = np.ones(GRID.shape, bool)
    border[INNER] = False
    np.testing.assert_array_equal(free, border)


def test_a_voxel_is_free_only_where_it_was_seen_before_the_end_of_free_space():
    evidence = evidence_of([])
    evidence.free_margin_m[:20], evidence.free_margin_m[20:] = 0.0, 1e-6
    free = Bounds.of(evidence).free[INNER]
    assert not free[:19].any() and free[19:].all()


def test_distance_of_carved_space_is_that_to_the_face_of_the_free_voxels_and_the_margin_refines_it():
    free = np.zeros((12, 6, 6), bool)
    free[:5] = True
    to_face = 4.5 - np.arange(12)  # in voxels, positive in free space
    far = np.where(free, 99.0, -99.0).astype(np.float32)
    expected = np.broadcast_to(0.1 * to_face[:, None, None], free.shape)
    np.testing.assert_allclose(free_space_sdf(free, far, 0.1), expected, atol=1e-6)
    near = np.where(free, 0.03, -0.02).astype(np.float32)
    got = free_space_sdf(free, near, 0.1)
    np.testing.assert_allclose(got[4], 0.03, atol=1e-6)
    np.testing.assert_allclose(got[5], -0.02, atol=1e-6)
    np.testing.assert_allclose(free_space_sdf(free, np.zeros_like(far), 0.1)[4], 0.002, atol=1e-6)


def test_surface_is_no_farther_than_the_nearest_measured_point():
    evidence = evidence_of([ball_view(EYES[0])])
    bounds, points = Bounds.of(evidence), evidence.all_points_obj()
    distance = cKDTree(points).query(GRID.centres().reshape(-1, 3))[0].reshape(GRID.shape)
    # The point lies anywhere in its voxel: half a diagonal, and the noise.
    slack_m = 0.5 * np.sqrt(3) * GRID.voxel_m + 1.5 * SIGMA_M
    unbound = bounds.upper_m > bounds.lower_m + 1e-6
    assert np.all(bounds.upper_m >= distance - 1e-6)
    assert np.all(bounds.upper_m[unbound] <= distance[unbound] + 2 * slack_m + 1e-6)
    assert np.all(bounds.lower_m <= bounds.upper_m) and np.all(bounds.lower_m >= -bounds.upper_m)


def test_evidence_and_bounds_move_with_the_scene():
    here = evidence_of(ball_views(2))
    elsewhere = ObjectFrame(turn(8, far_m=20.0), HALF_M, OBJECT_FRAME.support_z_m)
    there = evidence_of(ball_views(2, object_frame=elsewhere), object_frame=elsewhere)
    # Two poses in float64: what differs is rounding, which may turn single voxels on the rim of a pixel.
    for name in ("free", "lower_m", "upper_m"):
        one, other = (getattr(Bounds.of(e), name).astype(np.float32) for e in (here, there))
        assert np.mean(np.abs(one - other) > 1e-4) < 1e-3, name
    np.testing.assert_allclose(here.all_points_obj(), there.all_points_obj(), atol=1e-5)
