"""The whole core: frames in, completed objects out, refusals, and the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scenes import around, block, recording, two_objects
from sessions import CONFIG, completed, digest, session_of

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, EvidenceError, InputError, ModelError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS
from sparse_recon.lab.simulate.truth import surface_distance
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import OrientedBox, Provenance

BALL_BOX = OrientedBox(pose(np.eye(3), (0, 0, 0.05)), np.array([0.13, 0.13, 0.14]))


# What comes out


@pytest.mark.parametrize(
    ("labelled", "request_"),
    [
        (True, CompletionRequest(label=1)),
        (False, CompletionRequest(box=BALL_BOX)),
        (False, CompletionRequest(object_id="object_0")),
        (False, CompletionRequest()),
    ],
    ids=["label", "box", "id", "only object"],
)
def test_object_is_completed_however_it_is_named(labelled, request_):
    scene = recording("ball", 2, with_labels=labelled)
    result = session_of(scene.frames).complete(request_)
    assert surface_distance(result.points_world, scene.scene.objects[0]).chamfer_m < 0.004
    assert result.quality.views_used == 2 and result.model == "carve"
    assert result.stamp_ns == max(f.stamp_ns for f in scene.frames)
    np.testing.assert_allclose(result.box.T_world_box[:3, 3], (0, 0, 0.04), atol=0.006)


def test_arrays_fit_together():
    result = completed("mug", 2)
    n = len(result.points_world)
    for name in ("normals_world", "colors", "confidence", "provenance"):
        assert len(getattr(result, name)) == n
    assert len(result.vertex_confidence) == len(result.nominal.vertices_world)
    assert set(np.unique(result.provenance)) <= {Provenance.OBSERVED, Provenance.INFERRED}
    assert np.all((result.confidence >= 0) & (result.confidence <= 1))
    np.testing.assert_allclose(np.linalg.norm(result.normals_world, axis=1), 1.0, atol=1e-4)
    assert len(result.observed_points_world) > 500


@pytest.mark.parametrize("kind", ["ball", "block", "mug"])
@pytest.mark.parametrize("views", [1, 2, 4])
def test_no_surface_stands_in_known_free_space_and_meshes_are_closed(kind, views):
    quality = completed(kind, views).quality
    assert quality.free_space_violation == 0.0
    assert quality.nominal_watertight and quality.conservative_watertight
    assert not quality.evidence_soft and quality.views_used == views


@pytest.mark.parametrize("kind", ["ball", "block", "mug"])
def test_more_views_do_not_make_it_worse(kind):
    truth = recording(kind, 1).scene.objects[0]
    chamfer = [surface_distance(completed(kind, v).points_world, truth).chamfer_m for v in (1, 2, 4)]
    noise_m = 0.0002  # sampling of both surfaces, at points 2 mm apart
    assert chamfer[1] < chamfer[0] + 0.0002 + noise_m
    assert chamfer[2] < chamfer[1] + 0.0002 + noise_m


def test_two_objects_are_completed_each_in_its_place():
    session = session_of(two_objects().frames)
    places = {}
    for candidate in session.objects():
        result = session.complete(CompletionRequest(object_id=candidate.object_id))
        places[round(float(result.box.T_world_box[0, 3]), 1)] = result.object_id
    assert set(places) == {-0.1, 0.1} and len(set(places.values())) == 2


def test_colour_frames_with_masks_join_one_with_depth():
    first, *rest = recording("ball", 4).frames
    alone = session_of([first]).complete(CompletionRequest(label=1))
    joined = session_of([first, *(replace(f, depth_m=None) for f in rest)]).complete(CompletionRequest(label=1))
    truth = recording("ball", 4).scene.objects[0]
    assert joined.quality.views_used == 4
    assert joined.quality.nominal_watertight and joined.quality.free_space_violation == 0.0
    before, after = (surface_distance(r.points_world, truth).chamfer_m for r in (alone, joined))
    assert after < before + 0.0002


def test_request_limits_the_views():
    session = session_of(recording("ball", 4).frames)
    assert session.complete(CompletionRequest(max_views=2)).quality.views_used == 2


def test_reset_forgets_everything():
    session = session_of(recording("ball", 1).frames)
    session.reset()
    assert session.frames == () and session.objects() == ()


def test_shape_of_what_is_seen_does_not_depend_on_the_world_frame():
    T = pose(look_at((0, 0, 0), (1.0, 0.3, 0.2))[:3, :3], (4.0, -2.0, 1.0))
    frames = [replace(f, T_world_cam=T @ f.T_world_cam) for f in recording("ball", 2).frames]
    result = session_of(frames, load_config({"up_world": (0.0, 0.0, 0.0)}, CONFIG)).complete(CompletionRequest(label=1))
    centre = T[:3, :3] @ (0, 0, 0.04) + T[:3, 3]
    radius = np.linalg.norm(result.points_world - centre, axis=1)
    assert abs(np.median(radius) - 0.04) < 0.003


# Refusals


def refused(session, request=None) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        session.complete(request or CompletionRequest())
    assert len(str(caught.value)) > 20
    return caught.value


def test_without_frames():
    error = refused(CompletionSession(CONFIG))
    assert error.code == ErrorCode.NO_FRAMES and "add" in error.message


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.6), (0.9, 0.4, 0.7)], ids=["empty air", "behind the camera"])
def test_box_where_nothing_is(centre):
    box = OrientedBox(pose(np.eye(3), centre), np.array([0.1, 0.1, 0.1]))
    error = refused(session_of(recording("ball", 1).frames), CompletionRequest(box=box))
    assert error.code == ErrorCode.OBJECT_NOT_IN_VIEW and "0.100" in error.message


def test_unknown_id_lists_those_there_are():
    error = refused(session_of(two_objects().frames), CompletionRequest(object_id="cup"))
    assert error.code == ErrorCode.OBJECT_NOT_FOUND
    assert "object_0" in error.message and "object_1" in error.message


def test_one_pixel_of_object():
    frame = recording("ball", 1).frames[0]
    labels = np.zeros_like(frame.labels)
    rows, columns = np.nonzero(frame.labels == 1)
    labels[rows[700], columns[700]] = 1
    error = refused(session_of([replace(frame, labels=labels)]), CompletionRequest(label=1))
    assert error.code == ErrorCode.OBJECT_TOO_SMALL and "1 depth pixel" in error.message


def test_object_as_large_as_the_room():
    scene = scene_of([block((1.0, 0.6, 0.8))], [pose(np.eye(3), (0, 0, 0))])
    frames = record(scene, around(2, distance_m=2.2), sensor=SENSORS["clean"], intrinsics=depth_camera(320, 240)).frames
    error = refused(session_of(frames), CompletionRequest(label=1))
    assert error.code == ErrorCode.OBJECT_TOO_LARGE and "max_size_m" in error.message


def test_unknown_model_lists_those_there_are():
    with pytest.raises(ModelError, match="carve") as caught:
        session_of(recording("ball", 1).frames).complete(CompletionRequest(model="oracle"))
    assert caught.value.code == ErrorCode.MODEL_UNKNOWN


def test_frame_without_overlap_changes_nothing():
    frame = recording("ball", 1).frames[0]
    elsewhere = replace(
        frame,
        T_world_cam=look_at((3.0, 3.0, 0.5), (5.0, 3.0, 0.4)),
        stamp_ns=frame.stamp_ns - 1,
        labels=np.zeros_like(frame.labels),
    )
    result = session_of([elsewhere, frame]).complete(CompletionRequest(label=1))
    assert result.quality.views_used == 1
    assert np.array_equal(result.points_world, completed("ball", 1).points_world)


def test_frame_of_nothing_but_nan_is_refused_with_a_code():
    frame = recording("ball", 1).frames[0]
    session = CompletionSession(CONFIG)
    report = session.add_frame(replace(frame, depth_m=np.full_like(frame.depth_m, np.nan)))
    assert not report.accepted and report.code == ErrorCode.DEPTH_EMPTY and "metres" in report.reason
    assert session.frames == () and report.kept_frames == 0


def test_depth_out_of_range_is_not_used():
    frame = recording("ball", 1).frames[0]
    depth = frame.depth_m.copy()
    depth[:10], depth[10:20], depth[20:30] = np.inf, -1.0, 60.0
    session = session_of([replace(frame, depth_m=depth)])
    assert np.isnan(session.frames[0].depth_m[:30]).all()
    assert np.isinf(depth[:10]).all()  # the caller's array is left alone


def test_duplicate_stamp_is_refused_and_another_camera_is_not():
    frame = recording("ball", 1).frames[0]
    session = session_of([frame])
    report = session.add_frame(frame)
    assert not report.accepted and report.code == ErrorCode.STAMP_ORDER and str(frame.stamp_ns) in report.reason
    assert session.add_frame(replace(frame, camera="wrist")).accepted


def test_a_colour_image_without_labels_shows_nothing():
    frame = replace(recording("ball", 1).frames[0], depth_m=None, labels=None)
    report = CompletionSession(CONFIG).add_frame(frame)
    assert not report.accepted and report.code == ErrorCode.FRAME_INVALID


def test_frames_of_another_type_are_refused():
    frame = recording("ball", 1).frames[0]
    with pytest.raises(InputError, match="float32"):
        replace(frame, depth_m=frame.depth_m.astype(np.float64))


def test_negative_seeds_are_refused():
    with pytest.raises(InputError, match="seed") as caught:
        CompletionRequest(seed=-1)
    assert caught.value.code == ErrorCode.USAGE


class Broken(ViewCompleter):
    name = "broken"

    def complete(self, task):
        raise ZeroDivisionError("a mistake in a model")


def test_a_mistake_in_a_model_is_told_with_a_code(monkeypatch):
    monkeypatch.setitem(COMPLETERS, "broken", "broken_model:Broken")
    monkeypatch.setitem(sys.modules, "broken_model", SimpleNamespace(Broken=Broken))
    session = session_of(recording("ball", 1).frames)
    with pytest.raises(ModelError, match="ZeroDivisionError") as caught:
        session.complete(CompletionRequest(model="broken"))
    assert caught.value.code == ErrorCode.MODEL_FAILED
    assert session.complete(CompletionRequest()).nominal.watertight


# Sameness


def test_same_frames_and_seed_give_the_same_bytes():
    again = session_of(recording("ball", 2).frames).complete(CompletionRequest())
    assert digest(again) == digest(completed("ball", 2))
    other = session_of(recording("ball", 2).frames).complete(CompletionRequest(seed=7))
    assert other.seed == 7 and digest(other) != digest(again)


def test_another_process_gives_the_same_bytes():
    code = "import sessions as t; print(t.digest(t.completed('ball', 2)))"
    here = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == digest(completed("ball", 2))


def test_interleaved_sessions_do_not_disturb_each_other():
    first, second = CompletionSession(CONFIG), CompletionSession(CONFIG)
    for one, other in zip(recording("ball", 2).frames, recording("block", 2).frames, strict=True):
        first.add_frame(one)
        second.add_frame(other)
    results = [second.complete(CompletionRequest()), first.complete(CompletionRequest())]
    assert [digest(r) for r in results] == [digest(completed("block", 2)), digest(completed("ball", 2))]
