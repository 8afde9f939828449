"""Views that nearly fit: known errors of poses are found, what cannot be seen stays, what is too far off too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analytic import ball_views
from scenes import around, block
from scipy.spatial.transform import Rotation

from sparse_recon.config.geometry_config import RegistrationConfig
from sparse_recon.evidence import brought_together
from sparse_recon.evidence.registration import Move, Registered
from sparse_recon.geometry.poses import inverse, pose, rotation_angle
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame, ObjectFrame, ObjectView, ObjectViews

CONFIG = RegistrationConfig()
CENTRE_M = (0.0, 0.0, 0.04)
BLOCK_FRAME = ObjectFrame(pose(np.eye(3), CENTRE_M), 0.085, -0.04)


def view_of(frame: Frame) -> ObjectView:
    mask = frame.labels == 1
    return ObjectView(frame, mask, ~mask & (frame.depth_m > 0), np.full(mask.shape, 0.0015, np.float32))


def block_views(count: int = 3, sensor: str = "clean") -> ObjectViews:
    """Return views of a block 10 x 6 x 8 cm on a table, from all sides, with exact poses."""
    renderer = Renderer(scene_of([block()], [pose(np.eye(3), (0.0, 0.0, 0.0))]))
    views = []
    for i, T_world_cam in enumerate(around(count)):
        seen = renderer.render(depth_camera(320, 240, 25.0), T_world_cam)
        views.append(view_of(sense(seen, exact(SENSORS[sensor]), np.random.default_rng(i), stamp_ns=i + 1)))
    return ObjectViews("block", tuple(views), BLOCK_FRAME)


def about(centre, turn_deg, shift_mm) -> np.ndarray:
    R = Rotation.from_rotvec(np.deg2rad(turn_deg)).as_matrix()
    return pose(R, np.asarray(centre) - R @ centre + 1e-3 * np.asarray(shift_mm))


def with_errors(views: ObjectViews, errors) -> ObjectViews:
    """Return views whose poses are wrong by motions (4, 4) of the world."""
    moved = (
        replace(v, frame=replace(v.frame, T_world_cam=E @ v.frame.T_world_cam))
        for v, E in zip(views.views, errors, strict=True)
    )
    return replace(views, views=tuple(moved))


def errors_left(true: ObjectViews, found: ObjectViews, centre):
    """Return where poses have the object's centre, (V, 3) metres beside its place, and the motions (V, 4, 4) left."""
    motions = [f.frame.T_world_cam @ inverse(t.frame.T_world_cam) for t, f in zip(true.views, found.views, strict=True)]
    return np.array([(E @ np.append(centre, 1.0))[:3] - centre for E in motions]), motions


ERRORS = (
    about(CENTRE_M, (0.4, -0.3, 0.2), (3.0, -2.0, 1.0)),
    about(CENTRE_M, (-0.3, 0.5, -0.2), (-4.0, 1.0, 2.0)),
    about(CENTRE_M, (0.1, -0.2, -0.4), (1.0, 3.0, -3.0)),
)


@pytest.mark.parametrize("sensor", ["clean", "mild"])
def test_views_of_a_block_come_together_where_their_mean_was(sensor):
    true = block_views(sensor=sensor)
    wrong = with_errors(true, ERRORS)
    found = brought_together(wrong, CONFIG)
    before, turned_before = errors_left(true, wrong, CENTRE_M)
    left, turned = errors_left(true, found.views, CENTRE_M)
    apart_before, apart = (np.linalg.norm(e - e.mean(axis=0), axis=1).max() for e in (before, left))
    # Across its thin side one view alone sees one face: edges of the top tell its place to two pixels of the crop.
    assert apart_before > 0.0044 and apart < 0.003
    assert np.abs(left - left.mean(axis=0))[:, 2].max() < 0.0003  # all see the table
    assert max(rotation_angle(inverse(a) @ b) for a in turned_before for b in turned_before) > np.deg2rad(0.9)
    # Errors of the table that its pixels share leave so much of a turn.
    assert max(rotation_angle(inverse(a) @ b) for a in turned for b in turned) < np.deg2rad(0.7)
    # What all poses share nobody can see: their mean stays but for what is likelier of cameras 0.55 m away that turn.
    assert np.linalg.norm(left.mean(axis=0) - before.mean(axis=0)) < 0.003


