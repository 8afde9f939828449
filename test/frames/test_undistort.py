"""Distortion, binning and registration against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.frames.camera_streams import Calibration
from sparse_recon.frames.undistort import CameraInfo, PinholeCamera, registered_depth, resampled
from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import pose
from sparse_recon.types import CameraIntrinsics

W, H = 160, 120
K = np.array([[140.0, 0, 80.3], [0, 141.0, 58.7], [0, 0, 1]])
MODELS = {
    "plumb_bob": [0.12, -0.2, 0.001, -0.002, 0.05],
    "rational_polynomial": [0.3, -0.1, 0.001, 0.002, 0.01, 0.25, -0.05, 0.01],
    "equidistant": [0.05, -0.01, 0.003, -0.001],
}


def info(model: str = "plumb_bob", D: object = (), **changes: object) -> CameraInfo:
    return CameraInfo(**{"width": W, "height": H, "K": K.ravel(), "D": D, "distortion_model": model} | changes)


def distorted_pixels(model: str, rays: np.ndarray) -> np.ndarray:
    if model == "equidistant":
        return cv2.fisheye.projectPoints(rays.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), K, np.array(MODELS[model]))[
            0
        ]
    return cv2.projectPoints(rays.reshape(-1, 3), np.zeros(3), np.zeros(3), K, np.array(MODELS[model]))[0]


@pytest.mark.parametrize("model", MODELS)
def test_undistorted_ramp_shows_where_each_ray_falls(model: str):
    camera = PinholeCamera(info(model, MODELS[model]))
    columns = np.tile(np.arange(W, dtype=np.float32), (H, 1))  # each raw pixel holds its own column
    out = camera.undistorted(columns, smooth=True)
    truth = distorted_pixels(model, pixel_rays(camera.intrinsics).astype(np.float64)).reshape(H, W, 2)[..., 0]
    inner = np.s_[10:-10, 10:-10]
    assert np.nanmax(np.abs(out - truth)[inner]) < 0.05  # 1/32 px steps of OpenCV's remap


@pytest.mark.parametrize("model", MODELS)
def test_depth_is_never_mixed_across_an_edge(model: str):
    depth = np.where(np.arange(W) < W // 2, 0.5, 2.0).astype(np.float32) * np.ones((H, 1), np.float32)
    out = PinholeCamera(info(model, MODELS[model])).undistorted(depth, smooth=False)
    assert set(np.unique(out[np.isfinite(out)]).tolist()) == {0.5, 2.0}


def test_labels_survive_exactly():
    labels = np.full((H, W), 2**31 - 7, np.int32)
    out = PinholeCamera(info("plumb_bob", MODELS["plumb_bob"])).undistorted(labels, smooth=False)
    assert out.dtype == np.int32 and out[H // 2, W // 2] == 2**31 - 7


@pytest.mark.parametrize("zeros", [3, 7, 9])
def test_numbers_that_are_filled_up_with_zeros_are_those_before(zeros: int):
    columns = np.tile(np.arange(W, dtype=np.float32), (H, 1))
    for model in ("plumb_bob", "rational_polynomial", "equidistant"):
        D = MODELS["equidistant" if model == "equidistant" else "plumb_bob"]
        plain = PinholeCamera(info("equidistant" if model == "equidistant" else "plumb_bob", D))
        filled = PinholeCamera(info(model, [*D, *[0.0] * zeros]))
        np.testing.assert_array_equal(filled.undistorted(columns, smooth=True), plain.undistorted(columns, smooth=True))


def test_plumb_bob_of_eight_numbers_is_read_as_opencv_reads_it(caplog: pytest.LogCaptureFixture):
    columns = np.tile(np.arange(W, dtype=np.float32), (H, 1))
    D = MODELS["rational_polynomial"]
    one, other = (PinholeCamera(info(model, D)) for model in ("plumb_bob", "rational_polynomial"))
    np.testing.assert_array_equal(one.undistorted(columns, smooth=True), other.undistorted(columns, smooth=True))
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "rational_polynomial" in caplog.text


def test_eight_numbers_are_told_once_a_calibration(caplog: pytest.LogCaptureFixture):
    calibration = Calibration(rectified=False)
    for stamp_ns in range(1, 20):
        calibration.put(stamp_ns, info("plumb_bob", MODELS["rational_polynomial"]), "cam")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("D", [(), [0.0] * 5])
@pytest.mark.parametrize("model", ["plumb_bob", "", "kannala_brandt"])
def test_no_distortion_is_the_identity(model: str, D: object):
    image = np.zeros((H, W, 3), np.uint8)
    assert PinholeCamera(info(model, D)).undistorted(image, smooth=True) is image


@pytest.mark.parametrize(
    ("model", "D"),
    [
        ("kannala_brandt", [0.1] * 4),
        ("plumb_bob", [0.1] * 3),
        ("plumb_bob", [0.1] * 7),
        ("equidistant", [0.1] * 8),
        ("equidistant", [np.nan] * 4),
    ],
)
def test_unknown_distortion_is_refused(model: str, D: list[float]):
    with pytest.raises(InputError, match="rational_polynomial") as caught:
        PinholeCamera(info(model, D))
    assert caught.value.code is ErrorCode.DISTORTION_UNSUPPORTED


def test_zero_K_is_refused():
    with pytest.raises(InputError, match="not calibrated") as caught:
        PinholeCamera(info(K=np.zeros(9)))
    assert caught.value.code is ErrorCode.INTRINSICS_INVALID


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (K.T, "which is its transpose"),
        (K + np.array([[0, 3.0, 0], [0, 0, 0], [0, 0, 0]]), "K must be"),
        (K * np.array([[1], [1], [0.5]]), "K must be"),
    ],
)
def test_a_matrix_that_is_no_K_is_refused(matrix: np.ndarray, word: str):
    with pytest.raises(InputError, match=word) as caught:
        PinholeCamera(info(K=matrix.ravel()))
    assert caught.value.code is ErrorCode.INTRINSICS_INVALID


def test_image_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"80x60.*160x120") as caught:
        PinholeCamera(info()).undistorted(np.zeros((60, 80, 3), np.uint8), smooth=True)
    assert caught.value.code is ErrorCode.SIZE_MISMATCH


def test_rectified_images_use_P_and_stay_as_they_are():
    P = np.hstack([np.diag([100.0, 100.0, 1.0]), np.zeros((3, 1))])
    camera = PinholeCamera(info("plumb_bob", MODELS["plumb_bob"], P=P.ravel()), rectified=True)
    image = np.zeros((H, W), np.float32)
    assert camera.intrinsics.fx == 100.0 and camera.undistorted(image, smooth=False) is image


def test_binning_and_region_of_interest_move_the_camera():
    camera = PinholeCamera(info(binning=(2, 2), roi=(20, 10, 100, 80))).intrinsics
    assert (camera.width, camera.height, camera.fx) == (50, 40, 70.0)
    assert camera.cx == pytest.approx((80.3 - 20 + 0.5) / 2 - 0.5)


def test_region_outside_the_sensor_is_refused():
    with pytest.raises(InputError, match="region of interest"):
        PinholeCamera(info(roi=(100, 0, 100, 80)))


def test_resampling_depth_to_a_larger_image_of_the_same_view():
    small = CameraIntrinsics(W, H, K)
    large = CameraIntrinsics(2 * W, 2 * H, np.array([[280.0, 0, 161.1], [0, 282.0, 117.9], [0, 0, 1]]))
    plane = 1.0 / (1.0 + 0.2 * pixel_rays(small)[..., 0])  # z = 1 - 0.2 x
    out = resampled(plane.astype(np.float32), small, large)
    truth = 1.0 / (1.0 + 0.2 * pixel_rays(large)[..., 0])
    assert out.shape == (2 * H, 2 * W)
    assert np.nanmax(np.abs(out - truth)) < 0.2 / 140 * 1.5


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.0])
def test_registered_plane_is_dense_and_exact(scale: float):
    depth_camera = CameraIntrinsics(W, H, K)
    K_color = K.copy()
    K_color[:2] *= scale
    color = CameraIntrinsics(int(W * scale), int(H * scale), K_color)
    T_color_depth = pose(np.eye(3), (0.03, 0.0, 0.0))
    out = registered_depth(np.full((H, W), 0.8, np.float32), depth_camera, color, T_color_depth)
    shift = 0.03 / 0.8 * color.fx
    seen = out[int(4 * scale) : int(-4 * scale), int(shift + 4 * scale) :]
    assert np.isfinite(seen).mean() > 0.98  # rounding leaves single holes, as real drivers do
    assert np.nanmax(np.abs(out - 0.8)) < 1e-6


def test_registration_keeps_the_nearest_surface():
    camera = CameraIntrinsics(W, H, K)
    depth = np.full((H, W), 2.0, np.float32)
    depth[40:80, 60:100] = 0.5
    out = registered_depth(depth, camera, camera, pose(np.eye(3), (-0.05, 0.0, 0.0)))
    moved = round(0.05 / 0.5 * 140)
    assert np.all(out[45:75, 65 - moved : 95 - moved] == 0.5)
    shadow = np.isnan(out[60, 100 - moved : 100])
    assert shadow.sum() == pytest.approx(moved - 0.05 / 2.0 * 140, abs=2)  # only the other camera sees that strip
