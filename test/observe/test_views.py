"""The cube around an object and the views cropped to it, against the true object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import recording
from scipy.spatial.transform import Rotation
from solids import turn

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.cameras import project_points, unproject_depth
from sparse_recon.geometry.poses import inverse, pose, transform_points
from sparse_recon.observe.keyframes import ObjectObservation
from sparse_recon.observe.regions import LabelRegion
from sparse_recon.observe.segment import SupportPlane
from sparse_recon.observe.views import collect_views, depth_sigma, object_cube

UP = np.array([0.0, 0.0, 1.0])
TABLE = SupportPlane(UP, 0.0)


def views_of(frames, *, plane=TABLE, up=UP, config=None, label=1, max_views=8):
    region = LabelRegion({(f.camera, f.stamp_ns): {label} for f in frames})
    return collect_views("thing", frames, region, plane, up, config or SessionConfig(), max_views)


@pytest.mark.parametrize("kind", ["ball", "block"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_cube_holds_the_true_object(kind, count):
    scene = recording(kind, count)
    object_frame = views_of(scene.frames).object_frame
    truth = transform_points(inverse(object_frame.T_world_obj), scene.scene.objects[0].vertices_world)
    assert np.abs(truth).max() < object_frame.half_side_m
    assert object_frame.half_side_m < 1.2 * np.ptp(truth, axis=0).max()  # and is not much larger


@pytest.mark.parametrize("first_deg", [0, 45, 90, 135])
def test_cube_of_one_view_holds_a_block_turned_any_way(first_deg):
    scene = recording("block", 1)
    frame = scene.frames[0]
    turn = pose(Rotation.from_euler("z", first_deg, degrees=True).as_matrix(), (0, 0, 0))
    views = views_of([replace(frame, T_world_cam=turn @ frame.T_world_cam)])
    truth = transform_points(inverse(views.object_frame.T_world_obj) @ turn, scene.scene.objects[0].vertices_world)
    assert np.abs(truth).max() < views.object_frame.half_side_m


def test_cube_stands_upright_on_the_support():
    object_frame = views_of(recording("ball", 2).frames).object_frame
    np.testing.assert_allclose(object_frame.T_world_obj[:3, 2], UP, atol=1e-9)
    foot_world = transform_points(object_frame.T_world_obj, np.array([0.0, 0.0, object_frame.support_z_m]))
    assert foot_world[2] == pytest.approx(0.0, abs=1e-9)


def test_tilted_support_passes_under_the_centre():
    tilt = np.deg2rad(5)
    normal = np.array([np.sin(tilt), 0, np.cos(tilt)])
    object_frame = views_of(recording("ball", 4).frames, plane=SupportPlane(normal, 0.0)).object_frame
    foot = transform_points(object_frame.T_world_obj, np.array([0.0, 0.0, object_frame.support_z_m]))
    assert normal @ foot == pytest.approx(0.0, abs=1e-6)


def test_object_far_above_the_plane_hangs_in_the_air():
    assert views_of(recording("ball", 2).frames, plane=SupportPlane(UP, -0.1)).object_frame.support_z_m is None
    assert views_of(recording("ball", 2).frames, plane=None).object_frame.support_z_m is None


def test_stray_pixels_do_not_widen_the_cube():
    frame = recording("ball", 1).frames[0]
    plain = views_of([frame]).object_frame.half_side_m
    depth = frame.depth_m.copy()
    rows, columns = np.nonzero(frame.labels == 1)
    depth[rows[:3], columns[:3]] = 1.5
    assert views_of([replace(frame, depth_m=depth)]).object_frame.half_side_m < 1.1 * plain


def test_crop_keeps_pixels_where_they_are():
    frame = recording("ball", 1).frames[0]
    (view,) = views_of([frame]).views
    assert view.frame.depth_m.size < 0.5 * frame.depth_m.size
    whole = unproject_depth(frame.depth_m, frame.intrinsics, frame.labels == 1)
    cut = unproject_depth(view.frame.depth_m, view.frame.intrinsics, view.mask)
    np.testing.assert_allclose(cut, whole, atol=1e-6)
    np.testing.assert_array_equal(view.frame.T_world_cam, frame.T_world_cam)


def test_everything_measured_beside_the_object_may_occlude():
    (view,) = views_of(recording("ball", 1).frames).views
    assert not (view.occluder & view.mask).any()
    assert np.array_equal(view.occluder | view.mask, view.frame.depth_m > 0)


def test_object_cut_by_the_image_border_is_still_cropped():
    frame = recording("ball", 1).frames[0]
    _, columns = np.nonzero(frame.labels == 1)
    left = int(np.median(columns))
    depth, labels = frame.depth_m.copy(), frame.labels.copy()
    depth, labels = np.roll(depth, -left, axis=1), np.roll(labels, -left, axis=1)
    labels[:, -left:] = 0
    (view,) = views_of([replace(frame, depth_m=depth, labels=labels)]).views
    assert view.mask[:, 0].any() and view.mask.shape == view.frame.depth_m.shape


def test_frame_without_depth_joins_one_with_depth():
    first, second = recording("ball", 2).frames
    views = views_of([first, replace(second, depth_m=None)])
    assert len(views.views) == 2
    blind = next(v for v in views.views if v.frame.depth_m is None)
    assert blind.mask.any() and not blind.occluder.any()


def test_frames_without_any_depth_are_refused():
    blind = [replace(f, depth_m=None) for f in recording("ball", 2).frames]
    with pytest.raises(EvidenceError, match="no depth in any frame") as caught:
        views_of(blind)
    assert caught.value.code == ErrorCode.OBJECT_NOT_FOUND


def test_object_that_no_frame_sees_is_refused():
    with pytest.raises(EvidenceError, match="not visible in any of 2") as caught:
        views_of(recording("ball", 2).frames, label=5)
    assert caught.value.code == ErrorCode.OBJECT_NOT_IN_VIEW


def test_object_of_a_few_pixels_is_refused():
    frame = recording("ball", 1).frames[0]
    rows, columns = np.nonzero(frame.labels == 1)
    labels = np.zeros_like(frame.labels)
    labels[rows[100:110], columns[100:110]] = 1
    with pytest.raises(EvidenceError, match="has 10 depth pixels") as caught:
        views_of([replace(frame, labels=labels)])
    assert caught.value.code == ErrorCode.OBJECT_TOO_SMALL


def test_object_as_large_as_the_room_is_refused():
    frame = recording("ball", 1).frames[0]
    with pytest.raises(EvidenceError, match=r"span .*max_size_m = 0\.30 m") as caught:
        views_of([replace(frame, labels=np.ones_like(frame.labels))], config=load_config({"segment.max_size_m": 0.3}))
    assert caught.value.code == ErrorCode.OBJECT_TOO_LARGE


def test_depth_noise_grows_with_distance_and_adds_the_pose():
    depth = np.array([[0.4, 1.0, 2.0, np.nan]], np.float32)
    config = DepthConfig(sigma_base_m=0.001, sigma_quadratic=0.002, pose_sigma_m=0.0)
    np.testing.assert_allclose(
        depth_sigma(depth, config)[0, :3], [0.001, 0.001 + 0.002 * 0.36, 0.001 + 0.002 * 2.56], rtol=1e-5
    )
    shaky = replace(config, pose_sigma_m=0.003)
    assert depth_sigma(depth, shaky)[0, 0] == pytest.approx(np.hypot(0.001, 0.003), rel=1e-5)


def test_support_of_a_tilted_plane_is_measured_under_the_object():
    # 1 degree of tilt and 3 m from the origin: the plane is 5 cm higher there than over the origin.
    scene = recording("block", 2)
    tilt = pose(Rotation.from_euler("y", -1.0, degrees=True).as_matrix(), (3.0, 0.0, 0.0))
    frames = [replace(f, T_world_cam=tilt @ f.T_world_cam) for f in scene.frames]
    normal = tilt[:3, 2]
    plane = SupportPlane(normal, float(normal @ tilt[:3, 3]))
    object_frame = views_of(frames, plane=plane).object_frame
    assert object_frame.support_z_m is not None
    foot_world = transform_points(object_frame.T_world_obj, np.array([[0.0, 0.0, object_frame.support_z_m]]))[0]
    assert abs(float(plane.heights(foot_world.astype(np.float32)))) < 0.002


WORLD = turn(11)
ABOVE = np.array([-1e-3, 0, 1.0])  # but for so little that x of the cube leads along x
MARGIN, FRAME = SessionConfig().evidence.cube_margin, recording("ball", 1).frames[0]


def cube_of(size_m, direction, *, lifted_m: float | None = None):
    """Return the cube of the corners and faces of a cuboid about WORLD's origin, seen from a direction of its frame."""
    grid = np.stack(np.meshgrid(*(np.linspace(-0.5, 0.5, 21) * side for side in size_m)), axis=-1).reshape(-1, 3)
    nothing = replace(FRAME, depth_m=None)
    seen = ObjectObservation(nothing, FRAME.labels == 1, np.zeros(0, np.int64), WORLD[:3, :3] @ direction, 1.0)
    up = WORLD[:3, 2]
    plane = None
    if lifted_m is not None:
        foot = WORLD[:3, 3] - up * (0.5 * size_m[2] + lifted_m)
        plane = SupportPlane(up, float(up @ foot))
    points = transform_points(WORLD, grid).astype(np.float32)
    return object_cube("thing", points, [seen], plane, up, SessionConfig())


