"""Names that last, and requests that find their object or say what there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scenes import around, block, two_objects

from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.recording import record, tabletop_recording
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.catalog import ObjectCatalog
from sparse_recon.requests import CompletionRequest
from sparse_recon.types import Frame, OrientedBox


def places(catalog: ObjectCatalog, frames) -> dict[str, float]:
    """Name -> x of each object; the ball is at -0.08, the block at 0.08."""
    return {f.candidate.object_id: float(f.candidate.box.T_world_box[0, 3]) for f in catalog.objects(frames)}


@pytest.mark.parametrize("with_labels", [False, True])
def test_names_last_while_frames_are_added(with_labels):
    catalog = ObjectCatalog(SessionConfig())
    frames = two_objects(with_labels=with_labels).frames
    first = places(catalog, frames[:1])
    assert set(first) == {"object_0", "object_1"}
    for count in (2, 3, 4):
        now = places(catalog, frames[:count])
        assert {n: np.sign(x) for n, x in now.items()} == {n: np.sign(x) for n, x in first.items()}


@pytest.mark.parametrize("with_labels", [False, True])
def test_the_order_of_names_does_not_depend_on_when_the_objects_are_listed(with_labels):
    """A node lists objects while frames come in, a replay when all are there; a passing piece may cost a number."""
    frames = tabletop_recording(7, with_labels=with_labels).frames
    found = []
    for listed_after in ((), (1,), (2,), (1, 3), (1, 2, 3, 4)):
        catalog = ObjectCatalog(SessionConfig())
        for count in listed_after:
            catalog.objects(frames[:count])
        candidates = sorted((f.candidate for f in catalog.objects(frames)), key=lambda c: int(c.object_id[7:]))
        found.append([c.box.T_world_box[:2, 3] for c in candidates])
    assert len(found[0]) == 3
    for centres in found:
        assert np.allclose(centres, found[0], atol=0.01)


def test_names_are_never_swapped_whatever_frames_remain():
    catalog = ObjectCatalog(SessionConfig())
    frames = two_objects().frames
    first = places(catalog, frames)
    for subset in (c for n in (1, 2, 3) for c in combinations(frames, n)):
        for name, x in places(catalog, subset).items():
            assert np.sign(x) == np.sign(first[name])


def test_large_newcomer_does_not_take_the_name_of_a_small_neighbour():
    catalog = ObjectCatalog(SessionConfig())
    frames = two_objects(with_labels=True, gap_m=0.1).frames
    only_ball = [replace(f, labels=np.where(f.labels == 1, 1, 0).astype(np.int32)) for f in frames]
    (before,) = catalog.objects(only_ball)
    later = [replace(f, stamp_ns=f.stamp_ns + 1) for f in frames]
    after = {f.candidate.label: f.candidate.object_id for f in catalog.objects(later)}
    assert after[1] == before.candidate.object_id == "object_0"
    assert after[2] == "object_1"


def test_an_object_that_comes_back_has_its_old_name():
    catalog = ObjectCatalog(SessionConfig())
    frames = two_objects(with_labels=True).frames
    first = places(catalog, frames)
    hidden = [
        replace(f, stamp_ns=f.stamp_ns + 1, labels=np.where(f.labels == 2, 2, 0).astype(np.int32)) for f in frames
    ]
    assert len(catalog.objects(hidden)) == 1
    again = places(catalog, frames)
    assert {n: np.sign(x) for n, x in again.items()} == {n: np.sign(x) for n, x in first.items()}


def test_candidates_are_boxed_and_counted():
    (larger, smaller) = ObjectCatalog(SessionConfig()).objects(two_objects(with_labels=True).frames)
    assert larger.candidate.points > smaller.candidate.points > 1000
    ball = next(f.candidate for f in (larger, smaller) if f.candidate.label == 1)
    np.testing.assert_allclose(ball.box.T_world_box[:3, 3], (-0.08, 0, 0.04), atol=0.01)
    np.testing.assert_allclose(ball.box.size_m, 0.08, atol=0.015)


def test_each_box_keeps_a_name_of_its_own():
    catalog, frames = ObjectCatalog(SessionConfig()), two_objects().frames
    here = OrientedBox(pose(np.eye(3), (0.08, 0.0, 0.05)), np.array([0.14, 0.14, 0.14]))
    there = OrientedBox(pose(np.eye(3), (-0.08, 0.0, 0.05)), np.array([0.14, 0.14, 0.14]))
    names = [catalog.resolve(CompletionRequest(box=b), frames).candidate.object_id for b in (here, there, here)]
    assert names == ["box_0", "box_1", "box_0"]
    again = catalog.resolve(CompletionRequest(object_id="box_1"), frames)
    np.testing.assert_allclose(again.candidate.box.T_world_box, there.T_world_box)


def resolve(with_labels=False, **request):
    return ObjectCatalog(SessionConfig()).resolve(
        CompletionRequest(**request), two_objects(with_labels=with_labels).frames
    )


def test_resolve_by_id_and_by_label():
    assert resolve(object_id="object_1").candidate.object_id == "object_1"
    assert resolve(with_labels=True, label=2).candidate.label == 2


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "no object was named and there are 2 in 4 frame(s): object_0, object_1; name one"),
        (
            {"object_id": "mug" * 100},
            f"no object is named 'mug{'mug' * 65}m ...; there are 2 in 4 frame(s): object_0, object_1; "
            "name one of these",
        ),
        (
            {"label": 5},
            "no object has label 5; there are 2 in 4 frame(s): object_0 (label 2), object_1 (label 1); "
            "name one of these",
        ),
    ],
)
def test_unknown_or_ambiguous_object_lists_those_there_are(request_, text):
    with pytest.raises(EvidenceError) as caught:
        resolve(with_labels=True, **request_)
    assert (caught.value.code, caught.value.message) == (ErrorCode.OBJECT_NOT_FOUND, text)


def test_nothing_named_is_the_only_object_there_is():
    frames = [
        replace(f, labels=np.where(f.labels == 1, 1, 0).astype(np.int32)) for f in two_objects(with_labels=True).frames
    ]
    found = ObjectCatalog(SessionConfig()).resolve(CompletionRequest(), frames)
    assert found.candidate.label == 1


@pytest.mark.parametrize(("request_", "word"), [({"object_id": "object_9"}, "object_9"), ({"label": 5}, "label 5")])
def test_a_refusal_names_what_was_asked_for(request_, word):
    with pytest.raises(EvidenceError, match=word):
        resolve(with_labels=True, **request_)


def test_suggested_boxes_are_the_objects_but_labels_and_earlier_names_can_still_be_asked_for():
    frames, catalog = two_objects(with_labels=True).frames, ObjectCatalog(SessionConfig())
    names = {f.candidate.label: f.candidate.object_id for f in catalog.objects(frames)}
    catalog.suggest([OrientedBox(pose(np.eye(3), (-0.08, 0, 0.05)), np.array([0.12, 0.12, 0.12]))])
    (suggested,) = (f.candidate for f in catalog.objects(frames))
    assert suggested.object_id not in names.values()
    for request in (CompletionRequest(), CompletionRequest(object_id=suggested.object_id)):
        found = catalog.resolve(request, frames).candidate
        assert (found.object_id, found.label) == (suggested.object_id, None)
    assert catalog.resolve(CompletionRequest(label=2), frames).candidate.object_id == names[2]
    assert catalog.resolve(CompletionRequest(object_id=names[1]), frames).candidate.label == 1


def test_objects_of_label_images_without_depth_lie_where_the_masks_meet():
    blind = [replace(f, depth_m=None) for f in two_objects(with_labels=True).frames]
    found = {f.candidate.label: f for f in ObjectCatalog(SessionConfig()).objects(blind)}
    assert set(found) == {1, 2}
    for label, x in ((1, -0.08), (2, 0.08)):
        # Four cones leave corners: a hull is up to half as large again as what it holds.
        np.testing.assert_allclose(found[label].candidate.box.T_world_box[:3, 3], (x, 0, 0.04), atol=0.02)
        assert found[label].candidate.points == sum(int((f.labels == label).sum()) for f in blind)
        assert len(found[label].hull_world) > 100


def test_box_finds_its_object():
    box = OrientedBox(pose(np.eye(3), (-0.08, 0, 0.05)), np.array([0.12, 0.12, 0.12]))
    found = resolve(box=box)
    mask = found.region.mask(two_objects().frames[0])
    truth = two_objects(with_labels=True).frames[0].labels == 1
    assert np.count_nonzero(mask & truth) > 0.85 * truth.sum() and not (mask & ~truth).sum() > 0.05 * truth.sum()


def test_empty_box_is_not_in_view():
    box = OrientedBox(pose(np.eye(3), (0, 0, 0.5)), np.array([0.1, 0.1, 0.1]))
    with pytest.raises(EvidenceError, match=r"0\.500.*check the frame") as caught:
        resolve(box=box)
    assert caught.value.code == ErrorCode.OBJECT_NOT_IN_VIEW


def test_box_with_a_few_pixels_says_how_few():
    box = OrientedBox(pose(np.eye(3), (-0.08, 0, 0.0805)), np.array([0.006, 0.006, 0.004]))
    with pytest.raises(EvidenceError, match="pixel") as caught:
        resolve(box=box)
    assert caught.value.code == ErrorCode.OBJECT_TOO_SMALL


def test_label_of_a_few_pixels_says_so():
    frames = two_objects(with_labels=True).frames
    labels = np.zeros_like(frames[0].labels)
    rows, columns = np.nonzero(frames[0].labels == 1)
    labels[rows[len(rows) // 2], columns[len(rows) // 2]] = 4
    with pytest.raises(EvidenceError, match="1 depth pixel") as caught:
        ObjectCatalog(SessionConfig()).resolve(CompletionRequest(label=4), [replace(frames[0], labels=labels)])
    assert caught.value.code == ErrorCode.OBJECT_TOO_SMALL


def flat_box(with_table: bool) -> list[Frame]:
    """A labelled box of 3 cm height, from above; without the table only the box has depth."""
    scene = scene_of([block((0.16, 0.12, 0.03))], [pose(np.eye(3), (0, 0, 0))])
    sensor, lens = exact(SENSORS["clean"]), depth_camera(320, 240)
    poses = around(1, distance_m=0.5, elevation_deg=65.0)
    frames = record(scene, poses, sensor=sensor, intrinsics=lens, with_labels=True).frames
    if with_table:
        return list(frames)
    return [replace(f, depth_m=np.where(f.labels > 0, f.depth_m, np.nan)) for f in frames]


def test_the_top_of_a_flat_labelled_box_is_no_table():
    whole, alone = (
        ObjectCatalog(SessionConfig()).resolve(CompletionRequest(label=1), flat_box(with_table))
        for with_table in (True, False)
    )
    assert whole.plane is not None and alone.plane is None
    assert np.allclose(np.sort(alone.candidate.box.size_m), np.sort(whole.candidate.box.size_m), atol=0.006)


def test_a_labelled_table_stays_the_table():
    frames = two_objects(with_labels=True).frames
    labelled = [replace(f, labels=np.where(f.labels == 0, 9, f.labels).astype(np.int32)) for f in frames]
    found = ObjectCatalog(SessionConfig()).objects(labelled)
    assert sorted(f.candidate.label for f in found) == [1, 2]
    assert all(f.plane is not None for f in found)


def test_a_small_labelled_table_that_carries_one_small_thing_stays_the_table():
    scene = scene_of([block((0.03, 0.03, 0.018))], [pose(np.eye(3), (0, 0, 0))])
    sensor, lens = exact(SENSORS["clean"]), depth_camera(320, 240)
    (frame,) = record(
        scene, around(1, distance_m=0.45, elevation_deg=80.0), sensor=sensor, intrinsics=lens, with_labels=True
    ).frames
    labelled = replace(frame, labels=np.where(frame.labels == 0, 9, frame.labels).astype(np.int32))
    found = ObjectCatalog(SessionConfig()).resolve(CompletionRequest(label=1), [labelled])
    assert found.plane is not None and found.candidate.box.size_m[2] == pytest.approx(0.018, abs=0.004)


def test_up_is_the_configured_one_or_that_of_the_support():
    catalog = ObjectCatalog(load_config({"up_world": (0.0, 0.0, 2.0)}))
    np.testing.assert_allclose(catalog.up_world(), (0, 0, 1))
    free = ObjectCatalog(load_config({"up_world": (0.0, 0.0, 0.0)}))
    free.objects(two_objects().frames)
    assert free.up_world()[2] > 0.9999


def test_a_label_is_that_of_the_newest_frame_that_bears_it():
    frames = two_objects(with_labels=True).frames
    swap = np.array([0, 2, 1], np.int32)
    newest = replace(frames[3], labels=swap[frames[3].labels], stamp_ns=frames[3].stamp_ns + 1)
    catalog = ObjectCatalog(SessionConfig())
    ball = catalog.resolve(CompletionRequest(label=1), frames[:3]).candidate.box.T_world_box[0, 3]
    now = catalog.resolve(CompletionRequest(label=2), [*frames[:3], newest]).candidate.box.T_world_box[0, 3]
    assert np.sign(ball) == np.sign(now)
