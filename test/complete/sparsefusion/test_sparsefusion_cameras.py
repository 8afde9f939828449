"""Cameras and crops of SparseFusion: by hand, there and back, and along what a camera sees."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.complete.sparsefusion.cameras import REACH, NdcCameras, depth_range, ndc_cameras
from sparse_recon.complete.sparsefusion.crops import chosen_views, crop_box, cropped
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import inverse, look_at, transform_points
from sparse_recon.types import CameraIntrinsics, Frame, ObjectView

LENS = CameraIntrinsics(100, 60, np.array([[90.0, 0, 52.0], [0, 80.0, 27.0], [0, 0, 1]]))


def projected(cameras: NdcCameras, points: np.ndarray) -> np.ndarray:
    """PyTorch3D's projection: rows times R plus T, focal length times x over z plus principal point."""
    seen = points @ cameras.R + cameras.T[:, None]
    return cameras.focal[:, None] * seen[..., :2] / seen[..., 2:] + cameras.principal[:, None]


def seen_px(points_world: np.ndarray, T_world_cam: np.ndarray, lens: CameraIntrinsics) -> np.ndarray:
    seen = transform_points(inverse(T_world_cam), points_world) @ lens.K.T
    return seen[:, :2] / seen[:, 2:]


def view(mask: np.ndarray, T_world_cam=None, rgb: int = 200) -> ObjectView:
    height, width = mask.shape
    lens = CameraIntrinsics(width, height, np.array([[90.0, 0, width / 2], [0, 90.0, height / 2], [0, 0, 1]]))
    frame = Frame(
        np.full((height, width, 3), rgb, np.uint8), None, lens, np.eye(4) if T_world_cam is None else T_world_cam, 0
    )
    return ObjectView(frame, mask, np.zeros_like(mask), np.zeros(mask.shape, np.float32))


def test_a_camera_by_hand():
    """At (0, 0, -2) of the scene, looking along its +z with y down: a point right and below is at -x, -y of NDC."""
    T = np.eye(4)
    T[2, 3] = -2.0
    camera = ndc_cameras([T], [LENS], unit_m=0.5)

    assert np.allclose(camera.R[0], np.diag([-1, -1, 1])) and np.allclose(camera.T[0], (0, 0, 4))
    assert np.allclose(camera.centres()[0], (0, 0, -4))
    # Halves of the shorter side: 30 pixels. The middle of the picture is at 50, 30 from its border.
    assert np.allclose(camera.focal[0], (3.0, 80 / 30))
    assert np.allclose(camera.principal[0], ((50 - 52.5) / 30, (30 - 27.5) / 30))
    # 0.2 m right and 0.1 m below, 2 m away, in units of half a metre.
    assert np.allclose(projected(camera, np.array([[0.4, 0.2, 0.0]]))[0, 0], (-0.3 - 2.5 / 30, -4 / 30 + 2.5 / 30))


def test_there_and_back():
    poses = [look_at((0.4, 0.3, 0.5), (0.0, 0.1, 0.0)), look_at((-0.4, 0.2, 0.1), (0.0, 0.0, 0.1))]
    cameras = ndc_cameras(poses, [LENS, LENS], unit_m=0.05)
    assert np.allclose(cameras.T_scene_cam(0.05), poses)
    for lens in cameras.pixels(100, 60):
        assert np.allclose(lens.K, LENS.K)


def test_points_are_seen_where_the_pixels_are():
    pose = look_at((0.4, 0.3, 0.5), (0.0, 0.1, 0.0))
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (20, 3))
    ndc = projected(ndc_cameras([pose], [LENS], 0.05), points / 0.05)[0]
    # PyTorch3D's pixels are counted from the border, and NDC grows to the left and up.
    assert np.allclose(np.array([50.0, 30.0]) - 30 * ndc, seen_px(points, pose, LENS) + 0.5)


def test_relative_cameras_see_the_same_and_do_not_know_where_the_world_is():
    poses = [look_at((0.4, 0.3, 0.5), (0.0, 0.1, 0.0)), look_at((-0.4, 0.2, 0.1), (0.0, 0.0, 0.1))]
    cameras = ndc_cameras(poses, [LENS, LENS], 0.05)
    query = cameras[:1]
    relative = cameras.relative_to(query)
    points = np.random.default_rng(0).uniform(-2, 2, (20, 3))
    moved = points @ query.R[0] + query.T[0]

    assert np.allclose(relative.R[0], np.eye(3)) and np.allclose(relative.T[0], 0)
    assert np.allclose(projected(relative, moved), projected(cameras, points))
    away = look_at((3.0, -2.0, 1.0), (0.5, 0.2, 0.0))
    again = ndc_cameras([away @ pose for pose in poses], [LENS, LENS], 0.05)
    assert np.allclose(again.relative_to(again[:1]).T, relative.T, atol=1e-9)
    assert np.allclose(again.relative_to(again[:1]).R, relative.R, atol=1e-9)


