"""What a completion tells step by step and what it warns of, with a completer whose steps are known."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from analytic import ball_view
from solids import turn

from sparse_recon.complete.base import CompletionTask, ViewCompleter
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.fuse.confidence import probability_within
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import STAGES
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import CameraIntrinsics, GeneratedView, ObjectFrame, SurfaceField

RADIUS_M = 0.04
CAMERA = CameraIntrinsics(192, 144, np.array([[200.0, 0, 92.0], [0, 220.0, 74.0], [0, 0, 1]]))
WORLD = turn(4)  # up is what the images say
CONFIG = load_config(
    {"model": "stepper", "evidence.grid": 32, "evidence.fine_voxel_m": 0.004, "up_world": (0.0, 0.0, 0.0)}
)
EYES = [(0.3, 0.15, 0.25), (-0.3, 0.2, 0.25), (-0.1, -0.35, 0.25), (0.25, -0.25, 0.3)]


def frame_of(number: int = 0):
    view = ball_view(EYES[number], object_frame=ObjectFrame(WORLD, 1.0), camera=CAMERA, stamp_ns=number + 1)
    return view.frame


def ball_field(task: CompletionTask, *, radius_m: float = RADIUS_M, inner_error_m: float = 0.001) -> SurfaceField:
    """Return the true ball, sure inside and unsure outside."""
    to_ball = inverse(task.views.object_frame.T_world_obj) @ WORLD
    sdf = np.linalg.norm(task.evidence.grid.centres() - to_ball[:3, 3], axis=-1) - radius_m
    return SurfaceField(sdf.astype(np.float32), np.where(sdf < 0, inner_error_m, 0.02).astype(np.float32))


class Stepper(ViewCompleter):
    """Takes four steps; from the second on it has a field. A test may act before each and exchange its fields."""

    name = "stepper"

    def __init__(self) -> None:
        self.loads, self.tasks, self.taken = 0, [], []
        self.before = lambda step: None
        self.field = lambda task, step: ball_field(task) if step >= 2 else None

    def load(self, config: SessionConfig, on_progress) -> None:
        on_progress(0.5, "half")
        self.loads += 1

    def complete(self, task: CompletionTask) -> Completion:
        self.tasks.append(task)
        for step in (1, 2, 3, 4):
            self.before(step)
            self.taken.append(step)
            task.on_step(step, 4, self.field(task, step))
        return Completion(self.name, task.seed, surface=self.field(task, 5))


@pytest.fixture
def stepper(monkeypatch):
    made = Stepper()
    monkeypatch.setitem(COMPLETERS, "stepper", "stepper_model:Stepper")
    monkeypatch.setitem(sys.modules, "stepper_model", SimpleNamespace(Stepper=lambda: made))
    return made


@pytest.fixture
def clock(monkeypatch):
    """The clock of completions, which a test may put forward, so that nothing depends on how fast the machine is."""
    ahead, real = SimpleNamespace(s=0.0), time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 1e-3 * real() + ahead.s)
    return ahead


def session_of(*frames, config: SessionConfig = CONFIG) -> CompletionSession:
    session = CompletionSession(config)
    for frame in frames or (frame_of(),):
        assert session.add_frame(frame).accepted
    return session


def told_by(session: CompletionSession, **request) -> list:
    told = []
    session.complete(CompletionRequest(label=1, **request), on_progress=told.append)
    return told


# Progress


def test_steps_of_the_model_share_its_stage_evenly(stepper):
    told = told_by(session_of())
    steps = [p for p in told if p.stage == "complete" and p.step > 0]
    assert [(p.step, p.steps) for p in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [p.fraction for p in steps] == pytest.approx([0.25, 0.35, 0.45, 0.55])


def test_a_model_that_does_not_know_its_steps_yet_is_at_the_beginning_of_its_stage(stepper):
    def complete(task):
        task.on_step(0, 0, None)
        return Completion("stepper", 0, surface=ball_field(task))

    stepper.complete = complete
    (unknown,) = (p for p in told_by(session_of()) if p.steps == 0)
    assert (unknown.stage, unknown.fraction) == ("complete", 0.15)


def test_every_stage_is_told_once_as_it_begins_with_its_share_of_the_whole(stepper):
    begun = [p for p in told_by(session_of()) if p.step == 0]
    assert [p.stage for p in begun] == [stage for stage in STAGES if stage not in ("convex_parts", "hypotheses")]
    assert [p.fraction for p in begun] == [STAGES[p.stage] for p in begun]
    assert all(p.steps == 1 and p.preview is None for p in begun)
    assert sorted(STAGES.values()) == list(STAGES.values()) and (STAGES["observe"], STAGES["done"]) == (0.0, 1.0)


def test_a_step_with_a_field_has_a_preview_in_the_world_and_the_mean_confidence_of_its_inside(stepper):
    steps = [p for p in told_by(session_of()) if p.stage == "complete" and p.step > 0]
    assert (steps[0].preview, steps[0].preview_confidence) == (None, 0.0)
    vertices = steps[1].preview.vertices_world
    distance = np.linalg.norm(vertices - WORLD[:3, 3], axis=1)
    np.testing.assert_allclose(distance, RADIUS_M, atol=0.0005)  # interpolated on voxels of 3.6 mm
    expected = float(probability_within(np.array([0.001], np.float32))[0])
    assert steps[1].preview_confidence == pytest.approx(expected)


def test_a_field_without_an_inside_has_no_preview(stepper):
    def shrinking(task, step):
        return ball_field(task, radius_m=-0.5 if step == 1 else RADIUS_M)

    stepper.field = shrinking
    steps = [p for p in told_by(session_of()) if p.stage == "complete" and p.step > 0]
    assert [p.preview is None for p in steps] == [True, False, False, False]


# Deadline


def test_past_the_deadline_the_best_field_so_far_is_the_answer(stepper, clock):
    stepper.field = lambda task, step: {1: ball_field(task, radius_m=0.039), 2: None}.get(step, ball_field(task))
    stepper.before = lambda step: setattr(clock, "s", 100.0 if step == 2 else clock.s)
    result = session_of().complete(CompletionRequest(label=1, deadline_s=50.0))
    assert stepper.taken == [1, 2]
    assert "the deadline of 50 s passed: the result is the best so far of stepper" in result.quality.warnings
    unseen = result.points_world[result.provenance == 2]
    assert np.median(np.linalg.norm(unseen - WORLD[:3, 3], axis=1)) == pytest.approx(0.039, abs=0.0004)


def test_what_is_only_shown_is_told_and_is_no_answer_at_the_deadline(stepper, clock):
    def complete(task):
        task.on_step(1, 4, ball_field(task, radius_m=0.039))
        clock.s = 100.0
        task.preview(2, 4, ball_field(task, radius_m=0.02))
        raise AssertionError("the deadline has passed")

    stepper.complete = complete
    told = []
    result = session_of().complete(CompletionRequest(label=1, deadline_s=50.0), on_progress=told.append)
    shown = next(p for p in told if (p.stage, p.step) == ("complete", 2)).preview.vertices_world
    np.testing.assert_allclose(np.linalg.norm(shown - WORLD[:3, 3], axis=1), 0.02, atol=0.001)
    unseen = result.points_world[result.provenance == 2]
    assert np.median(np.linalg.norm(unseen - WORLD[:3, 3], axis=1)) == pytest.approx(0.039, abs=0.0004)


def test_past_the_deadline_without_a_field_there_is_no_answer(stepper, clock):
    stepper.before = lambda step: setattr(clock, "s", 100.0)
    with pytest.raises(CancelledError, match="first step of stepper") as caught:
        session_of().complete(CompletionRequest(label=1, deadline_s=50.0))
    assert caught.value.code == ErrorCode.DEADLINE and stepper.taken == [1]


@pytest.mark.parametrize(("deadline_s", "late_at"), [(50.0, 4), (0.0, 1), (200.0, 1)])
def test_the_last_step_no_deadline_and_one_that_is_far_end_nothing(stepper, clock, deadline_s, late_at):
    stepper.before = lambda step: setattr(clock, "s", 100.0 if step >= late_at else 0.0)
    result = session_of().complete(CompletionRequest(label=1, deadline_s=deadline_s))
    assert stepper.taken == [1, 2, 3, 4] and result.quality.warnings == ()


def test_past_the_deadline_a_fit_to_pictures_ends_with_what_it_has_and_says_so_once(stepper, clock):
    pictures = [ball_view(eye, object_frame=ObjectFrame(WORLD, 1.0), table_z_m=None, camera=CAMERA) for eye in EYES]
    sure = np.ones((CAMERA.height, CAMERA.width), np.float32)
    views = tuple(GeneratedView(replace(p.frame, depth_m=None), p.mask, sure, "stepper", 0) for p in pictures)

    def complete(task):
        clock.s = 100.0
        return Completion("stepper", 0, views=views)

    stepper.complete = complete
    config = load_config({"fit.iterations": 6, "fit.grid": 24, "fit.rays": 200, "fit.views": 2}, CONFIG)
    told, session = [], session_of(config=config)
    result = session.complete(CompletionRequest(label=1, deadline_s=50.0), on_progress=told.append)
    assert [(p.step, p.steps) for p in told if p.stage == "complete" and p.step > 0] == [(1, 6)]
    assert sum("the surface was not fully optimised" in text for text in result.quality.warnings) == 1


def test_timings_are_what_the_clock_says_of_each_stage(stepper, clock):
    stepper.before = lambda step: setattr(clock, "s", clock.s + 10.0)
    timings = session_of().complete(CompletionRequest(label=1)).quality.timings_s
    assert timings["complete"] == pytest.approx(40.0, abs=1.0)
    assert max(seconds for stage, seconds in timings.items() if stage != "complete") < 1.0


# Warnings and what is done twice


def with_stray_half(number: int):
    """Return a frame in which half of the ball hangs 2 cm before it: near enough to be of one body with it."""
    frame = frame_of(number)
    _, columns = np.nonzero(frame.labels == 1)
    stray = (frame.labels == 1) & (np.arange(CAMERA.width) < np.median(columns))[None, :]
    return replace(frame, depth_m=np.where(stray, frame.depth_m - np.float32(0.02), frame.depth_m))


@pytest.mark.parametrize(("first", "warned"), [(with_stray_half, True), (frame_of, False)])
def test_a_tenth_of_inconsistent_points_is_warned_of(stepper, first, warned):
    session = session_of(first(0), *(frame_of(n) for n in (1, 2, 3)))
    outliers = session.observe(CompletionRequest(label=1)).outliers
    warnings = session.complete(CompletionRequest(label=1)).quality.warnings
    assert (outliers > 0.1) == warned and any("inconsistent" in text for text in warnings) == warned
    assert warned or warnings == ()


def test_what_does_not_fit_its_cube_is_imagined_once_more_in_a_larger_one(stepper):
    stepper.field = lambda task, step: ball_field(task, radius_m=0.2)
    told, session = [], session_of()
    result = session.complete(CompletionRequest(label=1), on_progress=told.append)
    first, second = (task.views.object_frame.half_side_m for task in stepper.tasks)
    margin = CONFIG.evidence.cube_margin
    extent = 2 * first / max(margin, 1 + 0.02 / (2 * RADIUS_M))
    assert second / first == pytest.approx(1.4 * margin / max(margin, 1 + 0.02 / extent), rel=0.02)
    assert any("cut off there" in text for text in result.quality.warnings)
    stages = [p.stage for p in told if p.step == 0]
    assert len(stages) == len(set(stages))  # no stage begins anew
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions)


def test_a_cube_that_holds_the_object_is_not_enlarged(stepper):
    assert session_of().complete(CompletionRequest(label=1)).quality.warnings == ()
    assert len(stepper.tasks) == 1


def test_a_model_is_loaded_once_and_tells_its_progress(stepper):
    session, told = session_of(), []
    session.load(on_progress=lambda share, text: told.append((share, text)))
    session.load()
    session.complete(CompletionRequest(label=1))
    assert stepper.loads == 1 and told == [(0.5, "half")]


def test_the_seed_of_the_request_comes_before_that_of_the_session(stepper):
    session = session_of(config=replace(CONFIG, seed=5))
    results = [session.complete(CompletionRequest(label=1, seed=seed)) for seed in (None, 0, 9)]
    assert [result.seed for result in results] == [5, 0, 9] == [task.seed for task in stepper.tasks]


def test_the_result_moves_with_the_world(stepper):
    here = session_of().complete(CompletionRequest(label=1))
    T = turn(9, far_m=5.0)
    frame = replace(frame_of(), T_world_cam=T @ frame_of().T_world_cam)
    # The world of the stepper's field stays where it was: it is given in the object's frame of the first run.
    sdf = stepper.field(stepper.tasks[0], 5)
    stepper.field = lambda task, step: sdf
    there = session_of(frame).complete(CompletionRequest(label=1))
    assert here.quality.input_hash != there.quality.input_hash
    for name in ("points_world", "observed_points_world"):
        one, other = (getattr(result, name) for result in (here, there))
        centre, moved = transform_points(T, one.astype(np.float64)).mean(axis=0), other.mean(axis=0)
        np.testing.assert_allclose(moved, centre, atol=0.0005)  # points are drawn anew
    np.testing.assert_allclose(there.box.T_world_box, T @ here.box.T_world_box, atol=0.002)
