"""Far from the world's origin, where float32 steps by millimetres, a session gives what it gives near it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scenes import two_objects
from sessions import CONFIG, session_of

from sparse_recon.errors import ErrorCode, EvidenceError, InputError
from sparse_recon.fuse.mesh import is_closed, welded
from sparse_recon.geometry.near import moved_box, moved_frame
from sparse_recon.geometry.poses import pose
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CompletedObject, Frame, OrientedBox

# Maps in UTM and the like; the largest one a little below the farthest that is accepted.
PLACES_M = [(2_000.0, 1_300.0, 0.0), (20_000.0, -13_000.0, 300.0), (-99_000.0, 60_000.0, 500.0)]
SAME_M = 1e-6
FRAMES = two_objects().frames
LATER_NS = 10**10


def at(place_m: Sequence[float], later_ns: int = 0) -> list[Frame]:
    by_m = np.asarray(place_m, np.float64)
    return [replace(moved_frame(f, by_m), stamp_ns=f.stamp_ns + later_ns) for f in FRAMES]


@pytest.fixture(scope="module")
def near() -> CompletedObject:
    return session_of(FRAMES).complete(CompletionRequest(object_id="object_0"))


@pytest.mark.parametrize("place_m", PLACES_M)
def test_an_object_is_the_same_far_from_the_origin(place_m: tuple[float, ...]):
    session = session_of(at(place_m))
    previews = []
    far = session.complete(CompletionRequest(object_id="object_0"), lambda p: previews.append(p.preview))
    moved_m = far.origin_world
    assert np.abs(moved_m - place_m).max() <= 1.0
    home = session_of(at(place_m - moved_m))  # voxels lie alike on the objects
    near = home.complete(CompletionRequest(object_id="object_0"))
    pairs = [
        (far.points_world, near.points_world),
        (far.observed_points_world, near.observed_points_world),
        (far.nominal.vertices_world, near.nominal.vertices_world),
        (far.conservative.vertices_world, near.conservative.vertices_world),
        (far.box.T_world_box[None, :3, 3], near.box.T_world_box[None, :3, 3]),
    ]
    for there, here in pairs:
        assert there.dtype == np.float64
        np.testing.assert_allclose(there - moved_m, here, rtol=0, atol=SAME_M)
    shown = next(p for p in previews if p is not None)
    assert np.abs(shown.vertices_world - far.box.T_world_box[:3, 3]).max() < 0.2
    for there, here in zip(session.objects(), home.objects(), strict=True):
        assert (there.object_id, there.points, there.state) == (here.object_id, here.points, here.state)
        np.testing.assert_allclose(
            there.box.T_world_box[:3, 3] - moved_m, here.box.T_world_box[:3, 3], rtol=0, atol=SAME_M
        )
    assert session.out_of_date([far]) == {}


@pytest.mark.parametrize("place_m", PLACES_M)
def test_watertight_is_true_of_what_is_published(place_m: tuple[float, ...]):
    far = session_of(at(place_m)).complete(CompletionRequest(object_id="object_1"))
    assert far.quality.nominal_watertight and far.quality.conservative_watertight
    for mesh in (far.nominal, far.conservative):
        assert is_closed(*welded(mesh.vertices_world, mesh.faces))
        as_float32 = (mesh.vertices_world - far.origin_world).astype(np.float32)
        assert is_closed(*welded(as_float32, mesh.faces))


def test_near_the_origin_positions_are_float32(near: CompletedObject):
    assert near.points_world.dtype == near.nominal.vertices_world.dtype == np.float32
    assert not near.origin_world.any()


def test_who_reads_clouds_of_messages_is_warned_where_they_are_coarse(near: CompletedObject):
    assert near.quality.warnings == ()
    for place_m, text in zip(PLACES_M, ("", "round its points to 2 mm", "round its points to 8 mm"), strict=True):
        warnings = session_of(at(place_m)).complete(CompletionRequest(object_id="object_0")).quality.warnings
        assert [text in w and "world_frame" in w for w in warnings] == ([True] if text else [])


def test_a_camera_beyond_the_reach_of_messages_is_refused():
    with pytest.raises(InputError, match="world_frame") as caught:
        at((0.0, 5_000_000.0, 0.0))
    assert caught.value.code is ErrorCode.FRAME_INVALID


def test_equal_scenes_at_two_places_have_different_hashes(near: CompletedObject):
    hashes = {near.quality.input_hash}
    for place_m in PLACES_M[:2]:
        hashes.add(session_of(at(place_m)).complete(CompletionRequest(object_id="object_0")).quality.input_hash)
    assert len(hashes) == 3


# Boxes of people are of the world


def test_boxes_and_regions_are_of_the_world():
    place_m = np.array(PLACES_M[1])
    boxes = [candidate.box for candidate in session_of(FRAMES).objects()]
    asked = [moved_box(OrientedBox(b.T_world_box, b.size_m + 0.02), place_m) for b in boxes]
    session = CompletionSession(CONFIG)
    session.set_region(asked[1])  # before any frame
    for frame in at(place_m):
        session.add_frame(frame)
    (only,) = session.objects()
    np.testing.assert_allclose(only.box.T_world_box[:3, 3], asked[1].T_world_box[:3, 3], atol=0.02)
    found = session.complete(CompletionRequest(box=asked[0]))
    np.testing.assert_allclose(found.box.T_world_box[:3, 3], asked[0].T_world_box[:3, 3], atol=0.02)
    assert session.region is asked[1]
    session.set_region(None)
    session.suggest(asked)
    assert [c.object_id for c in session.objects()] == ["detection_0", "detection_1"]
    np.testing.assert_array_equal(session.objects()[0].box.T_world_box, asked[0].T_world_box)


def test_a_box_with_nothing_in_it_is_named_as_it_was_asked_for():
    session = session_of(at(PLACES_M[1]))
    nothing = OrientedBox(pose(np.eye(3), (20_000.5, -13_000.0, 301.0)), np.full(3, 0.1))
    with pytest.raises(EvidenceError, match=r"box at \(20000\.500, -13000\.000, 301\.000\) m") as caught:
        session.complete(CompletionRequest(box=nothing))
    assert caught.value.code is ErrorCode.OBJECT_NOT_IN_VIEW


def test_what_is_forgotten_far_away_is_gone():
    session = session_of(at(PLACES_M[2]))
    result = session.complete(CompletionRequest(object_id="object_0"))
    kept = session.objects()[1]
    assert session.forget(region=result.box, completed=[result]) == ("object_0",)
    assert [c.object_id for c in session.objects()] == [kept.object_id]


# A robot that drives on


def test_names_stay_while_a_robot_drives_away():
    session = session_of(FRAMES)
    names = [c.object_id for c in session.objects()]
    for frame in at((5_000.0, 0.0, 0.0), LATER_NS):
        assert session.add_frame(frame).accepted
    places = {c.object_id: c.box.T_world_box[0, 3] for c in session.objects()}
    assert {name for name, x_m in places.items() if x_m < 1.0} == set(names)
    assert {name for name, x_m in places.items() if x_m > 4_999.0} == {"object_2", "object_3"}
    far = session.complete(CompletionRequest(object_id="object_2"))
    assert far.origin_world.tolist()[0] == pytest.approx(5_000.0, abs=2.0)
    assert far.box.T_world_box[0, 3] == pytest.approx(places["object_2"], abs=0.02)


def test_what_was_forgotten_stays_so_while_a_robot_drives_away():
    session = session_of(FRAMES)
    first, second = (c.object_id for c in session.objects())
    session.forget([first])
    for frame in at((5_000.0, 0.0, 0.0), LATER_NS):
        session.add_frame(frame)
    assert [c.object_id for c in session.objects() if c.box.T_world_box[0, 3] < 1.0] == [second]


def test_reset_far_away_begins_anew_at_the_origin(near: CompletedObject):
    session = session_of(at(PLACES_M[1]))
    session.objects()
    session.reset()
    for frame in FRAMES:
        session.add_frame(frame)
    again = session.complete(CompletionRequest(object_id="object_0"))
    np.testing.assert_array_equal(again.nominal.vertices_world, near.nominal.vertices_world)
