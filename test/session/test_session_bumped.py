"""A camera that was bumped is told from a world that moved, and objects say how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scenes import around, ball, block
from scipy.spatial.transform import Rotation

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.requests import CompletionRequest, ObjectState
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Frame

SECOND_NS = 1_000_000_000
BUMPS = {
    "pitch": ((2.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "yaw": ((0.0, 2.5, 0.0), (0.0, 0.0, 0.0)),
    "roll": ((0.0, 0.0, 4.0), (0.0, 0.0, 0.0)),
    "shift": ((0.0, 0.0, 0.0), (0.04, 0.0, 0.0)),
    "all": ((2.0, -3.0, 2.0), (0.01, 0.01, 0.01)),
}
STRAIGHT = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
Shift = tuple[tuple[float, float, float], tuple[float, float, float]]


@lru_cache(maxsize=64)
def view(seed: int, bump: Shift = STRAIGHT, block_x_m: float | None = 0.0, camera: str = "wrist") -> Frame:
    """A frame of a noisy camera that was turned (degrees) and shifted by `bump`, with the pose that it had before."""
    shapes = [ball(0.035), *([] if block_x_m is None else [block()])]
    poses = [pose(np.eye(3), (0.02, 0.2, 0.0)), *([] if block_x_m is None else [pose(np.eye(3), (block_x_m, 0, 0))])]
    T_world_cam = around(1, distance_m=0.75, first_deg=-60.0)[0]
    there = T_world_cam @ pose(Rotation.from_euler("xyz", bump[0], degrees=True).as_matrix(), bump[1])
    frame = record(
        scene_of(shapes, poses),
        (there,),
        sensor=exact(SENSORS["realsense"]),
        intrinsics=depth_camera(320, 240),
        with_labels=False,
        seed=seed,
    ).frames[0]
    return replace(frame, T_world_cam=T_world_cam, camera=camera)


def session_of(frames: Sequence[Frame], **depth: int) -> CompletionSession:
    values = {"model": "carve", "evidence.grid": 32, "evidence.fine_grid": 64, "depth": depth}
    session = CompletionSession(load_config(values))
    add(session, frames)
    return session


def add(session: CompletionSession, frames: Sequence[Frame]) -> None:
    for frame in frames:
        newest_ns = max((kept.stamp_ns for kept in session.frames), default=0)
        assert session.add_frame(replace(frame, stamp_ns=newest_ns + 2 * SECOND_NS)).accepted


def block_of(session: CompletionSession) -> str:
    (name,) = (c.object_id for c in session.objects() if c.box.T_world_box[1, 3] < 0.1)
    return name


@pytest.mark.parametrize("bump", BUMPS.values(), ids=BUMPS.keys())
def test_a_bumped_camera_is_named_and_nothing_is_completed_from_its_wrong_pose(bump):
    session = session_of([view(1), view(2)])
    session.objects()
    assert session.bumps == ()
    add(session, [view(3, bump), view(4, bump)])
    candidates = session.objects()
    assert {c.state for c in candidates} == {ObjectState.DOUBTFUL}
    (found,) = session.bumps
    assert (found.camera, found.stamp_ns) == ("wrist", 6 * SECOND_NS)
    turn_rad = Rotation.from_euler("xyz", bump[0], degrees=True).magnitude()
    assert found.turn_rad == pytest.approx(turn_rad, abs=np.deg2rad(1.3))
    for candidate in candidates:
        with pytest.raises(EvidenceError, match="camera wrist was moved without its transform") as caught:
            session.complete(CompletionRequest(object_id=candidate.object_id))
        assert caught.value.code is ErrorCode.EVIDENCE_CONTRADICTS


def test_completed_objects_stay_when_the_camera_is_bumped_and_go_when_they_are_taken():
    bumped, taken = session_of([view(1), view(2)]), session_of([view(1), view(2)])
    completed = bumped.complete(CompletionRequest(object_id=block_of(bumped)))
    add(bumped, [view(3, BUMPS["all"]), view(4, BUMPS["all"])])
    add(taken, [view(3, block_x_m=None)])
    assert bumped.out_of_date([completed]) == {}
    assert list(taken.out_of_date([completed])) == [completed.object_id]


def test_frames_of_a_transform_that_went_astray_for_a_moment_are_left_out():
    session = session_of([view(1), view(2)], average_frames=1)  # every frame counts as a view
    name = block_of(session)
    add(session, [view(3, BUMPS["all"]), view(4)])
    assert session.bumps == () and block_of(session) == name
    result = session.complete(CompletionRequest(object_id=name))
    assert result.quality.views_used == 3
    assert result.quality.free_space_violation < 0.005


def test_a_bump_that_is_made_good_by_reset_is_forgotten():
    session = session_of([view(1), view(2), view(3, BUMPS["pitch"])])
    session.objects()
    assert session.bumps
    session.reset()
    add(session, [view(5), view(6)])
    assert session.objects() and session.bumps == ()


def mast(seed: int, block_x_m: float | None = 0.0, azimuth_deg: float = 60.0) -> Frame:
    """A frame of a second camera that nobody knocks."""
    frame = record(
        scene_of(
            [ball(0.035), *([] if block_x_m is None else [block()])],
            [pose(np.eye(3), (0.02, 0.2, 0.0)), *([] if block_x_m is None else [pose(np.eye(3), (block_x_m, 0, 0))])],
        ),
        around(1, distance_m=0.75, first_deg=azimuth_deg),
        sensor=exact(SENSORS["realsense"]),
        intrinsics=depth_camera(320, 240),
        with_labels=False,
        seed=seed,
    ).frames[0]
    return replace(frame, camera="mast")


def test_what_another_camera_shows_is_right_though_one_was_bumped():
    session = session_of([view(1), mast(1), view(2), mast(2)])
    name = block_of(session)
    add(session, [view(3, BUMPS["all"]), mast(3), view(4, BUMPS["all"]), mast(4)])
    assert block_of(session) == name and len(session.objects()) == 2
    assert [bump.camera for bump in session.bumps] == ["wrist"]
    box = session.complete(CompletionRequest(object_id=name)).box
    np.testing.assert_allclose(box.T_world_box[:2, 3], (0.0, 0.0), atol=0.006)
    np.testing.assert_allclose(np.sort(box.size_m), (0.06, 0.08, 0.1), atol=0.01)
    add(session, [mast(5, block_x_m=None)])
    assert len(session.objects()) == 1


def test_what_no_other_camera_has_shown_since_a_bump_is_refused():
    session = session_of([view(1), mast(1), view(2)])
    name = block_of(session)
    add(session, [view(3, BUMPS["all"]), view(4, BUMPS["all"])])
    session.objects()
    with pytest.raises(EvidenceError, match="camera wrist was moved without its transform"):
        session.complete(CompletionRequest(object_id=name))


def test_another_camera_that_stands_still_is_no_witness_against_the_world():
    session = session_of(
        [view(1), view(1, camera="mast"), view(3, block_x_m=None), view(3, block_x_m=None, camera="mast")]
    )
    assert len(session.objects()) == 1
    assert session.bumps == ()


@pytest.mark.parametrize("to_m", [0.03, 0.04, 0.06, 0.1])
def test_the_only_thing_on_a_table_that_was_pushed_is_no_bumped_camera(to_m):
    def alone(seed: int, x_m: float) -> Frame:
        frame = record(
            scene_of([block()], [pose(np.eye(3), (x_m, 0.0, 0.0))]),
            around(1, distance_m=0.75, first_deg=-60.0),
            sensor=exact(SENSORS["realsense"]),
            intrinsics=depth_camera(320, 240),
            with_labels=False,
            seed=seed,
        ).frames[0]
        return replace(frame, camera="wrist")

    session = session_of([alone(1, 0.0), alone(2, 0.0), alone(3, to_m)])
    (found,) = session.objects()
    assert session.bumps == () and abs(found.box.T_world_box[0, 3] - to_m) < 0.012


@pytest.mark.parametrize("to_m", [0.03, 0.06])
def test_things_that_move_together_on_a_table_that_stays_are_no_bumped_camera(to_m):
    def together(seed: int, x_m: float) -> Frame:
        frame = record(
            scene_of([ball(0.035), block()], [pose(np.eye(3), (x_m + 0.02, 0.2, 0.0)), pose(np.eye(3), (x_m, 0, 0))]),
            around(1, distance_m=0.75, first_deg=-60.0),
            sensor=exact(SENSORS["realsense"]),
            intrinsics=depth_camera(320, 240),
            with_labels=False,
            seed=seed,
        ).frames[0]
        return replace(frame, camera="wrist")

    session = session_of([together(1, 0.0), together(2, 0.0), together(3, to_m), together(4, to_m)])
    name = block_of(session)
    assert session.bumps == () and len(session.objects()) == 2
    assert abs(session.complete(CompletionRequest(object_id=name)).box.T_world_box[0, 3] - to_m) < 0.01


def test_one_frame_is_seen_two_are_confirmed():
    session = session_of([view(1)])
    assert {c.state for c in session.objects()} == {ObjectState.SEEN}
    add(session, [view(2)])
    assert {c.state for c in session.objects()} == {ObjectState.CONFIRMED}


def test_what_was_put_down_is_seen_and_then_confirmed():
    session = session_of([view(1, block_x_m=None), view(2, block_x_m=None)])
    add(session, [view(3)])
    states = {c.box.T_world_box[1, 3] > 0.1: c.state for c in session.objects()}
    assert states == {True: ObjectState.CONFIRMED, False: ObjectState.SEEN}
    add(session, [view(4)])
    assert {c.state for c in session.objects()} == {ObjectState.CONFIRMED}


def test_frames_of_one_moment_do_not_confirm_each_other():
    session = session_of([view(1)])
    (first,) = session.frames
    assert session.add_frame(replace(view(2, camera="mast"), stamp_ns=first.stamp_ns + 5_000_000)).accepted
    assert {c.state for c in session.objects()} == {ObjectState.SEEN}


def test_poses_of_a_moving_camera_that_are_off_by_a_degree_are_no_bump():
    def moving(number: int, off_deg: float) -> Frame:
        frame = record(
            scene_of([ball(0.035), block()], [pose(np.eye(3), (0.02, 0.2, 0.0)), pose(np.eye(3), (0, 0, 0))]),
            (around(1, distance_m=0.75, first_deg=-60.0 + 8.0 * number)[0],),
            sensor=exact(SENSORS["realsense"]),
            intrinsics=depth_camera(320, 240),
            with_labels=False,
            seed=number,
        ).frames[0]
        off = pose(Rotation.from_euler("x", off_deg, degrees=True).as_matrix(), (0.0, 0.0, 0.0))
        return replace(frame, T_world_cam=frame.T_world_cam @ off, camera="wrist")

    session = session_of([moving(0, -0.2), moving(1, 0.2), moving(2, -0.2), moving(3, 1.0)])
    session.objects()
    assert session.bumps == ()
    session = session_of([moving(0, 0.0), moving(1, 0.0), moving(2, 2.5), moving(3, 2.5)])
    session.objects()
    assert len(session.bumps) == 1


@lru_cache(maxsize=2)
def orbit(bump_deg: float = 0.0) -> tuple[Frame, ...]:
    """Six views of a camera that goes round a block and a ball; with a bump, it is turned from the fourth view on."""
    claimed = [
        look_at((0.75 * np.cos(a), 0.75 * np.sin(a), 0.5), (0.0, 0.05, 0.03)) for a in -1.6 + 0.14 * np.arange(6)
    ]
    bump = pose(Rotation.from_euler("xyz", (bump_deg, bump_deg, 0.0), degrees=True).as_matrix(), (0.0, 0.0, 0.0))
    there = [T @ bump if k >= 3 else T for k, T in enumerate(claimed)]
    made = record(
        scene_of([ball(0.035), block()], [pose(np.eye(3), (0.02, 0.2, 0.0)), pose(np.eye(3), (0, 0, 0))]),
        there,
        sensor=exact(SENSORS["realsense"]),
        intrinsics=depth_camera(320, 240),
        with_labels=False,
        seed=5,
    ).frames
    return tuple(replace(f, T_world_cam=T, camera="wrist") for f, T in zip(made, claimed, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_poses_of_a_moving_camera_that_are_off_each_for_itself_are_no_bump(seed):
    rng = np.random.default_rng(seed)
    off = [
        pose(Rotation.from_rotvec(np.deg2rad(rng.normal(size=3))).as_matrix(), rng.normal(size=3) * 0.004)
        for _ in orbit()
    ]
    session = session_of([replace(f, T_world_cam=f.T_world_cam @ T) for f, T in zip(orbit(), off, strict=True)])
    session.objects()
    assert session.bumps == ()


def test_a_camera_that_was_bumped_while_it_moves_is_named_with_the_second_frame_and_left_out_until_then():
    session = session_of(orbit(4.0)[:4])
    assert {c.state for c in session.objects()} == {ObjectState.CONFIRMED} and session.bumps == ()
    completed = [session.complete(CompletionRequest(object_id=c.object_id)) for c in session.objects()]
    assert session.out_of_date(completed) == {}
    add(session, orbit(4.0)[4:])
    assert {c.state for c in session.objects()} == {ObjectState.DOUBTFUL}
    assert [b.stamp_ns for b in session.bumps] == [8 * SECOND_NS]
    assert session.out_of_date(completed) == {}
