"""Slow errors of depth: measured on a bare table, known to the session, told by confidence."""

from dataclasses import replace

import numpy as np
import pytest

from sparse_recon import CompletionRequest, CompletionSession, SessionConfig
from sparse_recon.evidence.slow_error import slow_error
from sparse_recon.geometry.poses import look_at
from sparse_recon.lab.simulate.household import make_shape
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.sensor import SENSORS, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.types import Provenance

pytest.importorskip("open3d")
UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def view():
    scene = scene_of([make_shape("can", np.random.default_rng(0))], [np.eye(4)])
    T_world_cam = look_at(np.array([0.45, 0.0, 0.45]), np.array([0.0, 0.0, 0.0]))
    return Renderer(scene).render(depth_camera(640, 480, 60.0), T_world_cam)


def seen(view, camera, seed=0, **faults):
    sensor = exact(SENSORS[camera])
    if faults:
        sensor = replace(sensor, faults=replace(sensor.faults, **faults))
    return sense(view, sensor, np.random.default_rng(seed), stamp_ns=1)


@pytest.mark.parametrize("slow_px", [0.05, 0.1, 0.2])
def test_the_slow_error_of_a_stereo_camera_is_found_on_the_table(view, slow_px):
    frame = seen(view, "d400", slow_px=slow_px)
    faults = SENSORS["d400"].faults
    found = slow_error(frame, UP, 0.0, 2)
    assert found is not None and found.power == 2
    true_per_m = slow_px / (frame.intrinsics.fx * faults.baseline_m)  # of disparity: std(z) = z^2 std(d) / (f B)
    # Smoothing takes a part of the smaller lumps away.
    assert 0.5 * true_per_m < found.per_unit < 1.2 * true_per_m


def test_noise_of_single_pixels_is_not_slow(view):
    for camera in ("clean", "mild", "kinect"):
        found = slow_error(seen(view, camera), UP, 0.0, 2)
        assert found is not None and found.sigma_m(0.65) < 0.0006


def test_a_tilted_pose_is_no_slow_error(view):
    frame = seen(view, "clean")
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, np.cos(0.01), -np.sin(0.01)], [0, np.sin(0.01), np.cos(0.01)]]
    found = slow_error(replace(frame, T_world_cam=frame.T_world_cam @ turn), UP, 0.0, 2)
    assert found is not None and found.sigma_m(0.65) < 0.0003


def test_too_little_bare_plane_tells_nothing(view):
    frame = seen(view, "d400")
    narrow = np.full_like(frame.depth_m, np.nan)
    narrow[:40, :60] = frame.depth_m[:40, :60]
    assert slow_error(replace(frame, depth_m=narrow), UP, 0.0, 2) is None
    assert slow_error(replace(frame, depth_m=None), UP, 0.0, 2) is None
    assert slow_error(frame, UP, -0.5, 2) is None  # no such plane


def completed(frame, **depth):
    config = SessionConfig(model="carve", up_world=(0.0, 0.0, 1.0))
    session = CompletionSession(replace(config, depth=replace(config.depth, **depth)))
    session.add_frame(frame)
    return session.complete(CompletionRequest(label=1))


def test_confidence_is_smaller_where_depth_errs_slowly(view):
    sure, doubtful = (completed(seen(view, "d400", slow_px=px)) for px in (0.0, 0.3))
    for side in (Provenance.OBSERVED, Provenance.INFERRED):
        means = [float(r.confidence[r.provenance == side].mean()) for r in (sure, doubtful)]
        assert means[1] < means[0] - 0.05
    assert doubtful.quality.radius90_m > sure.quality.radius90_m


def test_what_is_usual_for_the_kind_counts_where_no_plane_is_seen(view):
    frame = seen(view, "clean")
    held = replace(frame, depth_m=np.where(frame.labels == 1, frame.depth_m, np.float32(np.nan)))
    unknown, tof, stereo = (completed(held, sensor=kind) for kind in ("auto", "tof", "stereo"))
    observed = [float(r.confidence[r.provenance == Provenance.OBSERVED].mean()) for r in (unknown, tof, stereo)]
    assert observed[0] > observed[1] and observed[0] > observed[2]
