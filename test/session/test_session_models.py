"""Models are loaded, forgotten and refused, and memory that runs out costs one completion only."""

from __future__ import annotations

import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file
from scenes import recording
from sessions import completed, digest, session_of

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.carve import CarveCompleter
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import CancelledError, ErrorCode, MemoryBudgetError, ModelError
from sparse_recon.machine.safetensors_file import read_weights
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import STAGES
from sparse_recon.session.session import LARGER_CUBE, CompletionSession
from sparse_recon.types import GeneratedView, SurfaceField

PETABYTE = 10**15


@pytest.fixture
def register(monkeypatch):
    """Make a completer class available under its name."""

    def add(completer: type[ViewCompleter]) -> str:
        module = f"completer_{completer.name}"
        monkeypatch.setitem(COMPLETERS, completer.name, f"{module}:{completer.__name__}")
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{completer.__name__: completer}))
        return completer.name

    return add


class Counted(CarveCompleter):
    name = "counted"
    loads = 0

    def load(self, config, on_progress):
        Counted.loads += 1
        on_progress(0.5, "half of the weights")
        on_progress(1.0, "all weights")


class Spreading(CarveCompleter):
    """Imagines a ball larger than what was seen; in cubes up to `limit_m` it reaches the border."""

    name = "spreading"
    limit_m = 0.0
    cubes: ClassVar[list[float]] = []

    def complete(self, task):
        half_m = task.views.object_frame.half_side_m
        Spreading.cubes.append(half_m)
        radius_m = 1.2 * half_m if half_m < self.limit_m else 0.5 * half_m
        sdf = np.linalg.norm(task.evidence.grid.centres(), axis=-1) - radius_m
        field = SurfaceField(sdf.astype(np.float32), np.full_like(sdf, 0.002, np.float32))
        task.on_step(1, 1, field)
        return Completion(self.name, task.seed, surface=field, warnings=(f"the cube is {half_m:.3f} m wide",))


@pytest.mark.parametrize(("limit_m", "cubes", "told"), [(0.0, 1, False), (0.06, 2, False), (10.0, 2, True)])
def test_what_does_not_fit_its_cube_is_looked_at_once_more_in_a_larger_one(register, monkeypatch, limit_m, cubes, told):
    monkeypatch.setattr(Spreading, "limit_m", limit_m)
    monkeypatch.setattr(Spreading, "cubes", [])
    stages = []
    result = session_of(recording("ball", 1).frames).complete(
        CompletionRequest(model=register(Spreading)), lambda progress: stages.append(progress.fraction)
    )
    assert len(Spreading.cubes) == cubes
    assert stages == sorted(stages)
    assert any("is cut off there" in warning for warning in result.quality.warnings) == told
    assert result.nominal.watertight
    of_model = [w for w in result.quality.warnings if w.startswith("the cube is")]
    assert of_model == [f"the cube is {Spreading.cubes[-1]:.3f} m wide"]  # not what was said of an answer thrown away
    if cubes == 2:
        assert Spreading.cubes[1] == pytest.approx(LARGER_CUBE * Spreading.cubes[0], rel=0.05)


class Drawing(CarveCompleter):
    """Draws a view of the camera that saw the object, in which it fills the whole picture."""

    name = "drawing"
    calls = 0

    def complete(self, task):
        Drawing.calls += 1
        frame = replace(task.views.views[0].frame, depth_m=None)
        everywhere = np.ones(frame.rgb.shape[:2], bool)
        view = GeneratedView(frame, everywhere, everywhere.astype(np.float32), self.name, task.seed)
        return Completion(self.name, task.seed, views=(view,), warnings=("it fills the picture",))


def test_views_that_do_not_fit_the_cube_are_drawn_once(register, monkeypatch):
    monkeypatch.setattr(Drawing, "calls", 0)
    session = session_of(recording("ball", 1).frames, load_config({"fit.iterations": 0}))
    warnings = session.complete(CompletionRequest(model=register(Drawing))).quality.warnings
    assert Drawing.calls == 1
    assert any("is cut off there" in warning for warning in warnings) and warnings.count("it fills the picture") == 1


# Loading


def test_model_is_loaded_once_with_progress(register, monkeypatch):
    monkeypatch.setattr(Counted, "loads", 0)
    name, told = register(Counted), []
    session = session_of(recording("ball", 1).frames)
    session.load(name, lambda fraction, text: told.append((fraction, text)))
    session.load(name)
    session.complete(CompletionRequest(model=name))
    assert Counted.loads == 1
    assert told == [(0.5, "half of the weights"), (1.0, "all weights")]


def test_completing_loads_what_is_not_loaded_yet_once(register, monkeypatch):
    monkeypatch.setattr(Counted, "loads", 0)
    name = register(Counted)
    session = session_of(recording("ball", 1).frames)
    for _ in range(2):
        session.complete(CompletionRequest(model=name))
    assert Counted.loads == 1


def test_default_model_is_that_of_the_parameters():
    session = CompletionSession()
    session.load()
    assert list(session._completers) == [SessionConfig().model] == ["compact"]


