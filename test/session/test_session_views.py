"""A session refuses views that do not belong together, and says what they look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.lab.simulate.recording import tabletop_recording
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession

COARSE = {"model": "carve", "evidence.grid": 32, "evidence.fine_grid": 64}
FRAMES = tabletop_recording(0, objects=2, frames=4).frames
OPENGL = [replace(f, T_world_cam=f.T_world_cam @ np.diag([1.0, -1.0, -1.0, 1.0])) for f in FRAMES]


def session_of(frames, **config) -> CompletionSession:
    session = CompletionSession(load_config({**COARSE, **config}))
    for frame in frames:
        session.add_frame(frame)
    return session


def test_views_that_fit_are_not_talked_of():
    session = session_of(FRAMES)
    assert not session.views_verdict.refused and session.views_verdict.sentence == ""


def test_views_with_the_axes_of_opengl_are_refused_by_name():
    session = session_of(OPENGL)
    with pytest.raises(EvidenceError, match="OpenGL") as caught:
        session.complete(CompletionRequest(label=1))
    assert caught.value.code is ErrorCode.VIEWS_DISAGREE
    assert "evidence.check_views" in caught.value.message


def test_when_asked_they_are_used_with_a_warning():
    session = session_of(OPENGL, **{"evidence.check_views": False})
    result = session.complete(CompletionRequest(object_id=session.objects()[0].object_id))
    assert any("OpenGL" in text for text in result.quality.warnings)


def test_it_is_judged_anew_when_frames_come_and_go():
    session = session_of(OPENGL)
    assert session.views_verdict.refused
    session.reset()
    for frame in FRAMES:
        session.add_frame(frame)
    assert not session.views_verdict.refused


def test_frames_of_different_places_are_used_with_a_warning():
    apart = [
        replace(
            f,
            T_world_cam=np.block(
                [[f.T_world_cam[:3, :3], f.T_world_cam[:3, 3:] + [[9.0 * k], [0], [0]]], [np.eye(4)[3:]]]
            ),
        )
        for k, f in enumerate(FRAMES)
    ]
    verdict = session_of(apart).views_verdict
    assert not verdict.refused and "share no surface" in verdict.sentence
