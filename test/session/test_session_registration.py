"""A session brings views together whose poses are a little off, says so, and does not where it is told not to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import recording
from scipy.spatial.transform import Rotation
from sessions import CONFIG, session_of

from sparse_recon import CompletionSession, SessionConfig
from sparse_recon.config.geometry_config import RegistrationConfig
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.evaluate.cases import LABEL, make_case
from sparse_recon.lab.evaluate.objects import procedural_objects
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.requests import CompletionRequest

SHIFTS_MM = ((4.0, -2.0, 3.0), (-4.0, 1.0, -3.0), (2.0, 4.0, -1.0))
TURNS_DEG = ((0.2, 0.1, -0.2), (-0.2, 0.1, 0.2), (0.1, -0.2, 0.1))


def frames():
    """Return what three cameras see of a mug at one moment; their poses are off by 4 to 5 mm and 0.3 degrees."""
    wrong = []
    seen = recording("mug", 3).frames
    for i, (frame, shift_mm, turn_deg) in enumerate(zip(seen, SHIFTS_MM, TURNS_DEG, strict=True)):
        turn = Rotation.from_rotvec(np.deg2rad(turn_deg)).as_matrix()
        T = frame.T_world_cam @ pose(turn, (0.0, 0.0, 0.0))
        T[:3, 3] += 1e-3 * np.array(shift_mm)
        wrong.append(replace(frame, T_world_cam=T, camera=f"camera_{i}", stamp_ns=seen[0].stamp_ns))
    return wrong


def test_views_that_nearly_fit_agree_better_in_a_session_which_says_what_it_moved():
    off = replace(CONFIG, registration=RegistrationConfig(enabled=False))
    as_they_are = session_of(frames(), off).complete(CompletionRequest())
    moved = session_of(frames()).complete(CompletionRequest())
    said = [w for w in moved.quality.warnings if "were brought together by up to" in w]
    assert len(said) == 1 and said[0].startswith("3 of 3 views")
    assert not any("brought together" in w for w in as_they_are.quality.warnings)
    conflict, before = (
        session_of(frames(), config).observe(CompletionRequest()).bounds.conflict for config in (CONFIG, off)
    )
    assert conflict < 0.5 * before


def test_frames_of_several_moments_whose_poses_are_off_are_all_used_and_nothing_has_moved():
    second_ns = 1_000_000_000
    seen = [replace(f, stamp_ns=second_ns * (k + 1)) for k, f in enumerate(recording("mug", 3).frames)]
    pitches_deg = (0.6, -0.5, 0.1)  # the table is too high to one and too low to the next
    tilted = [
        replace(f, T_world_cam=f.T_world_cam @ pose(Rotation.from_euler("x", d, degrees=True).as_matrix(), (0, 0, 0)))
        for f, d in zip(seen, pitches_deg, strict=True)
    ]
    session = session_of(tilted)
    moved = session.complete(CompletionRequest())
    assert moved.quality.views_used == 3
    assert not any("no longer is" in w for w in moved.quality.warnings)
    assert sum("views were brought together" in w for w in moved.quality.warnings) == 1
    off = session_of(tilted, replace(CONFIG, registration=RegistrationConfig(enabled=False)))
    assert any("no longer is" in w for w in off.complete(CompletionRequest()).quality.warnings)


def test_right_poses_give_the_same_bytes_with_and_without():
    off = replace(CONFIG, registration=RegistrationConfig(enabled=False))
    seen, plain = (
        session_of(recording("mug", 3).frames, config).observe(CompletionRequest()) for config in (CONFIG, off)
    )
    for one, other in zip(seen.views.views, plain.views.views, strict=True):
        assert one.frame.T_world_cam.tobytes() == other.frame.T_world_cam.tobytes()
    assert seen.evidence.tsdf_sum.tobytes() == plain.evidence.tsdf_sum.tobytes()


@pytest.mark.parametrize("condition", ["clean", "mild", "noisy"])
def test_right_poses_of_views_from_opposite_sides_stay(condition):
    """They share little surface, and a thin wall or a round side lets them slide along each other."""
    protocol = Protocol(views=(1, 2), conditions=(condition,), novel_views=0)
    for item in procedural_objects(8)[1::2]:
        case = make_case(item, condition, 0, protocol)
        session = CompletionSession(SessionConfig())
        for frame in case.frames:
            session.add_frame(frame)
        seen = session.observe(CompletionRequest(label=LABEL))
        true = {f.stamp_ns: f.T_world_cam for f in case.frames}
        for view in seen.views.views:
            T = view.frame.T_world_cam.copy()
            T[:3, 3] += seen.origin_world
            assert np.allclose(T, true[view.frame.stamp_ns], atol=1e-9), item.name