def test_unknown_model_is_refused_when_it_is_loaded():
    with pytest.raises(ModelError, match="carve") as caught:
        CompletionSession().load("oracle")
    assert caught.value.code == ErrorCode.MODEL_UNKNOWN


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (None, ErrorCode.MODEL_WEIGHTS_MISSING, "no weights"),
        (b"not weights at all", ErrorCode.MODEL_WEIGHTS_INVALID, "safetensors"),
        ((2, 2), ErrorCode.MODEL_WEIGHTS_INVALID, "expected is (3,)"),
        ((3,), ErrorCode.OK, ""),
    ],
    ids=["missing", "corrupt", "wrong shape", "good"],
)
def test_bad_weights_are_told_and_good_ones_can_follow(register, tmp_path, content, code, word):
    path = tmp_path / "model.safetensors"

    class Weighted(CarveCompleter):
        name = "weighted"

        def load(self, config, on_progress):
            self.weights = read_weights(path, {"w": (3,)})

    name, session = register(Weighted), session_of(recording("ball", 1).frames)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file({"w": np.zeros(content, np.float32)}, path)
    if code != ErrorCode.OK:
        for attempt in (lambda: session.load(name), lambda: session.complete(CompletionRequest(model=name))):
            with pytest.raises(ModelError) as caught:
                attempt()
            assert caught.value.code == code and word in caught.value.message
    save_file({"w": np.zeros(3, np.float32)}, path)
    assert session.complete(CompletionRequest(model=name)).model == "weighted"


def test_mistake_while_loading_is_told(register):
    class Clumsy(CarveCompleter):
        name = "clumsy"

        def load(self, config, on_progress):
            raise ZeroDivisionError("a mistake")

    with pytest.raises(ModelError, match="ZeroDivisionError") as caught:
        CompletionSession().load(register(Clumsy))
    assert caught.value.code == ErrorCode.MODEL_FAILED


def test_cancel_is_heard_while_a_model_is_loaded(register):
    class Slow(CarveCompleter):
        name = "slow"

        def load(self, config, on_progress):
            for step in range(1000):
                on_progress(step / 1000, "reading")
            raise AssertionError("nobody stopped it")

    session, stages = session_of(recording("ball", 1).frames), []
    with pytest.raises(CancelledError):
        session.complete(
            CompletionRequest(model=register(Slow)),
            on_progress=lambda progress: stages.append(progress.stage),
            cancel=lambda: stages[-1:] == ["complete"],
        )
    assert session.complete(CompletionRequest()).quality.nominal_watertight


# Memory


class Greedy(CarveCompleter):
    """Holds some memory, and then asks for more than there is."""

    name = "greedy"
    held: weakref.ref | None = None

    def complete(self, task):
        held = np.ones(1_000_000)
        Greedy.held = weakref.ref(held)
        return super().complete(task) if held[0] == 0 else np.empty(PETABYTE, np.uint8)


def test_memory_that_runs_out_in_a_model_is_told_and_given_back(register):
    session = session_of(recording("ball", 2).frames)
    with pytest.raises(MemoryBudgetError, match="greedy") as caught:
        session.complete(CompletionRequest(model=register(Greedy)))
    assert caught.value.code == ErrorCode.MEMORY_BUDGET
    assert "object_0" in caught.value.message and "max_views" in caught.value.message
    assert Greedy.held() is None  # although the error is still held
    assert digest(session.complete(CompletionRequest())) == digest(completed("ball", 2))


def test_memory_that_runs_out_in_opencv_is_told(register):
    class Wide(CarveCompleter):
        name = "wide"

        def complete(self, task):
            return cv2.resize(np.zeros((10, 10, 3), np.uint8), (2**30, 2**30))

    with pytest.raises(MemoryBudgetError, match="OpenCV"):
        session_of(recording("ball", 1).frames).complete(CompletionRequest(model=register(Wide)))


def test_memory_that_runs_out_while_loading_is_told(register):
    class Heavy(CarveCompleter):
        name = "heavy"

        def load(self, config, on_progress):
            self.weights = np.empty(PETABYTE, np.uint8)

    with pytest.raises(MemoryBudgetError, match="loaded"):
        CompletionSession().load(register(Heavy))


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"convex_parts"}))
def test_memory_that_runs_out_at_any_stage_costs_that_completion_only(stage):
    answers = {"compact.samples": 1, "compact.steps": 1} if stage == "hypotheses" else {}
    session = session_of(recording("ball", 1).frames, load_config(answers))

    def exhaust(progress) -> None:
        if progress.stage == stage:
            np.empty(PETABYTE, np.uint8)

    with pytest.raises(MemoryBudgetError) as caught:
        session.complete(CompletionRequest(), exhaust)
    assert caught.value.code == ErrorCode.MEMORY_BUDGET
    assert session.complete(CompletionRequest()).quality.nominal_watertight


def test_frames_can_make_room_and_the_newest_stays():
    frames = recording("ball", 4).frames
    session = session_of(frames)
    each = frames[0].nbytes
    assert session.kept_bytes == 4 * each
    assert session.shrink(2 * each) == 2 and session.kept_bytes == 2 * each
    assert session.shrink(0) == 1 and session.frames[0].stamp_ns == frames[-1].stamp_ns
    assert session.complete(CompletionRequest()).quality.views_used == 1
