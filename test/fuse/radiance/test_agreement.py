"""Features of depth read from a field, against walls on which they can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from solids import turn

from sparse_recon.fuse.radiance.agreement import agreement_features, confidence_of
from sparse_recon.fuse.radiance.depth import FieldDepth
from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Frame, GeneratedView

CAMERA = CameraIntrinsics(40, 30, np.array([[80.0, 0, 19.0], [0, 90.0, 14.0], [0, 0, 1]]))
VOXEL_M = 0.002
EYES = ((0.1, -0.05, 1.0), (0.3, 0.1, 0.9), (-0.2, 0.2, 1.1), (0.0, -0.3, 1.0))
MIDDLE = (slice(8, 22), slice(12, 28))  # of the first camera; all others see these points well inside of their images


def wall_depth(eye, *, height_m: float = 0.0, hole: bool = False, up=(0.0, 1.0, 0.0)) -> FieldDepth:
    """Return what a camera at `eye` that looks at the origin sees of the plane z = `height_m` of the object frame."""
    T_obj_cam = look_at(eye, (0, 0, 0), up)
    rays = pixel_rays(CAMERA).astype(np.float64) @ T_obj_cam[:3, :3].T
    depth_m = np.full(rays.shape[:2], np.nan) if hole else (height_m - eye[2]) / rays[..., 2]
    spread_m = np.full(depth_m.shape, 0.0025, np.float32)
    return FieldDepth(CAMERA, T_obj_cam, depth_m.astype(np.float32), spread_m, np.ones((*depth_m.shape, 3), np.float32))


def picture_of(seen: FieldDepth, color: int, mask: bool = True) -> GeneratedView:
    shape = seen.depth_m.shape
    frame = Frame(np.full((*shape, 3), color, np.uint8), None, CAMERA, turn(2) @ seen.T_obj_cam, 1)
    return GeneratedView(frame, np.full(shape, mask), np.ones(shape, np.float32), "m", 0)


SEEN = wall_depth(EYES[0])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_point_is_less_unseen_the_more_other_cameras_have_it(count):
    features = agreement_features(SEEN, [SEEN, *(wall_depth(eye) for eye in EYES[1 : 1 + count])], [], VOXEL_M)
    np.testing.assert_allclose(features.unseen[MIDDLE], 1 / (1 + count))
    assert np.all(features.contradicted[MIDDLE] == 0)


@pytest.mark.parametrize(
    ("others", "contradicted"),
    [
        ([{"hole": True}], 1.0),
        ([{"hole": True}, {}], 0.5),
        ([{"height_m": -0.02}, {}, {}], 1 / 3),  # they see 2 cm behind the point
        ([{"height_m": 0.02}, {}], 0.0),  # one is hidden from it and has no say
        ([{"height_m": -0.0005}], 0.0),  # within a voxel and a half
        ([{"height_m": 0.02}], 0.0),
    ],
)
def test_a_point_is_contradicted_by_the_share_of_cameras_that_look_through_it(others, contradicted):
    features = agreement_features(
        SEEN, [wall_depth(eye, **what) for eye, what in zip(EYES[1:], others, strict=False)], [], VOXEL_M
    )
    np.testing.assert_allclose(features.contradicted[MIDDLE], contradicted, rtol=1e-6)


def test_spread_and_voxels_count_in_five_millimetres_up_to_four():
    features = agreement_features(SEEN, [], [], VOXEL_M)
    np.testing.assert_allclose(features.spread, 0.5)
    np.testing.assert_allclose(features.coarse, 0.4)
    assert np.all(agreement_features(SEEN, [], [], 0.1).coarse == 4.0)


@pytest.mark.parametrize("up", [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("angle_deg", [0, 30, 60])
def test_grazing_is_the_tangent_of_the_angle_between_surface_and_image(up, angle_deg):
    a = np.deg2rad(angle_deg)
    features = agreement_features(wall_depth((np.sin(a), 0.0, np.cos(a)), up=up), [], [], VOXEL_M)
    # At the principal point, by central differences over a pixel, 1/80 of the distance.
    assert features.grazing[14, 19] == pytest.approx(np.tan(a), abs=0.01 * (1 + np.tan(a)))


def test_grazing_is_the_most_at_the_rim_of_what_is_seen():
    depth_m = SEEN.depth_m.copy()
    depth_m[:, 20:] = np.nan
    rim = FieldDepth(CAMERA, SEEN.T_obj_cam, depth_m, SEEN.spread_m, SEEN.picture)
    grazing = agreement_features(rim, [], [], VOXEL_M).grazing
    assert np.all(grazing[:, 19] == 8.0) and np.all(grazing[:, 10] < 1.0)


def pictured(*colors_and_masks):
    shots = [(wall_depth(eye), what) for eye, what in zip(EYES[1:], colors_and_masks, strict=False)]
    return [(picture_of(seen, *what), seen) for seen, what in shots]


def test_pictures_that_have_a_point_beside_the_object_count_as_a_share():
    features = agreement_features(SEEN, [], pictured((90, True), (90, False), (90, True)), VOXEL_M)
    np.testing.assert_allclose(features.outside[MIDDLE], 1 / 3, rtol=1e-6)
    assert np.all(agreement_features(SEEN, [], [], VOXEL_M).outside == 0)


def test_colours_are_unlike_by_their_deviation_over_the_pictures_that_see_the_point():
    same, other = (
        agreement_features(SEEN, [], pictured((90,), (90,)), VOXEL_M),
        agreement_features(SEEN, [], pictured((51,), (153,)), VOXEL_M),
    )
    np.testing.assert_allclose(same.unlike[MIDDLE], 0.0, atol=1e-3)  # of float32 squares
    np.testing.assert_allclose(other.unlike[MIDDLE], 0.2, atol=1e-3)  # 0.2 and 0.6 lie 0.2 from their mean
    alone = agreement_features(SEEN, [], pictured((90,), (200, False)), VOXEL_M)
    np.testing.assert_allclose(alone.unlike[MIDDLE], 0.25)


def test_a_picture_whose_camera_sees_something_before_the_point_knows_nothing_of_its_colour():
    (first, second) = pictured((51,), (153,))
    hidden = (second[0], wall_depth(EYES[2], height_m=0.05))
    np.testing.assert_allclose(agreement_features(SEEN, [], [first, hidden], VOXEL_M).unlike[MIDDLE], 0.25)


def test_only_with_pictures_do_their_reasons_count():
    good, bad = (
        agreement_features(SEEN, [], pictured(*what), VOXEL_M) for what in (((90,), (90,)), ((20, False), (220, False)))
    )
    assert np.all(confidence_of(bad, True)[MIDDLE] < confidence_of(good, True)[MIDDLE] - 0.1)
    np.testing.assert_array_equal(confidence_of(bad, False), confidence_of(good, False))


def test_each_reason_lowers_confidence_of_a_pixel():
    good = agreement_features(SEEN, [wall_depth(eye) for eye in EYES[1:]], [], VOXEL_M)
    bad = agreement_features(SEEN, [wall_depth(eye, hole=True) for eye in EYES[1:]], [], VOXEL_M)
    assert np.all(confidence_of(good, False)[MIDDLE] > confidence_of(bad, False)[MIDDLE] + 0.2)
