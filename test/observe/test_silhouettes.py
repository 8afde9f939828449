"""Masks and poses alone: the visual hull, and no guess where the scale is unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import two_objects

from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.observe.silhouettes import silhouette_hull
from sparse_recon.requests import CompletionRequest
from sparse_recon.session.session import CompletionSession
from sparse_recon.types import Provenance

BALL, RADIUS_M, CENTRE = 1, 0.04, (-0.08, 0.0, 0.04)


@pytest.fixture(scope="module")
def frames():
    return [replace(f, depth_m=None) for f in two_objects(4, with_labels=True).frames]


def test_the_hull_holds_the_ball_and_little_more(frames):
    hull = silhouette_hull(frames, BALL)
    distance = np.linalg.norm(hull - np.array(CENTRE), axis=1)
    assert distance.min() > RADIUS_M - 0.003  # its surface, to a voxel
    assert distance.max() < 1.6 * RADIUS_M  # four cones leave corners
    assert np.abs(hull.mean(axis=0) - CENTRE).max() < 0.006


@pytest.mark.parametrize("axis", [0, 1])
def test_the_hull_has_as_much_surface_on_either_side(frames, axis):
    side = (silhouette_hull(frames, BALL) - np.array(CENTRE))[:, axis]
    # The four cameras stand a quarter turn apart.
    assert 0.8 < np.sum(side > 0.5 * RADIUS_M) / np.sum(side < -0.5 * RADIUS_M) < 1.25


def test_cameras_on_one_side_leave_the_scale_unknown(frames):
    with pytest.raises(EvidenceError, match="size is unknown") as caught:
        silhouette_hull(frames[:1] * 2, BALL)
    assert caught.value.code == ErrorCode.OBJECT_NOT_FOUND


def test_masks_without_common_space_are_refused(frames):
    up = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0.3], [0, 0, 0, 0]])
    elsewhere = [replace(f, T_world_cam=f.T_world_cam + (k % 2) * up) for k, f in enumerate(frames)]
    with pytest.raises(EvidenceError, match="do not intersect"):
        silhouette_hull(elsewhere, BALL)


@pytest.mark.parametrize("model", ["carve", "compact"])
def test_objects_are_completed_from_masks_alone_and_say_so(frames, model):
    session = CompletionSession(SessionConfig(model=model))
    for frame in frames:
        session.add_frame(frame)
    assert {c.label for c in session.objects()} == {1, 2}
    result = session.complete(CompletionRequest(label=BALL))
    assert any("no depth in any frame" in warning for warning in result.quality.warnings)
    assert (result.provenance == Provenance.INFERRED).all() and result.nominal.watertight
    distance = np.abs(np.linalg.norm(result.points_world - np.array(CENTRE), axis=1) - RADIUS_M)
    assert np.median(distance) < 0.008
    assert result.quality.mean_confidence < 0.9


def test_one_mask_is_refused_with_the_reason(frames):
    session = CompletionSession(SessionConfig(model="carve"))
    session.add_frame(frames[0])
    with pytest.raises(EvidenceError, match="size is unknown"):
        session.complete(CompletionRequest(label=BALL))
