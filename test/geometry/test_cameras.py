"""Pinhole cameras against the formula, with another focal length and principal point along each axis."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.geometry.cameras import cropped, pixel_rays, project_points, scaled, unproject_depth
from sparse_recon.types import CameraIntrinsics

CAMERA = CameraIntrinsics(7, 5, np.array([[4.0, 0, 2.5], [0, 5.0, 1.25], [0, 0, 1]]))
POINTS = np.random.default_rng(0).uniform((-1, -1, 0.5), (1, 1, 2), (2, 4, 3))


def test_ray_of_a_pixel_goes_through_its_centre_at_depth_one():
    rays = pixel_rays(CAMERA)
    assert rays.shape == (5, 7, 3) and rays.dtype == np.float32
    np.testing.assert_allclose(rays[4, 1], [(1 - 2.5) / 4, (4 - 1.25) / 5, 1.0])
    np.testing.assert_allclose(rays[1, 6], [(6 - 2.5) / 4, (1 - 1.25) / 5, 1.0])


def test_rays_of_a_window_are_those_of_its_pixels():
    window = (slice(1, 4), slice(2, 7))
    np.testing.assert_array_equal(pixel_rays(CAMERA, window), pixel_rays(CAMERA)[window])


def test_unprojected_pixels_are_depth_times_ray_in_row_order_where_depth_is_valid():
    depth_m = np.full((5, 7), np.nan, np.float32)
    depth_m[0, 3], depth_m[2, 1], depth_m[2, 6], depth_m[4, 0], depth_m[4, 4] = 0.5, 0.25, 2.0, 0.0, -1.0
    rays = pixel_rays(CAMERA)
    expected = np.stack([0.5 * rays[0, 3], 0.25 * rays[2, 1], 2.0 * rays[2, 6]])
    np.testing.assert_allclose(unproject_depth(depth_m, CAMERA), expected, rtol=1e-6)
    mask = np.zeros((5, 7), bool)
    mask[2], mask[4] = True, True
    np.testing.assert_allclose(unproject_depth(depth_m, CAMERA, mask), expected[1:], rtol=1e-6)


def test_projection_is_the_pinhole_formula_whatever_the_leading_axes():
    uv = project_points(POINTS, CAMERA)
    assert uv.shape == (2, 4, 2)
    np.testing.assert_allclose(uv[..., 0], 4.0 * POINTS[..., 0] / POINTS[..., 2] + 2.5)
    np.testing.assert_allclose(uv[..., 1], 5.0 * POINTS[..., 1] / POINTS[..., 2] + 1.25)


@pytest.mark.parametrize("z", [0.0, -1.0])
def test_points_in_or_behind_the_plane_of_the_camera_have_no_pixel(z):
    assert np.isnan(project_points(np.array([0.1, 0.2, z]), CAMERA)).all()


def test_cropped_camera_sees_a_point_left_and_top_pixels_nearer_to_its_corner():
    camera = cropped(CAMERA, 2, 1, 4, 3)
    assert (camera.width, camera.height) == (4, 3)
    np.testing.assert_allclose(project_points(POINTS, camera), project_points(POINTS, CAMERA) - (2, 1))


def test_scaled_camera_keeps_the_edges_of_the_image():
    camera = scaled(CAMERA, 21, 10)  # three times as wide, twice as high; pixel u covers u - 0.5 to u + 0.5
    assert (camera.width, camera.height) == (21, 10)
    expected = (project_points(POINTS, CAMERA) + 0.5) * (3, 2) - 0.5
    np.testing.assert_allclose(project_points(POINTS, camera), expected)
    assert CAMERA.K[0, 0] == 4.0  # the given camera is left alone
