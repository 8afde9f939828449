"""Completers that hand over pictures without depth, or a score: the session makes geometry of them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from studio import OracleScore, Studio

from sparse_recon.complete.base import ViewCompleter
from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.completion import Completion
from sparse_recon.config.session_config import load_config
from sparse_recon.errors import CancelledError, ErrorCode, ModelError
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Frame

SHOWN = Studio("drill")
SMALL = {
    "model": "pictures",
    "evidence.grid": 48,
    "fit.iterations": 40,
    "fit.grid": 40,
    "fit.rays": 800,
    "fit.views": 2,
    "distill.iterations": 6,
    "distill.grid": 16,
    "distill.views": 4,
}


class Pictures(ViewCompleter):
    name = "pictures"

    def complete(self, task):
        return Completion(self.name, task.seed, views=SHOWN.generated(), warnings=("imagined without depth",))


class Broken(OracleScore):
    def denoised(self, noisy, sigma, T_obj_cam):
        raise RuntimeError("out of order")


class Judging(ViewCompleter):
    name = "judging"

    def complete(self, task):
        return Completion(self.name, task.seed, score=Broken(SHOWN))


@pytest.fixture
def session(monkeypatch):
    for completer in (Pictures, Judging):
        module = f"completer_{completer.name}"
        monkeypatch.setitem(COMPLETERS, completer.name, f"{module}:{completer.__name__}")
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{completer.__name__: completer}))
    made = CompletionSession(load_config(SMALL))
    (view,) = SHOWN.observed().views
    frame = view.frame
    made.add_frame(
        Frame(frame.rgb, frame.depth_m, frame.intrinsics, frame.T_world_cam, 0, labels=view.mask.astype(np.int32))
    )
    return made


def test_pictures_without_depth_complete_an_object_and_tell_their_steps(session):
    told = []
    result = session.complete(CompletionRequest(label=1), lambda progress: told.append((progress.step, progress.steps)))
    assert (SMALL["fit.iterations"],) * 2 in told
    assert "imagined without depth" in result.quality.warnings
    truth, made = cKDTree(SHOWN.shape.vertices_obj), cKDTree(result.points_world)
    # Of a field of 40 voxels of 6 mm; one view saw less than half of the surface.
    assert np.median(truth.query(result.points_world)[0]) < 0.006
    assert np.median(made.query(SHOWN.shape.vertices_obj)[0]) < 0.006


def test_a_cancel_while_geometry_is_made_stops_it(session):
    steps = []

    def cancel() -> bool:
        return len(steps) > 3

    with pytest.raises(CancelledError):
        session.complete(
            CompletionRequest(label=1),
            lambda p: steps.append(p.step) if p.steps == SMALL["fit.iterations"] else None,
            cancel,
        )
    assert len(steps) == 4


def test_a_passed_deadline_ends_the_fit_with_a_warning(session):
    # More steps than any machine takes in that time.
    session.configure(load_config({**SMALL, "fit.iterations": 100_000, "fit.views": 0}))
    result, deadline_s = None, 1.0
    while result is None:
        try:
            result = session.complete(CompletionRequest(label=1, deadline_s=deadline_s))
        except CancelledError:  # a slow machine: the deadline was before the first step
            deadline_s *= 2
            assert deadline_s < 100
    assert any("the surface was not fully optimised" in warning for warning in result.quality.warnings)


def test_what_breaks_in_a_score_is_a_failure_of_the_model(session):
    with pytest.raises(ModelError, match="out of order") as failure:
        session.complete(CompletionRequest(label=1, model="judging"))
    assert failure.value.code == ErrorCode.MODEL_FAILED