def test_what_was_moved_is_said_with_millimetres_and_degrees():
    found = brought_together(with_errors(block_views(), ERRORS), CONFIG)
    assert all(0.002 < move.shift_m < 0.007 and move.turn_rad < np.deg2rad(1.0) for move in found.moves)
    largest_mm = 1e3 * max(move.shift_m for move in found.moves)
    assert found.sentence.startswith(f"3 of 3 views were brought together by up to {largest_mm:.1f} mm and 0.")


def test_moves_tell_how_far_the_object_is_likely_to_be_off_still():
    """Of two errors of deviation s the mean has s / sqrt(2), and so has each move; along an axis less by sqrt(3)."""
    views = block_views(2)
    two = Registered(views, (Move(0.003, 0.0), Move(0.003, 0.01)))
    assert two.pose_error_m == pytest.approx(0.003 / 3**0.5)
    four = Registered(views, (Move(0.003, 0.0),) * 4)
    assert four.pose_error_m == pytest.approx(0.003 / 3)
    assert Registered(views, (Move(0.0, 0.0),) * 2).pose_error_m == 0.0
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 0.004, (5000, 2, 3))
    mean = errors.mean(axis=1)
    moves = np.linalg.norm(errors - mean[:, None], axis=-1)
    claimed = [Registered(views, tuple(Move(m, 0.0) for m in row)).pose_error_m for row in moves]
    assert np.sqrt(np.mean(np.square(claimed))) == pytest.approx(mean.std(), rel=0.02)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("sensor", ["clean", "mild", "d400"])
def test_exact_poses_stay_bit_for_bit_and_nothing_is_said(sensor, count):
    views = block_views(count, sensor=sensor)
    found = brought_together(views, CONFIG)
    assert found.views is views and found.sentence == "" and all(move.shift_m == 0 for move in found.moves)


def test_the_support_follows_views_that_all_have_the_table_too_high_or_too_low():
    true = block_views()
    wrong = with_errors(true, [about(CENTRE_M, (0, 0, 0), (0, 0, z_mm)) for z_mm in (6.0, 5.0, -2.0)])
    low = replace(wrong, object_frame=replace(BLOCK_FRAME, support_z_m=-0.042))  # as the last view has it
    found = brought_together(low, CONFIG)
    assert found.sentence
    assert found.views.object_frame.support_z_m == pytest.approx(-0.040 + 0.003, abs=0.001)
    assert np.array_equal(found.views.object_frame.T_world_obj, BLOCK_FRAME.T_world_obj)


@pytest.mark.parametrize("count", [2, 4])
def test_a_ball_on_a_plane_is_not_turned_and_not_moved_by_right_poses(count):
    views = ball_views(count)
    assert brought_together(views, CONFIG).views is views


def test_views_of_a_ball_come_together_without_a_turn_that_nobody_could_see():
    true = ball_views(4)
    centre = true.object_frame.T_world_obj[:3, 3]
    shifts_mm = ((5.0, 0, 0), (-5.0, 0, 0), (0, 5.0, 0), (0, -5.0, 0))
    wrong = with_errors(true, [pose(np.eye(3), 1e-3 * np.array(s)) for s in shifts_mm])
    found = brought_together(wrong, CONFIG)
    left, turned = errors_left(true, found.views, centre)
    assert np.linalg.norm(left - left.mean(axis=0), axis=1).max() < 0.0015
    assert np.linalg.norm(left.mean(axis=0)) < 0.001
    assert max(rotation_angle(E) for E in turned) < np.deg2rad(0.4)


