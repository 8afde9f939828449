"""The world moves while the camera looks: things are taken, put elsewhere, turned, brought back, hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scenes import around, ball, block

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject, Frame

COARSE = {"model": "carve", "evidence.grid": 32, "evidence.fine_grid": 64}
SECOND_NS = 1_000_000_000


@lru_cache(maxsize=32)
def view(x_m: float | None, yaw_rad: float = 0.0, with_ball: bool = True, labels: bool = False) -> Frame:
    """One frame of a fixed camera: a block at x, or none, and a ball beside it."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    shapes = [*([block()] if x_m is not None else []), *([ball(0.03)] if with_ball else [])]
    poses = [
        *([pose(R, (x_m, 0.0, 0.0))] if x_m is not None else []),
        *([pose(np.eye(3), (0.0, 0.2, 0.0))] * with_ball),
    ]
    return record(
        scene_of(shapes, poses),
        around(1, distance_m=0.75, first_deg=-60.0),
        sensor=exact(SENSORS["clean"]),
        intrinsics=depth_camera(320, 240),
        with_labels=labels,
    ).frames[0]


def session_of(*frames: Frame, **config: object) -> CompletionSession:
    session = CompletionSession(load_config({**COARSE, **config}))
    add(session, frames)
    return session


def add(session: CompletionSession, frames: Sequence[Frame]) -> None:
    """Add frames two seconds apart."""
    for frame in frames:
        newest_ns = max((kept.stamp_ns for kept in session.frames), default=0)
        assert session.add_frame(replace(frame, stamp_ns=newest_ns + 2 * SECOND_NS)).accepted


def places(session: CompletionSession) -> dict[str, float]:
    """Where blocks are, by name; the ball stays at y = 0.2 m."""
    found = {c.object_id: c.box.T_world_box[:3, 3] for c in session.objects()}
    return {name: round(float(at[0]), 2) for name, at in found.items() if at[1] < 0.1}


def completed(session: CompletionSession, name: str) -> CompletedObject:
    return session.complete(CompletionRequest(object_id=name))


def test_what_was_taken_away_is_no_longer_listed_and_cannot_be_completed():
    session = session_of(*[view(0.0)] * 3)
    (name,) = places(session)
    add(session, [view(None)])
    assert places(session) == {} and len(session.objects()) == 1
    with pytest.raises(EvidenceError) as caught:
        completed(session, name)
    assert caught.value.code is ErrorCode.OBJECT_NOT_FOUND


@pytest.mark.parametrize("to_m", [0.02, 0.10, 0.18])
def test_what_was_moved_is_one_object_at_its_new_place_under_its_name(to_m):
    session = session_of(*[view(0.0)] * 3)
    (name,) = places(session)
    add(session, [view(to_m)])
    assert places(session) == {name: to_m}
    box = completed(session, name).box
    assert abs(box.T_world_box[0, 3] - to_m) < 0.01
    np.testing.assert_allclose(np.sort(box.size_m), (0.06, 0.08, 0.1), atol=0.008)


def test_what_was_turned_in_place_is_completed_as_it_stands_now():
    session = session_of(*[view(0.0)] * 3)
    (name,) = places(session)
    add(session, [view(0.0, yaw_rad=0.7)])
    result = completed(session, name)
    np.testing.assert_allclose(np.sort(result.box.size_m), (0.06, 0.08, 0.1), atol=0.008)
    assert not result.quality.evidence_soft


@pytest.mark.parametrize("missing", [0.2, 0.3])
def test_what_was_taken_away_is_gone_though_every_few_pixels_lack_depth(missing):
    rng = np.random.default_rng(0)

    def holed(frame: Frame) -> Frame:
        return replace(frame, depth_m=np.where(rng.random(frame.depth_m.shape) < missing, np.nan, frame.depth_m))

    session = session_of(*[holed(view(0.0)) for _ in range(2)])
    (name,) = places(session)
    add(session, [holed(view(None))])
    assert name not in places(session) and len(session.objects()) == 1


