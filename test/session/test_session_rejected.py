"""What a session saw and does not list, in the world frame; and what it says of what it completes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scenes import recording, two_objects
from sessions import CONFIG, session_of

from sparse_recon.config.session_config import load_config
from sparse_recon.geometry.near import moved_frame
from sparse_recon.requests import CompletionRequest, RejectionReason

BY_GAPS = load_config({"segment.instances": "clusters"}, CONFIG)


def test_rejected_candidates_are_of_the_world_far_from_its_origin_and_go_with_a_reset():
    place_m = np.array((20_000.0, -13_000.0, 300.0))
    session = session_of(
        [moved_frame(f, place_m) for f in two_objects().frames], load_config({"segment.min_score": 1.0}, BY_GAPS)
    )
    assert session.objects() == ()
    assert [item.reason for item in session.rejected] == [RejectionReason.NO_OBJECT] * 2
    x = sorted(float(item.box.T_world_box[0, 3] - place_m[0]) for item in session.rejected)
    np.testing.assert_allclose(x, (-0.08, 0.08), atol=0.02)
    session.reset()
    assert session.rejected == ()


def test_a_completed_object_has_the_score_with_which_it_is_listed():
    session = session_of(recording("block", 3).frames, BY_GAPS)
    labelled = session.complete(CompletionRequest())
    assert (labelled.quality.score, labelled.quality.cut_by_image) == (1.0, False)
    bare = session_of([replace(f, labels=None) for f in recording("block", 3).frames], BY_GAPS)
    (candidate,) = bare.objects()
    assert 0.5 < candidate.score < 1.0
    assert bare.complete(CompletionRequest()).quality.score == candidate.score


def test_what_the_image_cuts_is_completed_with_a_warning():
    (frame,) = recording("block", 1).frames
    columns = np.nonzero((frame.labels > 0).any(axis=0))[0]
    middle = int(columns.mean())
    beyond = np.arange(frame.labels.shape[1]) > middle
    half = replace(frame, labels=None, depth_m=np.where(beyond, np.float32(np.nan), frame.depth_m).astype(np.float32))
    session = session_of([half], BY_GAPS)
    assert [item.cut_by_image for item in session.objects()] == [True]
    quality = session.complete(CompletionRequest()).quality
    assert quality.cut_by_image
    assert any("its size is a lower bound" in warning for warning in quality.warnings)
