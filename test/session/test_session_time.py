"""Progress, cancel and deadline of a completion."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scenes import recording
from sessions import completed, digest, session_of

from sparse_recon.errors import CancelledError, ErrorCode
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.run import STAGES

# Stages of what is asked for: `geometry.convex_parts`, `compact.samples`.
SOMETIMES = {"convex_parts", "hypotheses"}


def test_progress_runs_from_0_to_1_and_previews_early():
    told = []
    session_of(recording("ball", 1).frames).complete(CompletionRequest(), on_progress=told.append)
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    steps = [p for p in told if p.stage == "complete" and p.step > 0]
    assert steps[0].step == 1 and len(steps[0].preview.faces) > 100
    assert np.abs(steps[0].preview.vertices_world.mean(axis=0) - (0, 0, 0.04)).max() < 0.03
    assert 0.0 < steps[0].preview_confidence <= 1.0
    assert {p.stage for p in told} == set(STAGES) - SOMETIMES


def test_timings_are_of_all_stages():
    timings = completed("ball", 1).quality.timings_s
    assert set(timings) == set(STAGES) - SOMETIMES - {"done"}
    assert all(seconds >= 0 for seconds in timings.values())


class CancelAt:
    """Asks to cancel from the moment at which a stage and step are told."""

    def __init__(self, stage: str, step: int) -> None:
        self.wanted, self.since = (stage, step), None

    def on_progress(self, progress) -> None:
        if (progress.stage, progress.step) == self.wanted:
            self.since = time.process_time()

    def __call__(self) -> bool:
        return self.since is not None


def test_cancel_is_heard_within_half_a_second_at_every_stage_and_the_session_stays_usable():
    session = session_of(recording("ball", 1).frames)
    told, begun_s = [], time.process_time()
    before = session.complete(CompletionRequest(), on_progress=told.append)
    # Of processor time; a processor on which the whole takes more than three seconds is a slow one.
    limit_s = max(0.5, (time.process_time() - begun_s) / 6)
    for stage, step in [(p.stage, p.step) for p in told[:-1]]:
        cancel = CancelAt(stage, step)
        with pytest.raises(CancelledError) as caught:
            session.complete(CompletionRequest(), cancel.on_progress, cancel)
        assert time.process_time() - cancel.since < limit_s, (stage, step)
        assert caught.value.code == ErrorCode.CANCELLED and "cancel" in caught.value.message
    assert digest(session.complete(CompletionRequest())) == digest(before)


def test_deadline_gives_the_best_so_far_with_a_warning():
    session = session_of(recording("ball", 1).frames)
    session.objects()
    result, deadline_s = None, 1.0

    def wait_for_the_deadline(progress) -> None:
        if (progress.stage, progress.step) == ("complete", 1):
            time.sleep(max(begun_s + deadline_s - time.monotonic(), 0.0))

    while result is None:
        begun_s = time.monotonic()
        try:
            result = session.complete(CompletionRequest(deadline_s=deadline_s), on_progress=wait_for_the_deadline)
        except CancelledError:  # a slow machine: the deadline was before the first step
            deadline_s *= 2
            assert deadline_s < 100
    assert "deadline" in result.quality.warnings[0]
    assert result.quality.nominal_watertight and result.quality.free_space_violation == 0.0


def test_deadline_before_the_first_step_is_told():
    session = session_of(recording("ball", 1).frames)
    with pytest.raises(CancelledError, match="first step") as caught:
        session.complete(CompletionRequest(deadline_s=1e-6))
    assert caught.value.code == ErrorCode.DEADLINE
    assert session.complete(CompletionRequest()).quality.nominal_watertight