def test_what_was_put_back_is_there_again_under_its_name():
    session = session_of(view(0.0), view(0.0))
    (name,) = places(session)
    add(session, [view(None)])
    assert places(session) == {}
    add(session, [view(0.0)])
    assert places(session) == {name: 0.0}
    assert completed(session, name).quality.free_space_violation == 0


def test_what_did_not_move_keeps_its_name_its_frames_and_its_place():
    still, moving = session_of(*[view(0.0)] * 4), session_of(view(0.0), view(0.0))
    (ball_a,) = (c.object_id for c in still.objects() if c.box.T_world_box[1, 3] > 0.1)
    (before,) = (c.object_id for c in moving.objects() if c.box.T_world_box[1, 3] > 0.1)
    add(moving, [view(0.1), view(0.1)])
    (ball_b,) = (c.object_id for c in moving.objects() if c.box.T_world_box[1, 3] > 0.1)
    assert ball_a == before == ball_b
    a, b = completed(still, ball_a), completed(moving, ball_b)
    assert a.quality.views_used == b.quality.views_used
    np.testing.assert_allclose(a.box.T_world_box[:3, 3], b.box.T_world_box[:3, 3], atol=0.003)


def test_images_of_a_still_camera_count_as_one_view_with_less_noise():
    truth, rng = view(0.0, labels=True), np.random.default_rng(0)
    noise_m = rng.normal(0.0, 0.002, (6, *truth.depth_m.shape)).astype(np.float32)
    frames = [replace(truth, depth_m=truth.depth_m + n) for n in noise_m]

    def observed(average_frames: int):
        session = session_of(*frames, **{"depth.average_frames": average_frames})
        return session.observe(CompletionRequest(label=1)).views.views

    def noise_left_m(seen) -> float:
        left, top = np.rint(truth.intrinsics.K[:2, 2] - seen.frame.intrinsics.K[:2, 2]).astype(int)
        height, width = seen.mask.shape
        error = seen.frame.depth_m - truth.depth_m[top : top + height, left : left + width]
        return float(np.nanstd(error[seen.mask]))

    (average,), single = observed(16), observed(1)
    assert noise_left_m(average) < 0.6 * noise_left_m(single[0])  # of six images the noise is 0.41
    assert average.frame.stamp_ns == 6 * 2 * SECOND_NS


def test_a_labelled_object_that_moved_is_completed_as_it_stands_now_and_the_other_from_all_frames():
    session = session_of(*[view(0.0, labels=True)] * 2)
    add(session, [view(0.05, labels=True)])
    results = {c.label: completed(session, c.object_id) for c in session.objects()}
    assert abs(results[1].box.T_world_box[0, 3] - 0.05) < 0.01
    np.testing.assert_allclose(np.sort(results[1].box.size_m), (0.06, 0.08, 0.1), atol=0.008)
    assert any("no longer is" in warning for warning in results[1].quality.warnings)
    still = session_of(*[view(0.0, labels=True)] * 3)
    assert results[2].quality.views_used == still.complete(CompletionRequest(label=2)).quality.views_used
    assert results[2].quality.warnings == ()


def test_what_is_completed_does_not_depend_on_when_the_list_was_asked_for():
    frames = [view(0.0), view(0.0), view(0.03), view(0.03, yaw_rad=0.4), view(0.06)]
    often, once = session_of(frames[0]), session_of(*frames)
    for frame in frames[1:]:
        often.objects()
        add(often, [frame])
    (name,) = places(often)
    a = completed(often, name)
    b = completed(once, next(iter(places(once))))
    assert np.array_equal(a.points_world, b.points_world) and np.array_equal(a.confidence, b.confidence)


def test_what_a_frame_said_goes_with_it():
    session = session_of(*[view(0.0)] * 2, **{"keyframes.max_frames": 3})
    add(session, [view(None)])
    assert places(session) == {}
    session.reset()
    add(session, [view(0.0)] * 2)
    assert len(places(session)) == 1


def test_labels_of_what_is_gone_are_gone():
    session = session_of(view(0.0, labels=True), view(0.0, labels=True))
    assert len(session.objects()) == 2
    add(session, [view(None, labels=True)])
    assert len(session.objects()) == 1


