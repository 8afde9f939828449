"""Votes of views on each other's points, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import CAMERA, EYES, OBJECT_FRAME, SIGMA_M, ball_view, ball_views, evidence_of, moved_view, with_depth

from sparse_recon.evidence import Bounds, without_outliers
from sparse_recon.evidence.consistency import ViewDepth, contradiction, interior
from sparse_recon.geometry.poses import inverse, pose, transform_points
from sparse_recon.types import Frame, ObjectView, ObjectViews

STRAY = (slice(35, 40), slice(44, 49))  # pixels amid the ball, as large as the window of a vote


def with_stray(view):
    """Return the view with a patch that hangs 6 cm before the ball."""
    depth_m = view.frame.depth_m.copy()
    depth_m[STRAY] -= 0.06
    return with_depth(view, depth_m)


def elsewhere():
    """Return a view that looks at the table beside the ball and has no say on it."""
    return ball_view(EYES[1], 3.0 * EYES[1] * (1, 1, 0))


@pytest.mark.parametrize(
    ("confirm", "look_through", "dropped"),
    [(0, 1, False), (0, 2, True), (1, 1, False), (1, 2, True), (2, 2, False), (2, 3, True)],
)
def test_a_point_goes_when_two_views_and_as_many_as_confirm_it_look_through_it(confirm, look_through, dropped):
    sharing = [with_stray(ball_view(EYES[0])) for _ in range(1 + confirm)]
    against = [ball_view(eye) for eye in EYES[1 : 1 + look_through]]
    views = ObjectViews("ball", (*sharing, *against, elsewhere(), elsewhere()), OBJECT_FRAME)
    cleaned, share = without_outliers(views)
    kept = cleaned.views[0]
    assert np.all(kept.mask[STRAY] != dropped) and np.all(np.isnan(kept.frame.depth_m[STRAY]) == dropped)
    masked = sum(int(view.mask.sum()) for view in views.views)
    assert share == pytest.approx(25 * (1 + confirm) * dropped / masked)
    assert all(a is b for a, b in zip(cleaned.views[1 + confirm :], views.views[1 + confirm :], strict=True))


def test_two_views_are_left_as_they_are_since_one_voice_against_one_decides_nothing():
    views = ObjectViews("ball", (with_stray(ball_view(EYES[0])), ball_view(EYES[1])), OBJECT_FRAME)
    assert without_outliers(views) == (views, 0.0)


@pytest.mark.parametrize("invalid", [0.0, -1.0, np.nan, None])
def test_a_view_that_measured_nothing_there_has_no_vote(invalid):
    against = ball_view(EYES[2])
    blind = with_depth(against, None if invalid is None else np.full(against.mask.shape, invalid))
    views = (with_stray(ball_view(EYES[0])), ball_view(EYES[1]), blind, elsewhere())
    cleaned, share = without_outliers(ObjectViews("ball", views, OBJECT_FRAME))
    assert share == 0.0 and cleaned.views[0].mask[STRAY].all()


WALL_M = 0.6


def wall(T_obj_cam=None, depth_m=None) -> ViewDepth:
    """Return a view of a wall at 60 cm that fills the image."""
    depth_m = np.full((CAMERA.height, CAMERA.width), WALL_M, np.float32) if depth_m is None else depth_m
    T_obj_cam = pose(np.eye(3), (0, 0, 0)) if T_obj_cam is None else T_obj_cam
    frame = Frame(np.zeros((*depth_m.shape, 3), np.uint8), depth_m, CAMERA, OBJECT_FRAME.T_world_obj @ T_obj_cam, 1)
    everywhere = np.ones(depth_m.shape, bool)
    view = ObjectView(frame, everywhere, ~everywhere, np.full(depth_m.shape, SIGMA_M, np.float32))
    return ViewDepth.of(view, depth_m, inverse(T_obj_cam), everywhere)


def at_pixel(u: float, v: float, z_m: float) -> np.ndarray:
    return np.array([[(u - CAMERA.cx) / CAMERA.fx * z_m, (v - CAMERA.cy) / CAMERA.fy * z_m, z_m]], np.float32)


def test_excess_is_the_depth_measured_beyond_a_point():
    T_obj_cam = np.linalg.inv(ball_view(EYES[0]).frame.T_world_cam) @ OBJECT_FRAME.T_world_obj
    points = np.concatenate([at_pixel(20, 30, z) for z in (0.2, 0.6, 0.9)])
    excess = wall(T_obj_cam).excess_m(transform_points(T_obj_cam, points))
    np.testing.assert_allclose(excess, (0.4, 0.0, -0.3), atol=1e-6)


@pytest.mark.parametrize(("u", "v"), [(-0.6, 30), (95.6, 30), (40, -0.6), (40, 71.6)])
def test_a_view_has_no_say_beside_its_image(u, v):
    assert np.isnan(wall().excess_m(at_pixel(u, v, 0.5))).all()
    inside = at_pixel(np.clip(u, -0.4, 95.4), np.clip(v, -0.4, 71.4), 0.5)
    np.testing.assert_allclose(wall().excess_m(inside), 0.1, atol=1e-6)


def test_a_view_has_no_say_on_what_is_behind_its_camera():
    assert np.isnan(wall().excess_m(-at_pixel(40, 30, 0.5))).all()


@pytest.mark.parametrize(("measured", "has_a_say"), [(14, False), (15, True)])
def test_a_view_must_have_measured_most_of_the_25_pixels_around(measured, has_a_say):
    depth_m = np.full((CAMERA.height, CAMERA.width), np.nan, np.float32)
    window = np.full(25, np.nan, np.float32)
    window[:measured] = WALL_M
    depth_m[28:33, 38:43] = window.reshape(5, 5)
    assert np.isfinite(wall(depth_m=depth_m).excess_m(at_pixel(40, 30, 0.5))).all() == has_a_say


def test_what_a_view_says_is_the_nearest_of_the_5x5_pixels_around():
    depth_m = np.full((CAMERA.height, CAMERA.width), WALL_M, np.float32)
    depth_m[30, 40] = 0.45
    seen = wall(depth_m=depth_m)
    for u, v, excess_m in (
        (42, 28, -0.05),
        (38, 32, -0.05),
        (43, 30, 0.1),
        (37, 30, 0.1),
        (40, 33, 0.1),
        (40, 27, 0.1),
    ):
        np.testing.assert_allclose(seen.excess_m(at_pixel(u, v, 0.5)), excess_m, atol=1e-6)


def test_interior_is_the_mask_without_two_pixels_of_rim():
    mask = np.zeros((20, 24), bool)
    mask[4:15, 6:20] = True
    expected = np.zeros_like(mask)
    expected[6:13, 8:18] = True
    np.testing.assert_array_equal(interior(mask), expected)


@pytest.mark.parametrize(
    ("apart_m", "conflict", "slack_m"),
    # All points of the nearer wall are seen through; 3 sigma and 2 mm are noise, and beyond 20 mm it is no pose noise.
    [(0.003, 0.0, 0.0), (0.008, 0.5, 0.008 - 3 * SIGMA_M - 0.002), (0.1, 0.5, 0.02), (-0.008, 0.5, 0.0045)],
)
def test_slack_absolves_what_views_contradict_each_other_beyond_their_noise(apart_m, conflict, slack_m):
    far = np.full((CAMERA.height, CAMERA.width), WALL_M + apart_m, np.float32)
    got = contradiction([wall(), wall(depth_m=far)], 0.04)
    assert got[0] == pytest.approx(conflict, abs=0.002)  # at the image's corners too few pixels have a say
    assert got[1] == pytest.approx(slack_m, abs=1e-6)


def test_contradictions_of_a_small_share_are_tolerated():
    far = np.full((CAMERA.height, CAMERA.width), WALL_M, np.float32)
    far[:, :20] = 0.62  # the rim of its window is blind: 18 of 96 columns, in one of two views
    conflict, slack_m = contradiction([wall(), wall(depth_m=far)], 0.2)
    assert conflict == pytest.approx(0.5 * 18 / 96, rel=0.01) and slack_m == 0.0
    assert contradiction([wall(), wall(depth_m=far)], 0.05)[1] > 0.01


def test_one_view_and_views_of_nothing_contradict_nobody():
    nothing = wall(depth_m=np.full((CAMERA.height, CAMERA.width), np.nan, np.float32))
    assert contradiction([], 0.04) == contradiction([wall()], 0.04) == contradiction([wall(), nothing], 0.04) == (0, 0)


@pytest.mark.parametrize("wrong", [False, True])
def test_views_that_disagree_soften_the_bounds_and_views_that_agree_do_not(wrong):
    first, second, *rest = ball_views(4).views
    shifted = OBJECT_FRAME.T_world_obj @ pose(np.eye(3), (0.012, 0.012, 0)) @ inverse(OBJECT_FRAME.T_world_obj)
    bounds = Bounds.of(evidence_of([first, moved_view(second, shifted) if wrong else second, *rest]))
    assert bounds.soft == (bounds.soft_slack_m > 0) == (bounds.conflict > 0.04) == wrong
