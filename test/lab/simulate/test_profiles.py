"""Cameras of a kind differ in strength, and the frames of one that stands still have most of their errors in common."""

from dataclasses import fields

import numpy as np
import pytest
from scenes import block
from tabletop import slow_part

from sparse_recon.config.parameters import parameters
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.profiles import SENSORS, varied
from sparse_recon.lab.simulate.recording import record
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import exact
from sparse_recon.lab.simulate.virtual_cameras import depth_camera

REAL = [name for name, model in SENSORS.items() if model.faults is not None]


def test_real_cameras_are_there() -> None:
    assert set(REAL) == {"d400", "zed", "f200", "orbbec", "azure_kinect", "kinect_v2", "l515"}


@pytest.mark.parametrize("name", REAL)
def test_drawn_cameras_lie_around_the_listed_one_and_within_ranges(name: str) -> None:
    listed = SENSORS[name].faults
    drawn = [varied(SENSORS[name], np.random.default_rng(seed)).faults for seed in range(200)]
    assert drawn[3] == varied(SENSORS[name], np.random.default_rng(3)).faults
    differing = [f.name for f in fields(listed) if len({getattr(d, f.name) for d in drawn}) > 1]
    assert {"changing"} < set(differing)
    for parameter in parameters(type(listed)):
        if parameter.name in differing:
            values = [getattr(d, parameter.name) for d in drawn]
            # The widest spread is a factor of e: 200 draws give its median to 9 %.
            assert np.median(values) == pytest.approx(getattr(listed, parameter.name), rel=0.25)
            assert parameter.low <= min(values) and max(values) <= parameter.high


def test_camera_without_faults_is_not_varied() -> None:
    assert varied(SENSORS["realsense"], np.random.default_rng(0)) == SENSORS["realsense"]


@pytest.mark.parametrize("name", ["d400", "azure_kinect"])
def test_frames_of_a_still_camera_share_their_slow_error(name: str) -> None:
    scene = scene_of([block()], [pose(np.eye(3), (0, 0, 0))])
    still, other = look_at((0.5, 0.1, 0.6), (0, 0, 0.03)), look_at((0.5, 0.12, 0.6), (0, 0, 0.03))
    recording = record(
        scene, [still, still, other], sensor=exact(SENSORS[name]), intrinsics=depth_camera(320, 240), seed=2
    )
    true = record(scene, [still, other], sensor=SENSORS["clean"], intrinsics=depth_camera(320, 240)).frames
    errors = [f.depth_m - t.depth_m for f, t in zip(recording.frames, (true[0], true[0], true[1]), strict=True)]
    bare = (true[0].labels == 0) & (true[1].labels == 0) & (np.abs(errors[0]) < 0.02)
    bare &= (np.abs(errors[1]) < 0.02) & (np.abs(errors[2]) < 0.02)
    first, again, moved = (slow_part(np.where(bare, e, np.nan), 2.0)[bare] for e in errors)
    known = np.isfinite(first) & np.isfinite(again) & np.isfinite(moved)
    first, again, moved = first[known], again[known], moved[known]
    assert np.corrcoef(first, again)[0, 1] > np.corrcoef(first, moved)[0, 1] + 0.25
    assert not np.array_equal(first, again)