def test_rays_reach_before_and_behind_the_object():
    near, far = depth_range(ndc_cameras([look_at((0, 0.4, 0.3), (0, 0, 0))] * 2, [LENS] * 2, 0.05))
    assert (near, far) == pytest.approx((10 - REACH, 10 + REACH))
    # Nearer than those of CO3D: rays begin before the camera all the same.
    near, far = depth_range(ndc_cameras([look_at((0, 0.4, 0.3), (0, 0, 0))], [LENS], 0.2))
    assert 0 < near < 0.5 and far == pytest.approx(2.5 + REACH)


def test_box_of_a_mask_by_hand():
    mask = np.zeros((100, 200), bool)
    mask[40:60, 90:130] = True
    # 40 wide and 20 high; 15 % on each side, and one more at the far end.
    assert crop_box(mask) == (84, 37, 137, 64)
    mask[40:60, 90:200] = True
    assert crop_box(mask)[2] == 200


@pytest.mark.parametrize("side", [32, 256])
def test_crop_keeps_what_is_seen_where(side):
    mask = np.zeros((120, 160), bool)
    mask[40:80, 60:130] = True
    pose = look_at((0.4, 0.3, 0.5), (0.0, 0.0, 0.0))
    found = cropped(view(mask, pose), side)
    left, top, right, bottom = crop_box(mask)
    scale = side / (right - left)

    point = np.array([[0.02, 0.03, -0.01]])
    before, after = seen_px(point, pose, view(mask).frame.intrinsics), seen_px(point, pose, found.intrinsics)
    assert np.allclose(after + 0.5, (before + 0.5 - (left, top)) * scale, atol=0.6)
    # In the left top, black beside the object and beyond the image.
    assert (
        found.valid[0].all() and not found.valid[-1].any() and found.valid.sum() == side * int(scale * (bottom - top))
    )
    inside = (np.array([95, 60]) + 0.5 - (left, top)) * scale
    assert found.rgb[int(inside[1]), int(inside[0])] == pytest.approx([200 / 255] * 3, abs=1e-3)
    assert not found.rgb[0].any() and not found.rgb[-1].any()


def test_background_does_not_bleed_into_the_object_nor_beyond():
    mask = np.zeros((120, 160), bool)
    mask[20:100, 40:120] = True
    frame = view(mask, rgb=255)
    frame.frame.rgb[mask] = 100
    assert cropped(frame, 32).rgb.max() <= 100 / 255 + 1e-6


def test_small_and_cut_masks():
    mask = np.zeros((60, 60), bool)
    mask[:5, :5] = True
    with pytest.raises(EvidenceError, match="25 pixels") as caught:
        cropped(view(mask), 32)
    assert caught.value.code is ErrorCode.OBJECT_TOO_SMALL
    mask[:40, :40] = True
    assert "cut off" in cropped(view(mask), 32).warnings[0]


def test_views_far_around_are_chosen_and_empty_ones_are_not():
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True

    def at(degrees, shown=mask):
        angle = np.deg2rad(degrees)
        return view(shown, look_at((np.cos(angle), np.sin(angle), 0.3), (0, 0, 0)))

    large = np.zeros((60, 60), bool)
    large[10:50, 10:50] = True
    views = [at(0), at(10), at(20, large), at(180), at(270), at(90, np.zeros_like(mask))]
    found = chosen_views(views, np.zeros(3), 3)
    assert [views.index(one) for one in found] == [2, 3, 4]
    assert len(chosen_views(views, np.zeros(3), 8)) == 5


def test_masks_that_are_empty_and_cameras_that_look_away():
    mask = np.zeros((60, 60), bool)
    with pytest.raises(EvidenceError) as caught:
        chosen_views([view(mask)] * 2, np.zeros(3), 8)
    assert caught.value.code is ErrorCode.OBJECT_TOO_SMALL
    mask[20:40, 20:40] = True
    with pytest.raises(EvidenceError) as caught:
        chosen_views([view(mask, look_at((1, 0, 0), (2, 0, 0)))], np.zeros(3), 8)
    assert caught.value.code is ErrorCode.OBJECT_NOT_IN_VIEW
