"""The sensor's errors follow their model, and the clean one has none."""

import numpy as np
import pytest

from sparse_recon.errors import ConfigError
from sparse_recon.geometry.poses import look_at
from sparse_recon.lab.simulate.recording import record, tabletop_recording
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.scene import tabletop_scene
from sparse_recon.lab.simulate.sensor import SENSORS, SensorModel, exact, sense
from sparse_recon.lab.simulate.virtual_cameras import depth_camera

CAMERA = depth_camera(320, 240)


def wall(depth_m: float, tilt_deg: float = 0.0) -> RenderedView:
    """A plane across the whole image; only its normal tells of the tilt."""
    size = (CAMERA.height, CAMERA.width)
    normals = np.zeros((*size, 3), np.float32)
    normals[..., 1], normals[..., 2] = np.sin(np.deg2rad(tilt_deg)), -np.cos(np.deg2rad(tilt_deg))
    rgb, labels = np.full((*size, 3), 128, np.uint8), np.zeros(size, np.int32)
    labels[80:160, 100:200] = 1
    return RenderedView(rgb, np.full(size, depth_m, np.float32), labels, normals, CAMERA, np.eye(4))


def depth_of(view: RenderedView, model: SensorModel, seed: int = 0) -> np.ndarray:
    depth_m = sense(view, model, np.random.default_rng(seed), stamp_ns=1).depth_m
    assert depth_m is not None
    return depth_m


def test_clean_sensor_changes_nothing() -> None:
    view = wall(0.9)
    frame = sense(view, SENSORS["clean"], np.random.default_rng(0), stamp_ns=7, camera="wrist")
    np.testing.assert_array_equal(frame.depth_m, view.depth_m)
    np.testing.assert_array_equal(frame.rgb, view.rgb)
    np.testing.assert_array_equal(frame.labels, view.labels)
    np.testing.assert_array_equal(frame.T_world_cam, np.eye(4))
    assert (frame.stamp_ns, frame.camera) == (7, "wrist")


