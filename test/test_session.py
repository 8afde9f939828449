"""The whole core: frames in, completed objects out, refusals, promises of time, memory and sameness."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scenes import around, block, recording, two_objects

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.config import load_config
from sparse_recon.errors import CancelledError, ErrorCode, EvidenceError, InputError, ModelError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.observe.keyframes import least_useful
from sparse_recon.requests import CompletionRequest
from sparse_recon.run import STAGES
from sparse_recon.session import CompletionSession
from sparse_recon.simulate.cameras import depth_camera
from sparse_recon.simulate.recording import record
from sparse_recon.simulate.scene import scene_of
from sparse_recon.simulate.sensor import SENSORS
from sparse_recon.simulate.truth import surface_distance
from sparse_recon.types import CompletedObject, OrientedBox, Provenance

CONFIG = load_config({"evidence.grid": 40, "evidence.fine_voxel_m": 0.0025})
BALL_BOX = OrientedBox(pose(np.eye(3), (0, 0, 0.05)), np.array([0.13, 0.13, 0.14]))


def session_of(frames, config=CONFIG) -> CompletionSession:
    session = CompletionSession(config)
    for frame in frames:
        report = session.add_frame(frame)
        assert report.accepted, report.reason
    return session


@lru_cache(maxsize=16)
def completed(kind: str, views: int) -> CompletedObject:
    return session_of(recording(kind, views).frames).complete(CompletionRequest())


def digest(result: CompletedObject) -> str:
    """Hash of every array that a robot gets."""
    seen = hashlib.sha256()
    for mesh in (result.nominal, result.conservative):
        seen.update(mesh.vertices_world.tobytes() + mesh.faces.tobytes())
    for f in fields(result):
        value = getattr(result, f.name)
        if isinstance(value, np.ndarray):
            seen.update(f.name.encode() + value.tobytes())
    seen.update(result.box.T_world_box.tobytes() + result.box.size_m.tobytes())
    seen.update(f"{result.object_id} {result.stamp_ns} {result.model} {result.seed}".encode())
    quality = result.quality
    seen.update(f"{quality.input_hash} {quality.radius90_m} {quality.observed_fraction} {quality.warnings}".encode())
    return seen.hexdigest()


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


# Time


def test_progress_runs_from_0_to_1_and_previews_early():
    told = []
    session_of(recording("ball", 1).frames).complete(CompletionRequest(), on_progress=told.append)
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    steps = [p for p in told if p.stage == "complete" and p.step > 0]
    assert steps[0].step == 1 and len(steps[0].preview.faces) > 100
    assert np.abs(steps[0].preview.vertices_world.mean(axis=0) - (0, 0, 0.04)).max() < 0.03
    assert 0.0 < steps[0].preview_confidence <= 1.0
    assert {p.stage for p in told} == set(STAGES) - {"convex_parts"}


def test_timings_are_of_all_stages():
    timings = completed("ball", 1).quality.timings_s
    assert set(timings) == set(STAGES) - {"convex_parts", "done"}
    assert all(seconds >= 0 for seconds in timings.values())


class CancelAt:
    """Asks to cancel from the moment at which a stage and step are told."""

    def __init__(self, stage: str, step: int) -> None:
        self.wanted, self.since = (stage, step), None

    def on_progress(self, progress) -> None:
        if (progress.stage, progress.step) == self.wanted:
            self.since = time.perf_counter()

    def __call__(self) -> bool:
        return self.since is not None


def test_cancel_is_heard_within_half_a_second_at_every_stage_and_the_session_stays_usable():
    session = session_of(recording("ball", 1).frames)
    told = []
    before = session.complete(CompletionRequest(), on_progress=told.append)
    for stage, step in [(p.stage, p.step) for p in told[:-1]]:
        cancel = CancelAt(stage, step)
        with pytest.raises(CancelledError) as caught:
            session.complete(CompletionRequest(), cancel.on_progress, cancel)
        assert time.perf_counter() - cancel.since < 0.5, (stage, step)
        assert caught.value.code == ErrorCode.CANCELLED and "cancel" in caught.value.message
    assert digest(session.complete(CompletionRequest())) == digest(before)


def test_deadline_gives_the_best_so_far_with_a_warning():
    session = session_of(recording("ball", 1).frames)
    session.objects()

    def slow(progress) -> None:
        if (progress.stage, progress.step) == ("complete", 1):
            time.sleep(0.5)

    result = session.complete(CompletionRequest(deadline_s=1.0), on_progress=slow)
    if not result.quality.warnings:  # a fast machine: be slower
        result = session.complete(CompletionRequest(deadline_s=0.5), on_progress=slow)
    assert "deadline" in result.quality.warnings[0]
    assert result.quality.nominal_watertight and result.quality.free_space_violation == 0.0


def test_deadline_before_the_first_step_is_told():
    session = session_of(recording("ball", 1).frames)
    with pytest.raises(CancelledError, match="first step") as caught:
        session.complete(CompletionRequest(deadline_s=1e-6))
    assert caught.value.code == ErrorCode.DEADLINE
    assert session.complete(CompletionRequest()).quality.nominal_watertight


# Sameness


def test_same_frames_and_seed_give_the_same_bytes():
    again = session_of(recording("ball", 2).frames).complete(CompletionRequest())
    assert digest(again) == digest(completed("ball", 2))
    other = session_of(recording("ball", 2).frames).complete(CompletionRequest(seed=7))
    assert other.seed == 7 and digest(other) != digest(again)


def test_another_process_gives_the_same_bytes():
    code = "import test_session as t; print(t.digest(t.completed('ball', 2)))"
    here = Path(__file__).parent
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


def test_sessions_in_two_threads_do_not_disturb_each_other():
    expected = {kind: digest(completed(kind, 2)) for kind in ("ball", "block")}
    found = {}

    def work(kind: str) -> None:
        found[kind] = digest(session_of(recording(kind, 2).frames).complete(CompletionRequest()))

    threads = [threading.Thread(target=work, args=(kind,)) for kind in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == expected


# Memory


def test_bytes_stay_under_the_budget_and_the_most_redundant_frame_goes():
    config = load_config({"keyframes.frame_budget_bytes": 4_000_000}, CONFIG)
    session = CompletionSession(config)
    frame = recording("ball", 1).frames[0]
    poses = list(around(4))
    almost = poses[1].copy()
    almost[:3, 3] += 0.001
    for i, T in enumerate([poses[0], poses[1], almost, poses[2], poses[3]]):
        report = session.add_frame(replace(frame, T_world_cam=T, stamp_ns=frame.stamp_ns + i))
        assert report.accepted and report.kept_bytes <= 4_000_000
        assert report.kept_bytes == sum(f.nbytes for f in session.frames)
    assert "made room" in report.reason
    kept = [f.stamp_ns - frame.stamp_ns for f in session.frames]
    assert kept == [0, 2, 3, 4]


def test_shape_of_what_is_seen_does_not_depend_on_the_world_frame():
    T = pose(look_at((0, 0, 0), (1.0, 0.3, 0.2))[:3, :3], (4.0, -2.0, 1.0))
    frames = [replace(f, T_world_cam=T @ f.T_world_cam) for f in recording("ball", 2).frames]
    result = session_of(frames, load_config({"up_world": (0.0, 0.0, 0.0)}, CONFIG)).complete(CompletionRequest(label=1))
    centre = T[:3, :3] @ (0, 0, 0.04) + T[:3, 3]
    radius = np.linalg.norm(result.points_world - centre, axis=1)
    assert abs(np.median(radius) - 0.04) < 0.003


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


def test_no_depth_is_given_up_for_colour():
    depth = recording("ball", 2).frames[0]
    colour = replace(depth, depth_m=None, stamp_ns=depth.stamp_ns + 1)
    other = recording("ball", 2).frames[1]
    assert least_useful([depth, colour, replace(colour, stamp_ns=depth.stamp_ns + 2), other]) != 0