def test_cube_of_an_object_seen_from_above_is_its_longest_edge_with_the_margin():
    cube = cube_of((0.2, 0.1, 0.12), ABOVE)
    assert cube.half_side_m == pytest.approx(0.5 * MARGIN * 0.2, rel=1e-3)
    np.testing.assert_allclose(cube.T_world_obj[:3, 3], WORLD[:3, 3], atol=1e-4)
    np.testing.assert_allclose(cube.T_world_obj[:3, 2], WORLD[:3, 2], atol=1e-9)


@pytest.mark.parametrize(("deep_m", "back_m"), [(0.02, 0.2), (0.26, 0.26)])
def test_what_is_seen_from_one_side_is_taken_for_as_deep_as_wide_but_never_for_less_deep(deep_m, back_m):
    cube = cube_of((deep_m, 0.2, 0.1), np.array([-1.0, 0, 0]))  # the camera is at -x
    assert cube.half_side_m == pytest.approx(0.5 * MARGIN * max(0.2, back_m), rel=1e-3)
    expected = WORLD @ pose(np.eye(3), (0.5 * (back_m - deep_m), 0, 0))
    np.testing.assert_allclose(cube.T_world_obj[:3, 3], expected[:3, 3], atol=1e-3)
    np.testing.assert_allclose(cube.T_world_obj[:3, 0], WORLD[:3, 0], atol=1e-9)  # x leads away from the camera


