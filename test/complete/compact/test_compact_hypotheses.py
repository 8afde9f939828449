"""Several answers of the default model: drawn beside the answer, until the deadline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import recording
from small_compact import completed, network, task, weights_file

from sparse_recon.complete.compact.shipped import NANO_FILE
from sparse_recon.config.model_config import CompactConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.machine.share import share_folder
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import SurfaceField


def test_hypotheses_stand_beside_an_answer_that_does_not_depend_on_them(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    alone, two, three = (completed(path, samples=samples, steps=2) for samples in (0, 2, 3))
    assert alone.hypotheses == () and [len(c.hypotheses) for c in (two, three)] == [2, 3]
    for found in (two, three):
        assert np.array_equal(found.surface.sdf_m, alone.surface.sdf_m)
        assert np.array_equal(found.surface.sigma_m, alone.surface.sigma_m)
        assert sum(h.weight for h in found.hypotheses) == pytest.approx(1.0)
    for one, again in zip(two.hypotheses, three.hypotheses, strict=False):
        assert np.array_equal(one.sdf_m, again.sdf_m)
    first, second, third = (h.sdf_m for h in three.hypotheses)
    assert not np.array_equal(first, second) and not np.array_equal(second, third)


def test_drawing_stops_at_the_deadline_with_what_is_drawn(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    asked: list[tuple[int, int]] = []

    def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
        asked.append((step, steps))
        return len(asked) < 5  # after the answer, and two steps a draw: the fifth ends within the second

    found = completed(path, given=replace(task(), goes_on=goes_on), samples=3, steps=2)
    assert asked == [(2, 5), (2, 5), (2, 5), (3, 5), (3, 5)]
    assert [h.weight for h in found.hypotheses] == [1.0]
    assert "after 1 of 3 hypotheses" in found.warnings[0]


def test_an_answer_that_is_there_at_the_deadline_is_whole(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))
    told: list[SurfaceField | None] = []

    def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
        told.append(answer)
        return False

    found = completed(path, given=replace(task(), goes_on=goes_on), samples=3)
    assert np.array_equal(found.surface.sdf_m, completed(path, samples=0).surface.sdf_m)
    assert found.hypotheses == () and "after 0 of 3 hypotheses" in found.warnings[0]
    assert len(told) == 1 and told[0] is found.surface


def test_drawing_is_cancelled_within_a_draw(tmp_path):
    path = weights_file(tmp_path / "w.safetensors", network(loud=0.2))

    def goes_on(step: int, steps: int, answer: SurfaceField | None) -> bool:
        raise CancelledError(ErrorCode.CANCELLED, "the caller cancelled")

    with pytest.raises(CancelledError):
        completed(path, given=replace(task(), goes_on=goes_on), samples=2)


def drawing_session(samples: int) -> CompletionSession:
    """A session with the small network that ships, before a ball."""
    compact = CompactConfig(weights=str(share_folder("models") / NANO_FILE), samples=samples, steps=2)
    session = CompletionSession(SessionConfig(model="compact", compact=compact))
    for frame in recording(views=1).frames:
        session.add_frame(frame)
    return session


def test_a_session_publishes_hypotheses_of_the_shipped_model():
    result = drawing_session(3).complete(CompletionRequest())
    assert [h.weight for h in result.hypotheses] == pytest.approx([1 / 3] * 3)
    assert all(h.mesh.watertight for h in result.hypotheses)
    spans = np.array([np.ptp(h.mesh.vertices_world, axis=0) for h in result.hypotheses])
    assert np.abs(spans - np.ptp(result.nominal.vertices_world, axis=0)).max() < 0.05
    assert len({h.mesh.vertices_world.tobytes() for h in result.hypotheses}) == 3
    assert result.quality.timings_s["hypotheses"] > 0 and not result.quality.warnings
    again = drawing_session(3).complete(CompletionRequest())
    for one, other in zip(result.hypotheses, again.hypotheses, strict=True):
        assert np.array_equal(one.mesh.vertices_world, other.mesh.vertices_world)


def test_without_hypotheses_nothing_is_drawn():
    result = drawing_session(0).complete(CompletionRequest())
    assert result.hypotheses == () and "hypotheses" not in result.quality.timings_s


def test_a_session_stops_drawing_when_the_caller_cancels():
    told: list[tuple[int, int]] = []

    def on_progress(progress) -> None:
        if progress.stage == "complete":
            told.append((progress.step, progress.steps))

    with pytest.raises(CancelledError) as caught:
        drawing_session(4).complete(CompletionRequest(), on_progress, lambda: (3, 6) in told)
    assert caught.value.code is ErrorCode.CANCELLED
    assert told[-1] == (3, 6)
