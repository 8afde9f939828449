"""The evidence volume against a wall across the cube, where every value has a closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analytic import CAMERA, GRID, OBJECT_FRAME, ball_view, evidence_of, with_depth

from sparse_recon.evidence import Bounds, VoxelState
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import Frame, ObjectView

AWAY_M, WALL_X_M, SIGMA_M = 0.4, 0.0105, 0.002
X = GRID.axes()[0][:, None, None]
INNER = (slice(1, -1),) * 3


def wall_view(*, sigma_m=SIGMA_M, mask=True, occluder=False, depth_m=AWAY_M + WALL_X_M, target=(0, 0, 0)) -> ObjectView:
    """Return a view along +x from 40 cm of a wall at `WALL_X_M`; the object's frame is turned and shifted."""
    shape = (CAMERA.height, CAMERA.width)
    depth_m = np.broadcast_to(np.float32(depth_m), shape).copy()
    T_world_cam = OBJECT_FRAME.T_world_obj @ look_at((-AWAY_M, 0, 0), target)
    frame = Frame(np.full((*shape, 3), 77, np.uint8), depth_m, CAMERA, T_world_cam, 1)
    mask, occluder = (np.broadcast_to(np.asarray(part, bool), shape).copy() for part in (mask, occluder))
    return ObjectView(frame, mask, occluder, np.broadcast_to(np.float32(sigma_m), shape).copy())


def test_signed_distance_is_that_to_the_wall_and_ends_at_the_truncation():
    evidence = evidence_of([wall_view()])
    distance_m = np.broadcast_to(WALL_X_M - X, GRID.shape)
    seen = np.abs(distance_m) < 3.0 * GRID.voxel_m
    np.testing.assert_array_equal(np.isfinite(evidence.tsdf_m()), seen)
    np.testing.assert_allclose(evidence.tsdf_m()[seen], distance_m[seen], atol=2e-6)
    np.testing.assert_array_equal((evidence.state & VoxelState.SURFACE) > 0, seen)


def test_weight_is_the_inverse_variance_in_square_millimetres_and_views_add_up():
    evidence = evidence_of([wall_view(), wall_view(sigma_m=0.004, depth_m=AWAY_M + WALL_X_M + 0.003)])
    both = (np.abs(WALL_X_M - X) < 0.0074) & np.ones(GRID.shape, bool)  # within the truncation of both
    np.testing.assert_allclose(evidence.weight[both], 1 / 4 + 1 / 16, rtol=1e-5)
    mean = np.broadcast_to(WALL_X_M + 0.003 * (1 / 16) / (1 / 4 + 1 / 16) - X, GRID.shape)
    np.testing.assert_allclose(evidence.tsdf_m()[both], mean[both], atol=2e-6)


def test_free_space_ends_voxels_and_sigmas_before_the_wall():
    evidence = evidence_of([wall_view()], slack_voxels=0.5, slack_sigma=1.5)
    expected = np.broadcast_to(WALL_X_M - 0.5 * GRID.voxel_m - 1.5 * SIGMA_M - X, GRID.shape)
    np.testing.assert_allclose(evidence.free_margin_m, expected, atol=2e-6)
    np.testing.assert_array_equal((evidence.state & VoxelState.FREE) > 0, expected > 0)


def test_a_pixel_that_is_unsure_makes_its_eight_neighbours_carve_as_little():
    sigma_m = np.full((CAMERA.height, CAMERA.width), SIGMA_M, np.float32)
    sigma_m[30, 40] = 0.02
    evidence = evidence_of([wall_view(sigma_m=sigma_m)], slack_voxels=0.5, slack_sigma=1.5)
    T_obj_cam = look_at((-AWAY_M, 0, 0), (0, 0, 0))
    cam = (GRID.centres() - T_obj_cam[:3, 3]) @ T_obj_cam[:3, :3]
    u = np.rint(CAMERA.fx * cam[..., 0] / cam[..., 2] + CAMERA.cx)
    v = np.rint(CAMERA.fy * cam[..., 1] / cam[..., 2] + CAMERA.cy)
    unsure = (np.abs(u - 40) <= 1) & (np.abs(v - 30) <= 1)
    expected = WALL_X_M - 0.5 * GRID.voxel_m - 1.5 * np.where(unsure, 0.02, SIGMA_M) - X
    # Where a voxel lies on the border of two pixels, float32 may select_keyframes the other one.
    assert np.mean(np.abs(evidence.free_margin_m - expected) > 1e-5) < 1e-3
    assert unsure.sum() > 300


