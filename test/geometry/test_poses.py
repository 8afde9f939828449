"""Rigid transforms against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from solids import turn

from sparse_recon.geometry.poses import inverse, look_at, pose, rotation_to_up, transform_points

UP = np.array([0.0, 0.0, 1.0])


def is_rotation(R) -> bool:
    return np.allclose(R @ R.T, np.eye(3)) and np.linalg.det(R) > 0


@pytest.mark.parametrize("seed", range(3))
def test_inverse_undoes_a_transform(seed):
    np.testing.assert_allclose(inverse(turn(seed)) @ turn(seed), np.eye(4), atol=1e-12)


def test_points_are_turned_then_shifted_and_keep_shape_and_type():
    T, points = turn(2), np.random.default_rng(0).normal(size=(2, 3, 3))
    homogeneous = np.concatenate([points, np.ones((2, 3, 1))], axis=-1)
    expected = np.einsum("ij,abj->abi", T, homogeneous)[..., :3]
    np.testing.assert_allclose(transform_points(T, points), expected)
    assert transform_points(T, points.astype(np.float32)).dtype == np.float32


def test_pose_puts_rotation_and_translation_in_their_places():
    T = turn(4)
    np.testing.assert_array_equal(pose(T[:3, :3], T[:3, 3]), T)


@pytest.mark.parametrize("eye", [(0.5, -0.3, 0.4), (1.0, 2.0, -0.5)])
@pytest.mark.parametrize("up", [(0, 0, 1), (0, 1, 0), (0.2, -0.9, 0.3)])
def test_camera_looks_at_its_target_with_its_image_upright(eye, up):
    T = look_at(eye, (0.1, 0.2, 0.05), up)
    towards = np.array((0.1, 0.2, 0.05)) - eye
    assert is_rotation(T[:3, :3])
    np.testing.assert_allclose(T[:3, 2], towards / np.linalg.norm(towards))
    np.testing.assert_allclose(T[:3, 3], eye)
    assert T[:3, 0] @ up == pytest.approx(0.0, abs=1e-12) and T[:3, 1] @ up < 0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("up", np.eye(3))
def test_camera_that_looks_along_the_up_axis_is_a_camera_too(sign, up):
    T = look_at(sign * up, (0, 0, 0), up)
    assert is_rotation(T[:3, :3])
    np.testing.assert_allclose(T[:3, 2], -sign * up, atol=1e-12)


@pytest.mark.parametrize("up", [(0, 0, 2.0), (0.3, -0.2, 0.9), (0, 1, 0)])
def test_upright_frame_has_its_x_along_the_horizontal_part_of_forward(up):
    forward = np.array([0.4, 0.7, -0.6])
    R = rotation_to_up(up, forward)
    z = np.array(up) / np.linalg.norm(up)
    assert is_rotation(R)
    np.testing.assert_allclose(R[:, 2], z)
    assert R[:, 1] @ forward == pytest.approx(0.0, abs=1e-12) and R[:, 0] @ forward > 0


def test_upright_frame_faces_along_x_where_nothing_else_is_said():
    np.testing.assert_allclose(rotation_to_up(UP), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("up", np.eye(3))
def test_upright_frame_of_a_vertical_forward_is_a_rotation_too(up):
    R = rotation_to_up(up, -3.0 * up)
    assert is_rotation(R)
    np.testing.assert_allclose(R[:, 2], up)
