"""Cameras and pictures as the model knows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import block

from sparse_recon.complete.latent import conditioning_image as module
from sparse_recon.complete.latent.cameras import SphericalCamera, TrainedCameras, model_intrinsics, pose_vector
from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.latent.generated_views import generated_view, object_mask, on_white
from sparse_recon.complete.zero123.cameras import TRAINED, camera_ring
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame, ObjectView

# A block of 10 x 6 x 8 cm, alone on its table, and its middle.
UNIT_M, MIDDLE = 0.1, np.array([0.0, 0.0, 0.04])
T_WORLD_CENTRE = pose(np.eye(3), MIDDLE)


def conditioning_image(view: ObjectView, T_world_centre, unit_m, trained=TRAINED, side=256) -> ConditioningImage:
    return module.conditioning_image(view, T_world_centre, unit_m, trained, side)


def seen_from(eye, target=MIDDLE, camera=None, up=(0.0, 0.0, 1.0), lift_m=0.0) -> ObjectView:
    """A view of the block from a place (3,); both may be lifted, to see it from below."""
    camera = camera or depth_camera(640, 480, 80.0)
    lift = np.array([0.0, 0.0, lift_m])
    scene = scene_of([block()], [pose(np.eye(3), lift)])
    view = Renderer(scene).render(camera, look_at(eye + lift, target + lift, up))
    mask = view.labels == 1
    frame = Frame(view.rgb, None, camera, view.T_world_cam, 1, camera="camera")
    return ObjectView(frame, mask, np.zeros_like(mask), np.zeros(mask.shape, np.float32))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((2, 0, 0), (0, 2, 0), (0, 1, 0, 0)),
        ((2, 0, 0), (0, 0, 1.5), (-np.pi / 2, 0, 1, -0.5)),
        ((2, 0, 0), (0, -2, 0), (0, -1, 0, 0)),
        ((0, 2, 0), (2, 0, 0), (0, -1, 0, 0)),
    ],
)
def test_pose_is_differences_of_spherical_coordinates(source, target, expected):
    found = pose_vector(SphericalCamera.at(source), SphericalCamera.at(target))

    assert np.allclose(found, expected, atol=1e-6)


def test_lens_is_35_on_32_mm():
    camera = model_intrinsics()

    assert (camera.fx, camera.cx) == (280.0, 127.5)
    assert 2 * np.rad2deg(np.arctan(128 / camera.fx)) == pytest.approx(49.134, abs=1e-3)


@pytest.mark.parametrize("place", [(1.2, 0.7, 0.9), (-1.5, 0.2, 0.4), (0.1, -1.0, 1.6)])
def test_a_camera_is_where_its_numbers_say(place):
    camera = SphericalCamera.at(place)

    assert np.allclose(camera.centre(), place)
    T = camera.T_obj_cam(unit_m=0.2)
    assert np.allclose(T[:3, 3], 0.2 * np.array(place))
    assert np.allclose(T[:3, 2], -np.array(place) / np.linalg.norm(place))  # looks at the middle
    assert abs(T[2, 0]) < 1e-9  # stands upright


@pytest.mark.parametrize("count", [1, 3, 8, 16])
def test_ring_is_as_long_as_asked_and_away_from_the_picture(count):
    source = SphericalCamera(1.2, 0.5, 1.9)
    cameras = camera_ring(source, count)

    assert len(cameras) == count
    places = np.array([c.centre() for c in [source, *cameras]])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(count + 1)
    assert apart.min() > 0.3
    assert np.allclose(np.linalg.norm(places, axis=1), 1.9)


# From the distances that the model knows, in longest sides of the object: 1.5 to 2.2.
@pytest.mark.parametrize("radius", [1.6, 2.1])
@pytest.mark.parametrize("off", [(0.0, 0.0, 0.0), (0.03, -0.02, 0.01)])
def test_picture_is_what_the_models_own_camera_would_see(radius, off):
    eye = MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, radius).centre()
    view = seen_from(eye, MIDDLE + np.array(off), up=(0.3, 0.2, 0.9))  # looks past the middle, and is tilted

    picture = conditioning_image(view, T_WORLD_CENTRE, UNIT_M)

    T_world_cam = T_WORLD_CENTRE @ picture.camera.T_obj_cam(UNIT_M)
    true = Renderer(scene_of([block()], [pose(np.eye(3), (0, 0, 0))])).render(model_intrinsics(), T_world_cam)
    mask = true.labels == 1
    assert picture.camera.radius == pytest.approx(radius, abs=1e-6)
    overlap = (picture.mask > 0.5) & mask
    assert overlap.sum() / ((picture.mask > 0.5) | mask).sum() > 0.98
    inner = (
        overlap & np.roll(overlap, 3, 0) & np.roll(overlap, -3, 0) & np.roll(overlap, 3, 1) & np.roll(overlap, -3, 1)
    )
    assert np.abs(picture.rgb[inner] - true.rgb[inner] / 255.0).mean() < 0.02
    assert np.allclose(picture.rgb[picture.mask == 0], 1.0)
    assert picture.warnings == ()


def test_from_farther_than_the_model_knows_the_object_is_as_large_as_from_its_farthest():
    view = seen_from(MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, 6.0).centre())

    picture = conditioning_image(view, T_WORLD_CENTRE, UNIT_M)

    assert picture.camera.radius == 2.2
    T_world_cam = T_WORLD_CENTRE @ picture.camera.T_obj_cam(UNIT_M)
    true = Renderer(scene_of([block()], [pose(np.eye(3), (0, 0, 0))])).render(model_intrinsics(), T_world_cam)
    mask = true.labels == 1
    # Perspective differs, size does not.
    assert picture.mask.sum() == pytest.approx(mask.sum(), rel=0.1)


def test_colours_of_the_table_do_not_bleed_into_the_outline():
    view = seen_from(MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, 2.0).centre())
    green = view.frame.rgb.copy()
    green[~view.mask] = (0, 255, 0)

    picture = conditioning_image(replace(view, frame=replace(view.frame, rgb=green)), T_WORLD_CENTRE, UNIT_M)

    # The block is grey: as much green as red, wherever it is blended with white.
    assert np.abs(picture.rgb[..., 1] - picture.rgb[..., 0]).max() < 0.02


def test_what_is_unlike_the_training_is_said():
    low = seen_from(MIDDLE + UNIT_M * SphericalCamera(np.deg2rad(112), 0.7, 2.0).centre(), lift_m=0.3)
    lifted = pose(np.eye(3), MIDDLE + np.array([0.0, 0.0, 0.3]))
    assert any("elevation" in w for w in conditioning_image(low, lifted, UNIT_M).warnings)

    near = seen_from(MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, 1.0).centre())
    assert any("trained at 1.5 to 2.2" in w for w in conditioning_image(near, T_WORLD_CENTRE, UNIT_M).warnings)

    eye = MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, 2.0).centre()
    cut = seen_from(eye, camera=depth_camera(120, 90, 20.0))
    assert any("border" in w for w in conditioning_image(cut, T_WORLD_CENTRE, UNIT_M).warnings)


def test_masks_that_show_nothing_are_refused():
    view = seen_from(MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, 2.0).centre())

    with pytest.raises(EvidenceError) as empty:
        conditioning_image(replace(view, mask=np.zeros_like(view.mask)), T_WORLD_CENTRE, UNIT_M)
    assert empty.value.code is ErrorCode.OBJECT_TOO_SMALL

    with pytest.raises(EvidenceError) as behind:
        conditioning_image(view, pose(np.eye(3), 3 * (view.frame.T_world_cam[:3, 3] - MIDDLE) + MIDDLE), UNIT_M)
    assert behind.value.code is ErrorCode.OBJECT_NOT_IN_VIEW

    with pytest.raises(EvidenceError) as elsewhere:
        conditioning_image(view, pose(np.eye(3), MIDDLE + np.array([0.0, 0.0, 0.3])), UNIT_M)
    assert elsewhere.value.code is ErrorCode.OBJECT_NOT_IN_VIEW


def test_mask_of_a_picture_on_white():
    rgb = np.full((64, 64, 3), 255, np.uint8)
    rgb[10:40, 10:40] = 90
    rgb[20:25, 20:25] = 255  # a white spot within
    rgb[60, 60] = 0  # a speck

    found = object_mask(rgb, 243)

    expected = np.zeros((64, 64), bool)
    expected[10:40, 10:40] = True
    assert (found == expected).mean() > 0.99 and not found[60, 60] and found[22, 22]
    assert not object_mask(np.full((8, 8, 3), 255, np.uint8), 243).any()


def test_a_picture_on_black_keeps_its_dark_parts_and_not_its_soft_rim():
    import cv2

    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[20:40, 20:40] = 200
    rgb[24:34, 8:20] = (4, 9, 12)  # a dark handle, at its border a bright part
    soft = cv2.GaussianBlur(rgb, (5, 5), 0.8)
    soft[50:60, 50:60] = 3  # what is left of nothing

    white, found = on_white(soft)

    expected = rgb.any(axis=-1)
    bright = soft.mean(axis=-1) > 25.5
    assert (expected & ~found).sum() <= 5 and (found & ~expected & ~bright).sum() <= 5
    assert found[28, 10] and not found[55, 55]
    # Haze all over the picture is no part of the object, however uneven.
    haze = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 80, (64, 64)), (0, 0), 5)[..., None]
    hazy = np.clip(soft + np.clip(haze - 32, 0, 12), 0, 255).astype(np.uint8)
    assert hazy.mean() > soft.mean() + 3
    assert (on_white(hazy)[1] != on_white(hazy, blurred=True)[1]).sum() < 0.3 * expected.sum()
    assert (white[~found] == 255).all() and (object_mask(white, 243) == found).mean() > 0.99


def test_picture_of_another_size_is_the_same_picture_smaller():
    view = seen_from(MIDDLE + UNIT_M * SphericalCamera(1.0, 0.7, 2.0).centre())

    large = conditioning_image(view, T_WORLD_CENTRE, UNIT_M)
    small = conditioning_image(view, T_WORLD_CENTRE, UNIT_M, side=64)

    assert small.rgb.shape == (64, 64, 3) and small.camera == large.camera
    averaged = large.rgb.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(small.rgb - averaged).mean() < 0.01


def test_a_model_of_one_distance_sees_every_object_from_there():
    fixed = TrainedCameras("sync", 1.5, 1.5, np.deg2rad(-10), np.deg2rad(40))
    view = seen_from(MIDDLE + UNIT_M * SphericalCamera(np.deg2rad(30), 0.7, 4.0).centre())

    picture = conditioning_image(view, T_WORLD_CENTRE, UNIT_M, fixed)

    assert picture.camera.radius == 1.5 and picture.camera.polar_rad == pytest.approx(np.deg2rad(30))
    assert any("elevation of 60 degrees; sync was hardly trained above 40" in w for w in picture.warnings)


def test_a_drawn_picture_becomes_a_frame_of_the_world():
    camera = SphericalCamera(1.0, 0.7, 2.0)
    rgb = np.full((64, 64, 3), 255, np.uint8)
    rgb[20:44, 20:44] = 90

    view = generated_view(rgb, camera, T_WORLD_CENTRE, UNIT_M, "sync", 3, np.float32(0.7))

    assert (view.model, view.seed, view.frame.camera) == ("sync", 3, "sync")
    assert np.allclose(view.frame.T_world_cam[:3, 3], MIDDLE + UNIT_M * camera.centre())
    assert view.mask.sum() == 24 * 24 and np.allclose(view.confidence, 0.7)
    assert view.frame.depth_m is None and view.frame.intrinsics.fx == 70.0