def test_a_completed_object_is_out_of_date_when_it_is_gone_or_has_moved_and_not_before():
    session = session_of(*[view(0.0)] * 2)
    made = [completed(session, c.object_id) for c in session.objects()]
    add(session, [view(0.0)])
    assert session.out_of_date(made) == {}
    moved, gone = session_of(*session.frames), session_of(*session.frames)
    add(gone, [view(None)])
    add(moved, [view(0.05)])
    assert moved.out_of_date(made) == {}  # one frame may be noise
    add(moved, [view(0.05)])
    for changed, word in ((gone, "is gone"), (moved, "has moved")):
        ((name, reason),) = changed.out_of_date(made).items()
        assert name == next(iter(places(session))) and word in reason and "looks through" in reason


def test_what_stands_before_an_object_does_not_make_it_out_of_date():
    session = session_of(*[view(0.0, with_ball=False)] * 2)
    (made,) = (completed(session, c.object_id) for c in session.objects())
    frame = view(0.0, with_ball=False)
    hand = frame.depth_m.copy()
    hand[60:200, 100:220] = 0.3
    add(session, [replace(frame, depth_m=hand)])
    assert session.out_of_date([made]) == {}


def test_a_frame_is_kept_as_it_was_though_its_buffers_are_filled_again():
    frame = view(0.0)
    rgb, depth = frame.rgb.copy(), frame.depth_m.copy()
    session = session_of(replace(frame, rgb=rgb, depth_m=depth))
    rgb[:], depth[:] = 0, 0.5
    (kept,) = session.frames
    assert np.array_equal(kept.rgb, frame.rgb)
    assert np.nanmax(np.abs(kept.depth_m - frame.depth_m)) == 0


def test_views_that_contradict_each_other_at_one_moment_are_refused():
    # Two cameras whose poses disagree by more than anything that is smoothed over; nothing has moved between them.
    frame = view(0.0, with_ball=False)
    T = frame.T_world_cam @ pose(np.eye(3), (0.0, 0.0, -0.05))
    session = CompletionSession(load_config({**COARSE, "evidence.check_views": False}))
    for k, (camera, pose_of) in enumerate((("a", frame.T_world_cam), ("b", T), ("c", frame.T_world_cam))):
        labels = (np.nan_to_num(frame.depth_m) > 0).astype(np.int32)
        labels[:90], labels[150:], labels[:, :120], labels[:, 200:] = 0, 0, 0, 0
        session.add_frame(
            replace(frame, camera=camera, T_world_cam=pose_of, stamp_ns=SECOND_NS + k * 1000, labels=labels)
        )
    with pytest.raises(EvidenceError) as caught:
        session.complete(CompletionRequest(label=1))
    assert caught.value.code is ErrorCode.EVIDENCE_CONTRADICTS
    assert "poses" in caught.value.message


RNG = np.random.default_rng(0)


def sparse(frame: Frame) -> Frame:
    """A frame with depth at six pixels of ten."""
    assert frame.depth_m is not None
    kept = RNG.random(frame.depth_m.shape) < 0.6
    return replace(frame, depth_m=np.where(kept, frame.depth_m, np.float32(np.nan)))


def test_what_is_put_down_is_found_in_sparse_depth_too():
    session = session_of(sparse(view(None)), sparse(view(None)))
    assert places(session) == {}
    add(session, [sparse(view(0.0)), sparse(view(0.0))])
    assert list(places(session).values()) == [0.0]


def test_what_the_newest_frame_looks_through_is_not_completed_though_sparse_depth_keeps_it_listed():
    session = session_of(sparse(view(0.0)), sparse(view(0.0)))
    (name,) = places(session)
    assert completed(session, name).quality.views_used >= 1
    add(session, [sparse(view(None)) for _ in range(3)])
    with pytest.raises(EvidenceError) as caught:
        completed(session, name)
    assert caught.value.code in (ErrorCode.EVIDENCE_CONTRADICTS, ErrorCode.OBJECT_NOT_FOUND)
