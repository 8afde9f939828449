"""Views that do not belong together are noticed, and the usual mistakes are told from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scenes import around, block
from scipy.spatial.transform import Rotation

from sparse_recon.evidence.agreement import agreement, explanations, still_agreement
from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import inverse, pose
from sparse_recon.lab.simulate.recording import record, tabletop_recording
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Frame

BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@lru_cache(maxsize=4)
def frames(seed: int = 0) -> tuple[Frame, ...]:
    return tabletop_recording(seed, objects=3, frames=4).frames


def posed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Frame], Frame]:
    return lambda frame: replace(frame, T_world_cam=change(frame.T_world_cam))


def times(factor: float) -> Callable[[Frame], Frame]:
    return lambda frame: replace(frame, depth_m=frame.depth_m * np.float32(factor))


def radial(frame: Frame) -> Frame:
    length = np.linalg.norm(pixel_rays(frame.intrinsics), axis=-1)
    return replace(frame, depth_m=(frame.depth_m * length).astype(np.float32))


def transposed(T: np.ndarray) -> np.ndarray:
    return pose(T[:3, :3].T, T[:3, 3])


MISTAKES = {
    "body_frame": posed(lambda T: T @ pose(BODY_OPTICAL.T, (0, 0, 0))),
    "opengl": posed(lambda T: T @ np.diag([1.0, -1.0, -1.0, 1.0])),
    "inverted": posed(inverse),
    "inverted_opengl": posed(lambda T: inverse(T @ np.diag([1.0, -1.0, -1.0, 1.0]))),
    "transposed": posed(transposed),
    "depth_times_0.25": times(4.0),
    "depth_times_0.2": times(5.0),
    "depth_times_0.001": times(1000.0),
    "depth_times_1000": times(0.001),
    "radial": radial,
}


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_right_views_fit(seed):
    found = agreement(frames(seed))
    assert found.good and not found.bad and not found.apart
    assert (found.frames, found.alone) == (4, 0) and found.share > 0.8


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_poses_off_by_millimetres_and_a_degree_are_no_contradiction(seed):
    rng = np.random.default_rng(seed)
    off = [
        posed(
            lambda T: T @ pose(Rotation.from_rotvec(rng.normal(size=3) * 0.017).as_matrix(), rng.normal(size=3) * 4e-3)
        )(f)
        for f in frames(seed)
    ]
    assert not agreement(off).bad and not agreement(off).apart


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("seed", [0, 2])
def test_the_usual_mistakes_do_not_fit_and_are_named(mistake, seed):
    wrong = [MISTAKES[mistake](frame) for frame in frames(seed)]
    found = agreement(wrong)
    assert not found.good
    named = [e.name for e in explanations(wrong, found)]
    # From outside, inverse poses and inverse OpenGL poses can be the same.
    assert named[0] == mistake or {mistake, named[0]} == {"inverted", "inverted_opengl"}


def test_what_contradicts_without_a_usual_mistake_has_no_explanation():
    rng = np.random.default_rng(1)
    wrong = [
        posed(lambda T: T @ pose(Rotation.random(random_state=rng.integers(1 << 30)).as_matrix(), rng.normal(size=3)))(
            f
        )
        for f in frames()
    ]
    found = agreement(wrong)
    assert not found.good and explanations(wrong, found) == []


def test_sides_that_an_object_hides_from_each_other_are_no_contradiction():
    room = scene_of([block((1.0, 0.6, 0.8))], [pose(np.eye(3), (0, 0, 0))])
    sides = record(room, around(2, distance_m=2.2), sensor=SENSORS["clean"], intrinsics=depth_camera(320, 240)).frames
    assert not agreement(sides).bad


def test_one_pose_is_one_view_and_frames_without_depth_are_none():
    first = frames()[0]
    assert agreement([first, replace(first, stamp_ns=first.stamp_ns + 1)]).frames == 1
    assert agreement([replace(f, depth_m=None) for f in frames()]).frames == 0


def test_a_camera_that_moves_under_one_pose_shows_other_places():
    first = frames()[0]
    turned = [replace(f, T_world_cam=first.T_world_cam) for f in frames(1)]
    still = [replace(first, stamp_ns=k) for k in (1, 2, 3)]
    assert still_agreement(still)[0] == 2 and still_agreement(still)[1] > 0.95
    lifted = [replace(f, depth_m=f.depth_m * np.float32(1.0 + 0.15 * k)) for k, f in enumerate(turned)]
    pairs, share = still_agreement(lifted)
    assert pairs == 3 and share < 0.3


def test_a_camera_stands_still_though_something_large_comes_before_it_and_goes():
    hand = frames()[0].depth_m.copy()
    hand[:, : int(0.7 * hand.shape[1])] = 0.3
    first = [replace(frames()[0], stamp_ns=k) for k in range(5)]
    seen = [replace(f, depth_m=hand) if k % 2 else f for k, f in enumerate(first)]
    assert still_agreement(seen[:3])[0] == 2 and still_agreement(seen[:3])[1] > 0.95
    assert still_agreement(seen)[0] == 4 and still_agreement(seen)[1] > 0.95
