"""The sixteen cameras and what follows from them: tokens, projections of the cube, planes before each view."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from sparse_recon.complete.latent.cameras import model_intrinsics  # noqa: E402
from sparse_recon.complete.syncdreamer.cameras import (  # noqa: E402
    azimuths,
    view_cameras,
    view_poses,
    view_tokens,
)
from sparse_recon.complete.syncdreamer.frustum import FrustumVolume, frustum_points  # noqa: E402
from sparse_recon.complete.syncdreamer.sizes import VolumeSize  # noqa: E402
from sparse_recon.complete.syncdreamer.volume import vertex_projections, vertices  # noqa: E402

NARROW = VolumeSize(features=8, widths=(8, 8, 16, 16), time=16)


def test_first_camera_is_the_released_one():
    expected = [[0, 1, 0, 0], [0.5, 0, -0.8660254, 0], [-0.8660254, 0, -0.5, 1.5]]
    assert np.allclose(view_poses()[0], expected, atol=1e-6)


def test_cameras_stand_around_the_object_and_look_at_it():
    poses = view_poses().astype(np.float64)
    centres = -np.einsum("vji,vj->vi", poses[:, :, :3], poses[:, :, 3])
    azimuth, elevation = 2 * np.pi * np.arange(16) / 16, np.pi / 6
    expected = 1.5 * np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.full(16, 0.5)], axis=1
    )
    assert np.allclose(centres, expected, atol=1e-6)
    assert np.allclose(np.linalg.det(poses[:, :, :3]), 1, atol=1e-6)
    assert azimuths()[0] == 0 and azimuths()[8] == -np.pi


def test_generated_views_are_taken_by_the_cameras_that_the_networks_know():
    for camera, pose in zip(view_cameras(0.0), view_poses(), strict=True):
        assert np.allclose(np.linalg.inv(camera.T_obj_cam())[:3], pose, atol=1e-6)
    assert view_cameras(0.7)[3].azimuth_rad == pytest.approx(0.7 + 3 * np.pi / 8)


def test_lens_of_a_picture():
    K = model_intrinsics(256).K
    assert K[0, 0] == 280 and K[0, 2] == 127.5
    assert np.rad2deg(2 * np.arctan(128 / K[0, 0])) == pytest.approx(49.134, abs=1e-3)


def test_token_of_a_view_is_how_it_is_turned_from_the_picture():
    level = view_tokens(0.0)
    assert level.shape == (16, 4)
    assert np.allclose(level[:, 0], -0.523599, atol=1e-6) and not level[:, 3].any()
    assert np.allclose(level[4], [-0.523599, 1, 0, 0], atol=1e-6)
    assert np.allclose(view_tokens(np.deg2rad(40))[0], [np.deg2rad(10), 0, 1, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("point", "view", "expected"),
    [
        ((0, 0, 0), 7, (0.032258, 0.032258)),
        ((0.5, 0, 0), 0, (0.032258, 0.561333)),
        ((0.5, 0, 0), 4, (-0.720430, 0.032258)),
        ((0, 0.5, 0), 0, (0.784946, 0.032258)),
        ((0, 0, 0.5), 0, (0.032258, -0.749958)),
    ],
)
def test_vertices_are_seen_where_the_released_projection_sees_them(point, view, expected):
    # 33 vertices an edge, so that the middle and the face centres are among them.
    at = np.argmin(np.linalg.norm(vertices(33).reshape(-1, 3) - point, axis=1))
    seen = vertex_projections(view_poses(), 33, 32)[view].reshape(-1, 2)[at]
    assert np.allclose(seen, expected, atol=1e-5)


def test_planes_lie_within_half_a_diagonal_of_the_centre():
    points = frustum_points(view_poses(), 48, 32).astype(np.float64) * 0.5
    poses = view_poses().astype(np.float64)
    depth = np.einsum("vdijk,vk->vdij", points, poses[:, 2, :3]) + poses[:, 2, 3][:, None, None, None]
    assert np.allclose(depth, np.linspace(0.63397, 2.36603, 48)[None, :, None, None], atol=1e-5)


def test_what_lies_at_a_vertex_is_found_at_its_pixel_and_depth():
    volume = torch.zeros(1, 1, 32, 32, 32)
    volume[0, 0, 20, 8, 24] = 1  # z, y, x
    xyz = vertices(32)[20, 8, 24]
    frustum = FrustumVolume(NARROW, 32)

    for view in (0, 5):
        found = frustum.sampled(volume, torch.tensor([[view]]))[0, 0]  # (D, S, S)
        seen = view_poses()[view] @ np.append(xyz, 1)
        u, v = 35 * seen[:2] / seen[2] + 16
        plane = (seen[2] - 0.63397) / (2 * 0.86603) * 47
        peak = np.unravel_index(int(found.argmax()), found.shape)
        assert np.abs(np.array(peak) - (plane, v, u)).max() <= 1.0


def test_frustum_volumes_of_all_levels():
    found = FrustumVolume(NARROW, 32)(
        torch.zeros(2, 8, 32, 32, 32), torch.zeros(2, 16), torch.zeros(2, 16, 4), torch.tensor([[0, 3], [1, 2]])
    )
    assert [tuple(level.shape) for level in found] == [
        (4, 8, 48, 32, 32),
        (4, 8, 24, 16, 16),
        (4, 16, 12, 8, 8),
        (4, 16, 6, 4, 4),
    ]
