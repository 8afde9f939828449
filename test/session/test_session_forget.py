"""What a session forgets when it is told to, and frames that a request ignores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import around, ball, block, two_objects
from sessions import digest

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, EvidenceError, InputError
from sparse_recon.evidence.volume import VoxelState
from sparse_recon.geometry.clouds import inside_box
from sparse_recon.geometry.poses import pose, transform_points
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Frame, OrientedBox

SECOND_NS = 1_000_000_000
COARSE = {"model": "carve", "evidence.grid": 32, "evidence.fine_grid": 64}


def frames_of(with_labels: bool = False, views: int = 4) -> list[Frame]:
    """Return frames one second apart of a ball at x = -0.08 and a block at x = 0.08."""
    return [
        replace(frame, stamp_ns=(k + 1) * SECOND_NS)
        for k, frame in enumerate(two_objects(views, with_labels=with_labels).frames)
    ]


def session_of(frames: list[Frame]) -> CompletionSession:
    session = CompletionSession(load_config(COARSE))
    for frame in frames:
        assert session.add_frame(frame).accepted
    return session


def places(session: CompletionSession) -> dict[str, float]:
    return {c.object_id: round(float(c.box.T_world_box[0, 3]), 2) for c in session.objects()}


def name_at(session: CompletionSession, x_m: float) -> str:
    (name,) = [name for name, x in places(session).items() if x == x_m]
    return name


def region(x_m: float, size_m=(0.14, 0.14, 0.2)) -> OrientedBox:
    return OrientedBox(pose(np.eye(3), (x_m, 0.0, 0.05)), np.array(size_m, float))


@pytest.mark.parametrize("with_labels", [False, True])
def test_an_object_that_is_forgotten_leaves_the_list_and_cannot_be_completed(with_labels):
    session = session_of(frames_of(with_labels))
    gone, other = name_at(session, 0.08), name_at(session, -0.08)
    assert session.forget([gone]) == (gone,)
    assert places(session) == {other: -0.08}
    with pytest.raises(EvidenceError) as caught:
        session.complete(CompletionRequest(object_id=gone))
    assert caught.value.code is ErrorCode.OBJECT_NOT_FOUND
    assert session.complete(CompletionRequest(object_id=other)).quality.views_used == 4


@pytest.mark.parametrize("with_labels", [False, True])
def test_a_newer_frame_makes_an_object_again_under_a_new_name(with_labels):
    frames = frames_of(with_labels)
    session = session_of(frames[:2])
    gone, other = name_at(session, 0.08), name_at(session, -0.08)
    session.forget([gone])
    assert session.add_frame(frames[2]).accepted
    found = places(session)
    assert sorted(found.values()) == [-0.08, 0.08] and found[other] == -0.08 and gone not in found
    result = session.complete(CompletionRequest(object_id=name_at(session, 0.08)))
    assert result.stamp_ns == frames[2].stamp_ns
    alone = session_of(frames[2:3])
    seen = alone.complete(CompletionRequest(object_id=name_at(alone, 0.08))).observed_points_world
    assert len(result.observed_points_world) == pytest.approx(len(seen), rel=0.1)  # those of one frame, not of three


def test_what_stands_in_a_region_is_forgotten_with_it():
    session = session_of(frames_of())
    gone, other = name_at(session, 0.08), name_at(session, -0.08)
    assert session.forget(region=region(0.08)) == (gone,)
    assert places(session) == {other: -0.08}
    assert session.forget(region=region(0.5)) == ()


def test_half_an_object_in_a_region_leaves_the_other_half():
    session = session_of(frames_of())
    name, whole = name_at(session, 0.08), session.objects()
    size_m = {c.object_id: c.box.size_m[0] for c in whole}[name]
    assert session.forget(region=region(0.18)) == ()  # from 0.11 on; the block ends at 0.13
    rest = next(c for c in session.objects() if c.box.T_world_box[0, 3] > 0)
    assert rest.box.size_m[0] < size_m - 0.01


def test_emptiness_that_older_frames_saw_in_a_region_carves_no_longer():
    session = session_of(frames_of())
    beside = OrientedBox(pose(np.eye(3), (-0.08, 0.0, 0.1)), np.array([0.03, 0.03, 0.03]))  # above the ball
    request = CompletionRequest(object_id=name_at(session, -0.08))

    def free_share() -> float:
        evidence = session.observe(request).evidence
        T_world_obj = evidence.object_frame.T_world_obj
        inside = inside_box(transform_points(T_world_obj, evidence.grid.centres().astype(np.float64)), beside)
        assert inside.sum() > 20
        return float(((evidence.state & VoxelState.FREE) > 0)[inside].mean())

    assert free_share() == 1.0
    session.forget(region=beside)
    assert free_share() < 0.1  # voxels at the border are seen along rays that miss the box
    newer = replace(frames_of(views=5)[1], stamp_ns=9 * SECOND_NS)  # from a side that no other shows
    assert session.add_frame(newer).accepted
    assert free_share() > 0.9


def test_a_frame_that_comes_late_but_is_older_is_forgotten_there_too():
    frames = frames_of()
    session = session_of([frames[0], frames[2]])
    gone = name_at(session, 0.08)
    session.forget([gone])
    assert session.add_frame(frames[1]).accepted
    assert list(places(session).values()) == [-0.08]


def test_forgetting_does_not_end_with_the_frames_that_were_looked_through_meanwhile():
    # A newer frame without the block changes what is present of the older ones; forgotten stays forgotten.
    shapes = [ball(), block()]
    stand = [pose(np.eye(3), (-0.08, 0, 0)), pose(np.eye(3), (0.08, 0, 0))]
    seen = {
        key: record(
            scene_of(shapes[:count], stand[:count]),
            around(1, distance_m=0.65, first_deg=70.0),
            sensor=exact(SENSORS["clean"]),
            intrinsics=depth_camera(320, 240),
            with_labels=False,
        ).frames[0]
        for key, count in (("both", 2), ("ball", 1))
    }
    session = session_of([replace(seen["both"], stamp_ns=k * SECOND_NS) for k in (1, 3)])
    session.forget([name_at(session, -0.08)])
    session.add_frame(replace(seen["ball"], stamp_ns=5 * SECOND_NS))
    assert list(places(session).values()) == [-0.08]  # the ball of the newest frame; the block is gone
    (name,) = places(session)
    result = session.complete(CompletionRequest(object_id=name))
    assert result.quality.views_used == 1
    assert result.stamp_ns == 5 * SECOND_NS


def test_a_still_camera_that_goes_on_to_see_it_makes_it_an_object_again():
    still = frames_of(views=1)[0]
    session = session_of([replace(still, stamp_ns=k * SECOND_NS) for k in (1, 3, 5)])
    gone, other = name_at(session, 0.08), name_at(session, -0.08)
    session.forget([gone])
    assert places(session) == {other: -0.08}
    for seconds in (7, 9):
        assert session.add_frame(replace(still, stamp_ns=seconds * SECOND_NS)).accepted
        found = places(session)
        assert sorted(found.values()) == [-0.08, 0.08] and found[other] == -0.08 and gone not in found
    result = session.complete(CompletionRequest(object_id=name_at(session, 0.08)))
    assert result.stamp_ns >= 7 * SECOND_NS


def test_masks_without_depth_neither_show_nor_carve_what_is_forgotten():
    frames = [replace(frame, depth_m=None) for frame in frames_of(with_labels=True)]
    session = session_of(frames)
    gone, other = name_at(session, 0.08), name_at(session, -0.08)
    before = session.complete(CompletionRequest(object_id=other))
    session.forget([gone])
    assert places(session) == {other: -0.08}
    after = session.complete(CompletionRequest(object_id=other))
    assert (after.box.size_m > before.box.size_m - 0.005).all()  # what the masks showed beyond the block is open now
    # An empty picture of the ball's place carves the ball away; forgotten, it does not.
    blank = replace(frames[0], labels=np.zeros_like(frames[0].labels), stamp_ns=8 * SECOND_NS)
    session.add_frame(blank)
    session.forget(region=region(0.0, (0.6, 0.6, 0.6)))
    for k, frame in enumerate(frames):
        session.add_frame(replace(frame, stamp_ns=(10 + k) * SECOND_NS))
    again = {name: x for name, x in places(session).items() if x == -0.08}
    assert len(again) == 1 and other not in again
    restored = session.complete(CompletionRequest(object_id=next(iter(again))))
    np.testing.assert_allclose(restored.box.size_m, before.box.size_m, atol=0.02)


def test_a_detector_s_box_is_forgotten_and_found_again_under_a_new_name():
    frames = frames_of()
    session = session_of(frames[:2])
    session.suggest([region(0.08)])
    assert list(places(session)) == ["detection_0"]
    assert session.forget(["detection_0"]) == ("detection_0",)
    session.suggest([region(0.08)])
    assert places(session) == {}
    session.add_frame(frames[2])
    assert list(places(session)) == ["detection_1"]


def test_completed_objects_are_forgotten_though_no_frame_shows_them_any_more():
    session = session_of(frames_of())
    result = session.complete(CompletionRequest(box=region(0.08)))
    empty = CompletionSession(load_config(COARSE))
    assert empty.forget([result.object_id], completed=[result]) == ("box_0",)
    assert empty.forget(region=region(0.08), completed=[result]) == ("box_0",)
    assert empty.forget(region=region(-0.08), completed=[result]) == ()


@pytest.mark.parametrize("ids", [["object_77"], ["object_0", "object_77"]])
def test_nothing_is_forgotten_where_an_object_is_unknown(ids):
    session = session_of(frames_of())
    before = places(session)
    with pytest.raises(EvidenceError, match=r"nothing is forgotten.*object_77") as caught:
        session.forget(ids)
    assert caught.value.code is ErrorCode.OBJECT_NOT_FOUND
    assert places(session) == before


@pytest.mark.parametrize("ids", [[], [""]])
def test_to_forget_something_it_must_be_named(ids):
    with pytest.raises(InputError) as caught:
        session_of(frames_of()).forget(ids)
    assert caught.value.code is ErrorCode.USAGE


def test_reset_forgets_what_was_forgotten():
    frames = frames_of()
    session = session_of(frames)
    session.forget(region=region(0.08))
    session.reset()
    for frame in frames:
        session.add_frame(frame)
    assert sorted(places(session).values()) == [-0.08, 0.08]


def test_frames_are_searched_once_after_forgetting_not_each_time():
    session = session_of(frames_of())
    session.forget(region=region(0.08))
    first, second = session._snapshot()[0], session._snapshot()[0]
    assert all(a is b for a, b in zip(first, second, strict=True))
    kept = session.frames
    assert all(a is not b for a, b in zip(first, kept, strict=True))  # what was added stays as it was
    assert sum(int((f.depth_m > 0).sum()) for f in first) < sum(int((f.depth_m > 0).sum()) for f in kept)


# Frames that a request ignores


def test_ignored_frames_take_no_part():
    frames = frames_of()
    session, newer = session_of(frames), session_of(frames[2:])
    request = CompletionRequest(object_id=name_at(session, 0.08), ignore_before_ns=frames[2].stamp_ns)
    result = session.complete(request)
    expected = newer.complete(CompletionRequest(object_id=name_at(newer, 0.08)))
    assert result.quality.views_used == 2
    assert digest(replace(result, object_id="")) == digest(replace(expected, object_id=""))
    assert session.complete(replace(request, ignore_before_ns=0)).quality.views_used == 4


def test_ignoring_all_frames_is_refused_with_how_much_they_are_too_old():
    frames = frames_of()
    session = session_of(frames)
    request = CompletionRequest(object_id="object_0", ignore_before_ns=frames[3].stamp_ns + 2 * SECOND_NS)
    with pytest.raises(EvidenceError, match=r"all 4 kept frame\(s\) are older than ignore_before, .* 2.000 s") as error:
        session.complete(request)
    assert error.value.code is ErrorCode.NO_FRAMES
    assert len(session.objects()) == 2


def test_what_only_ignored_frames_show_is_said_to_be_out_of_view():
    frames = frames_of()
    away = replace(frames[3], T_world_cam=pose(np.eye(3), (50.0, 0.0, 0.0)), stamp_ns=9 * SECOND_NS)
    session = session_of([*frames[:3], away])
    name = name_at(session, 0.08)
    with pytest.raises(EvidenceError, match="none of the 1 frame") as caught:
        session.complete(CompletionRequest(object_id=name, ignore_before_ns=away.stamp_ns))
    assert caught.value.code is ErrorCode.OBJECT_NOT_IN_VIEW
    with pytest.raises(EvidenceError) as caught:
        session.complete(CompletionRequest(object_id="object_77", ignore_before_ns=away.stamp_ns))
    assert caught.value.code is ErrorCode.OBJECT_NOT_FOUND
    assert session.complete(CompletionRequest(object_id=name)).quality.views_used == 3


def test_a_stamp_before_zero_is_refused():
    with pytest.raises(InputError, match="ignore_before"):
        CompletionRequest(ignore_before_ns=-1)