def test_a_bare_plane_moves_nothing_along_itself():
    true = block_views(2)
    renderer = Renderer(scene_of([block((0.1, 0.06, 0.001))], [pose(np.eye(3), (0.0, 0.0, 0.0))]))
    flat = tuple(
        view_of(
            sense(
                renderer.render(v.frame.intrinsics, v.frame.T_world_cam),
                SENSORS["clean"],
                np.random.default_rng(0),
                stamp_ns=v.frame.stamp_ns,
            )
        )
        for v in true.views
    )
    # A part of the table, no thing: both views call the same pixels theirs whatever their poses.
    everywhere = tuple(replace(v, mask=np.isfinite(v.frame.depth_m), occluder=np.zeros_like(v.mask)) for v in flat)
    true = replace(true, views=everywhere)
    wrong = with_errors(true, [about(CENTRE_M, (0, 0, 0), (2.0, 0, 4.0)), about(CENTRE_M, (0, 0, 0), (-2.0, 0, -4.0))])
    found = brought_together(wrong, CONFIG)
    before, _ = errors_left(true, wrong, CENTRE_M)
    left, turned = errors_left(true, found.views, CENTRE_M)
    assert abs(left[0, 2] - left[1, 2]) < 0.001 < abs(before[0, 2] - before[1, 2])  # the plane is one
    # Along the plane a view moves only as a camera does that is the likeliest to be so much too high: it tilts, too.
    assert np.abs(left[:, :2] - before[:, :2]).max() < 0.0015
    assert max(abs(Rotation.from_matrix(E[:3, :3]).as_rotvec()[2]) for E in turned) < np.deg2rad(0.1)


def test_two_views_that_are_farther_apart_than_accepted_stay_and_contradict():
    wrong = with_errors(block_views(2), [np.eye(4), about(CENTRE_M, (0, 0, 0), (0.0, 0.0, 20.0))])
    found = brought_together(wrong, CONFIG)
    assert found.views is wrong and found.sentence == ""


def test_one_view_that_is_too_far_off_stays_while_the_others_come_together():
    errors = (*ERRORS, about(CENTRE_M, (0, 0, 0), (-14.0, 14.0, 0.0)))
    wrong = with_errors(block_views(4), errors)
    found = brought_together(wrong, CONFIG)
    assert found.views.views[3] is wrong.views[3] and found.moves[3].shift_m == 0
    assert found.sentence.startswith("3 of 4 views")


def test_bounds_are_parameters_and_none_are_moved_when_it_is_off():
    wrong = with_errors(block_views(), ERRORS)
    assert brought_together(wrong, RegistrationConfig(enabled=False)).views is wrong
    assert brought_together(wrong, RegistrationConfig(max_shift_m=0.002)).views is wrong
    assert brought_together(wrong, RegistrationConfig(max_turn_deg=0.1)).views is wrong


def test_views_without_depth_and_single_ones_stay():
    wrong = with_errors(block_views(), ERRORS)
    blind = replace(wrong.views[1], frame=replace(wrong.views[1].frame, depth_m=None))
    found = brought_together(replace(wrong, views=(wrong.views[0], blind, wrong.views[2])), CONFIG)
    assert found.views.views[1] is blind
    alone = replace(wrong, views=(wrong.views[0], blind))
    assert brought_together(alone, CONFIG).views is alone


def test_the_same_views_always_give_the_same_poses_and_many_are_compared_with_their_nearest_ones():
    true = block_views(9)
    wrong = with_errors(true, [ERRORS[i % 3] for i in range(9)])
    found, again = (brought_together(wrong, CONFIG) for _ in range(2))
    for one, other in zip(found.views.views, again.views.views, strict=True):
        assert one.frame.T_world_cam.tobytes() == other.frame.T_world_cam.tobytes()
    left, _ = errors_left(true, found.views, CENTRE_M)
    assert np.linalg.norm(left - left.mean(axis=0), axis=1).max() < 0.002


def test_a_caller_can_stop_it():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        brought_together(with_errors(block_views(2), ERRORS[:2]), CONFIG, stop)