@pytest.mark.parametrize("depth_m", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("correlation_px", [0.0, 1.5])
def test_axial_noise_has_the_stated_standard_deviation(depth_m: float, correlation_px: float) -> None:
    model = SensorModel(axial_base_m=0.0012, axial_quadratic=0.0019, correlation_px=correlation_px)
    error = depth_of(wall(depth_m), model) - depth_m
    # 76800 pixels; correlation leaves about 76800 / (4 pi 1.5^2) = 2700 independent ones: 1.4 % of sigma.
    assert error.std() == pytest.approx(0.0012 + 0.0019 * (depth_m - 0.4) ** 2, rel=0.05)
    assert abs(error.mean()) < 0.08 * error.std()


@pytest.mark.parametrize("depth_m", [0.5, 1.5])
def test_stereo_noise_grows_with_the_square_of_depth(depth_m: float) -> None:
    model = SensorModel(disparity_sigma_px=0.07, baseline_m=0.05)
    error = depth_of(wall(depth_m), model) - depth_m
    assert error.std() == pytest.approx(depth_m**2 * 0.07 / (CAMERA.fx * 0.05), rel=0.03)
    assert error.std() == pytest.approx(model.sigma_m(np.array(depth_m), CAMERA.fx), rel=0.03)


def test_quantised_depth_takes_only_multiples_of_the_disparity_step() -> None:
    model = SensorModel(disparity_sigma_px=0.2, disparity_step_px=0.125)
    disparity = CAMERA.fx * 0.05 / depth_of(wall(1.0), model).astype(np.float64)
    np.testing.assert_allclose(disparity / 0.125, np.round(disparity / 0.125), atol=1e-3)


def test_noise_is_alike_over_the_correlation_length() -> None:
    error = depth_of(wall(1.0), SensorModel(axial_base_m=0.002, correlation_px=2.0)) - 1.0
    neighbour = np.corrcoef(error[:, :-2].ravel(), error[:, 2:].ravel())[0, 1]
    far = np.corrcoef(error[:, :-20].ravel(), error[:, 20:].ravel())[0, 1]
    assert neighbour == pytest.approx(np.exp(-(2.0**2) / (4 * 2.0**2)), abs=0.05)
    assert abs(far) < 0.05


def test_dropout_loses_the_stated_share_of_pixels() -> None:
    assert np.isnan(depth_of(wall(1.0), SensorModel(dropout=0.05))).mean() == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(("tilt_deg", "lost"), [(40.0, 0.0), (89.0, 1.0)])
def test_oblique_surfaces_become_holes(tilt_deg: float, lost: float) -> None:
    depth_m = depth_of(wall(1.0, tilt_deg), SensorModel(grazing_deg=70.0))
    assert np.isnan(depth_m[115:125, 155:165]).mean() == lost


def test_range_limits_hold() -> None:
    model = SensorModel(near_m=0.3, far_m=2.0)
    assert np.isnan(depth_of(wall(0.2), model)).all()
    assert np.isnan(depth_of(wall(2.5), model)).all()
    assert np.isfinite(depth_of(wall(1.0), model)).all()


def test_flying_pixels_hang_between_front_and_back_near_the_edge_only() -> None:
    view = wall(1.0)
    view.depth_m[:, 160:] = 1.5
    depth_m = depth_of(view, SensorModel(flying=0.5, edge_px=0.8))
    between = (depth_m > 1.001) & (depth_m < 1.499)
    assert between.any()
    columns = np.nonzero(between.any(axis=0))[0]
    assert columns.min() >= 155 and columns.max() <= 165  # 2 px of reach + up to 3 sigma


def test_mask_errors_stay_within_their_pixels() -> None:
    view, areas = wall(1.0), set()
    for seed in range(40):
        labels = sense(view, SensorModel(mask_px=2), np.random.default_rng(seed), stamp_ns=1).labels
        assert labels is not None
        areas.add(int((labels == 1).sum()))
        assert not labels[:77].any() and labels[82:158, 102:198].all()
    assert len(areas) == 5  # -2, -1, 0, 1 and 2 pixels


def test_pose_error_has_the_stated_size() -> None:
    model = SensorModel(pose_sigma_m=0.004, pose_sigma_deg=0.5)
    small = RenderedView(
        *(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.float32), np.zeros((2, 2), np.int32)),
        np.zeros((2, 2, 3), np.float32),
        depth_camera(2, 2),
        look_at((1, 0, 1), (0, 0, 0)),
    )
    moved = [sense(small, model, np.random.default_rng(s), stamp_ns=1).T_world_cam for s in range(400)]
    shift = np.array([T[:3, 3] - small.T_world_cam[:3, 3] for T in moved])
    angle = [np.arccos((np.trace(small.T_world_cam[:3, :3].T @ T[:3, :3]) - 1) / 2) for T in moved]
    assert shift.std() == pytest.approx(0.004, rel=0.08)  # 1200 draws: 2 %
    assert np.degrees(np.sqrt(np.mean(np.square(angle)) / 3)) == pytest.approx(0.5, rel=0.08)


def test_exact_keeps_depth_noise_and_drops_pose_and_mask_errors() -> None:
    model = exact(SENSORS["realsense"])
    assert (model.pose_sigma_m, model.pose_sigma_deg, model.mask_px) == (0.0, 0.0, 0)
    assert model.disparity_sigma_px == SENSORS["realsense"].disparity_sigma_px


def test_value_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="dropout"):
        SensorModel(dropout=1.5)


@pytest.mark.parametrize("name", SENSORS)
def test_recording_is_the_same_bit_for_bit_for_the_same_seed(name: str) -> None:
    first, again = (tabletop_recording(4, frames=1, objects=2, sensor=SENSORS[name]).frames[0] for _ in range(2))
    np.testing.assert_array_equal(first.depth_m, again.depth_m)
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.T_world_cam, again.T_world_cam)


def test_recorded_frame_does_not_depend_on_the_frames_before_it() -> None:
    scene, poses = tabletop_scene(1, 1), [look_at((0.6, 0, 0.4), (0, 0, 0)), look_at((0, 0.6, 0.4), (0, 0, 0))]
    both = record(scene, poses, seed=3, intrinsics=CAMERA)
    other = record(scene, [poses[1], poses[1]], seed=3, intrinsics=CAMERA)
    np.testing.assert_array_equal(both.frames[1].depth_m, other.frames[1].depth_m)
    assert both.frames[0].stamp_ns < both.frames[1].stamp_ns