@pytest.mark.parametrize(("mask", "flag"), [(True, VoxelState.HIDDEN_BY_SELF), (False, VoxelState.HIDDEN_BY_OTHER)])
def test_what_lies_a_truncation_behind_the_wall_is_hidden_by_the_object_or_by_something_else(mask, flag):
    evidence = evidence_of([wall_view(mask=mask, occluder=not mask)])
    behind = np.broadcast_to(3.0 * GRID.voxel_m < X - WALL_X_M, GRID.shape)
    free = np.broadcast_to(WALL_X_M - 0.5 * GRID.voxel_m - 1.5 * SIGMA_M > X, GRID.shape)
    near = np.broadcast_to(np.abs(X - WALL_X_M) < 3.0 * GRID.voxel_m, GRID.shape)
    expected = behind * int(flag) + free * int(VoxelState.FREE) + (near & mask) * int(VoxelState.SURFACE)
    np.testing.assert_array_equal(evidence.state, expected)
    for other in set(VoxelState) - {flag}:  # what is hidden is nothing else
        assert not (evidence.state[behind] & other).any()


@pytest.mark.parametrize("invalid", [np.nan, 0.0, -0.5])
def test_pixels_without_depth_prove_nothing_and_leave_their_neighbours_as_they_are(invalid):
    depth_m = np.full((CAMERA.height, CAMERA.width), AWAY_M + WALL_X_M, np.float32)
    depth_m[:, 46:] = invalid
    evidence, whole = evidence_of([wall_view(depth_m=depth_m)]), evidence_of([wall_view()])
    seen = evidence.weight > 0
    assert 0.4 < seen.sum() / (whole.weight > 0).sum() < 0.6
    np.testing.assert_allclose(evidence.tsdf_m()[seen], whole.tsdf_m()[seen], atol=1e-6)
    known = np.isfinite(evidence.free_margin_m)
    assert 0.4 < known.mean() < 0.6
    np.testing.assert_allclose(evidence.free_margin_m[known], whole.free_margin_m[known], atol=1e-6)


def test_measured_points_of_the_object_are_kept_with_their_colours_and_sigmas():
    evidence = evidence_of([wall_view()])
    points = evidence.all_points_obj()
    np.testing.assert_allclose(points[:, 0], WALL_X_M, atol=1e-6)
    assert np.abs(points).max() <= 0.07 and np.all(evidence.all_colors() == 77)
    np.testing.assert_allclose(evidence.all_sigmas_m(), SIGMA_M, rtol=1e-6)
    assert len(points) == len(evidence.all_colors()) == len(evidence.all_sigmas_m()) > 500
    nothing = evidence_of([wall_view(mask=False)])
    assert nothing.all_points_obj().shape == nothing.all_colors().shape == (0, 3)


def test_without_views_there_are_no_points_no_colours_and_no_sigmas():
    evidence = evidence_of([])
    assert evidence.all_points_obj().shape == evidence.all_colors().shape == (0, 3)
    assert evidence.all_sigmas_m().shape == (0,)


@pytest.mark.parametrize("with_depth_image", [True, False])
def test_space_behind_a_camera_in_the_cube_is_unknown(with_depth_image):
    view = wall_view(mask=False)
    T_world_cam = OBJECT_FRAME.T_world_obj @ look_at((0, 0, 0), (1, 0, 0))
    frame = replace(view.frame, T_world_cam=T_world_cam, depth_m=view.frame.depth_m if with_depth_image else None)
    evidence = evidence_of([replace(view, frame=frame)])
    free = Bounds.of(evidence).free[INNER]
    behind = np.broadcast_to(X < 0, GRID.shape)[INNER]
    assert free[~behind].sum() > 1000 and not free[behind].any()


def test_a_mask_without_depth_carves_what_is_two_pixels_beside_it_and_nothing_of_other_things():
    ball = with_depth(ball_view(), None)
    view = replace(ball, occluder=np.zeros_like(ball.mask))
    T_cam_obj = np.linalg.inv(view.frame.T_world_cam) @ OBJECT_FRAME.T_world_obj
    cam = GRID.centres() @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    u = np.rint(CAMERA.fx * cam[..., 0] / cam[..., 2] + CAMERA.cx).astype(int)
    v = np.rint(CAMERA.fy * cam[..., 1] / cam[..., 2] + CAMERA.cy).astype(int)
    rows, columns = np.nonzero(view.mask)
    grown = np.zeros_like(view.mask)
    for dv in range(-2, 3):
        for du in range(-2, 3):
            grown[np.clip(rows + dv, 0, 71), np.clip(columns + du, 0, 95)] = True
    carved = (evidence_of([view]).state & VoxelState.OUTSIDE_HULL) > 0
    assert np.mean(carved != ~grown[v, u]) < 1e-3  # but for voxels on the border of two pixels
    hidden = replace(view, occluder=~view.mask)
    assert not (evidence_of([hidden]).state & VoxelState.OUTSIDE_HULL).any()