def test_cube_of_a_small_object_has_a_centimetre_around_it():
    assert cube_of((0.03, 0.03, 0.02), ABOVE).half_side_m == pytest.approx(0.025, rel=1e-3)


@pytest.mark.parametrize(
    ("lifted_m", "stands"), [(0.0, True), (0.019, True), (0.021, False), (-0.019, True), (-0.021, False)]
)
def test_an_object_stands_on_a_plane_two_centimetres_below_it_and_the_cube_reaches_down_to_it(lifted_m, stands):
    cube = cube_of((0.2, 0.2, 0.2), ABOVE, lifted_m=lifted_m)
    assert (cube.support_z_m is not None) == stands
    if stands:
        foot = transform_points(cube.T_world_obj, np.array([0, 0, cube.support_z_m]))
        expected = transform_points(WORLD, np.array([0, 0, -0.1 - lifted_m]))
        np.testing.assert_allclose(foot, expected, atol=1e-4)
        assert cube.half_side_m == pytest.approx(0.5 * MARGIN * (0.2 + max(lifted_m, 0.0)), rel=2e-3)


@pytest.mark.parametrize("count", [1, 3])
def test_crop_is_the_rectangle_of_the_cube_with_eight_pixels_around(count):
    views = views_of(recording("block", count).frames)
    cube = views.object_frame
    corners = cube.half_side_m * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    for view in views.views:
        whole = next(f for f in recording("block", count).frames if f.stamp_ns == view.frame.stamp_ns).intrinsics
        uv = project_points(transform_points(inverse(view.frame.T_world_cam) @ cube.T_world_obj, corners), whole)
        left, top = np.maximum(np.floor(uv.min(axis=0)) - 8, 0)
        right, bottom = np.minimum(np.ceil(uv.max(axis=0)) + 8, (whole.width, whole.height))
        camera = view.frame.intrinsics
        assert (whole.cx - camera.cx, whole.cy - camera.cy) == pytest.approx((left, top))
        assert (camera.width, camera.height) == (right - left, bottom - top)


def test_a_frame_that_sees_other_surface_from_the_same_place_is_used_and_one_that_sees_the_same_is_not():
    frame = recording("block", 1).frames[0]
    frame = replace(frame, T_world_cam=pose(np.eye(3), (0.5, 0.5, 0.5)) @ frame.T_world_cam)
    # Stripes of 8 pixels, 16 mm: both have their middle in the same direction, and few voxels in common.
    odd = (np.arange(frame.labels.shape[1]) // 8) % 2 == 1
    left, right = (np.where(part, frame.labels, 0).astype(np.int32) for part in (odd, ~odd))
    later = replace(frame, stamp_ns=frame.stamp_ns + 1)
    assert len(views_of([replace(frame, labels=left), replace(later, labels=right)], plane=None).views) == 2
    assert len(views_of([replace(frame, labels=left), replace(later, labels=left)], plane=None).views) == 1


@pytest.mark.parametrize(("table_m", "stands"), [(0.0, True), (-0.02, False)])
@pytest.mark.parametrize("blind_first", [False, True])
def test_the_upper_half_of_a_ball_stands_where_the_bare_plane_is_seen_around_it(table_m, stands, blind_first):
    frame = recording("ball", 1).frames[0]
    mask, direction = frame.labels == 1, np.array([0.0, 0.0, 1.0])
    measured, blind = (
        ObjectObservation(f, mask, np.zeros(0, np.int64), direction, 1.0) for f in (frame, replace(frame, depth_m=None))
    )
    sphere = np.random.default_rng(0).normal(size=(4000, 3))
    points = 0.04 * sphere / np.linalg.norm(sphere, axis=1, keepdims=True) + (0, 0, 0.04)
    upper = points[points[:, 2] > 0.04].astype(np.float32)  # 4 cm above the table, of an extent of 8 cm
    seen = [blind, measured] if blind_first else [measured, blind]
    cube = object_cube("ball", upper, seen, SupportPlane(UP, table_m), UP, SessionConfig())
    assert (cube.support_z_m is not None) == stands
