"""Workspaces of COLMAP: where files lie, cameras of each model, and metres where the model has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bags.layouts import assert_same, colmap, counts, image

from sparse_recon.bags.folders import open_folder
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError


@pytest.mark.parametrize("at", ["sparse/0", "sparse", "."])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("depth", ["depth", "depths"])
def test_models_are_found_where_tools_put_them(small_frames, tmp_path: Path, at: str, binary: bool, depth: str):
    folder = open_folder(colmap(tmp_path, small_frames[:2], at=at, binary=binary, depth=depth))
    assert_same(list(folder), small_frames[:2])
    assert folder.warnings == [] and f"{depth}/" in folder.layout


def test_half_a_pixel_lies_between_the_conventions(small_frames, tmp_path: Path):
    """COLMAP has (0.5, 0.5) where OpenCV has (0, 0): assert_same compares K to 1e-9 px."""
    colmap(tmp_path, small_frames[:1])
    assert " 32.0 24.0" in (tmp_path / "sparse/0/cameras.txt").read_text()
    (frame,) = open_folder(tmp_path)
    assert (frame.intrinsics.cx, frame.intrinsics.cy) == (31.5, 23.5)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("SIMPLE_PINHOLE", ()),
        ("SIMPLE_RADIAL", (0.0,)),
        ("RADIAL", (0.0, 0.0)),
        ("OPENCV", (0.0,) * 4),
        ("FULL_OPENCV", (0.0,) * 8),
    ],
)
def test_all_cameras_without_distortion_are_pinholes(
    small_frames, tmp_path: Path, model: str, distortion: Sequence[float]
):
    assert_same(
        list(open_folder(colmap(tmp_path, small_frames[:1], model=model, distortion=distortion))), small_frames[:1]
    )


@pytest.mark.parametrize(
    ("model", "distortion", "opencv"),
    [
        ("SIMPLE_RADIAL", (-0.2,), (-0.2, 0, 0, 0)),
        ("RADIAL", (-0.2, 0.1), (-0.2, 0.1, 0, 0)),
        ("OPENCV", (-0.2, 0.1, 0.01, 0.02), (-0.2, 0.1, 0.01, 0.02)),
        ("FULL_OPENCV", (-0.2, 0.1, 0.01, 0.02, 0.1, 0.2, 0.1, 0.1), (-0.2, 0.1, 0.01, 0.02, 0.1, 0.2, 0.1, 0.1)),
        ("OPENCV_FISHEYE", (0.1, 0.02, 0.01, 0.0), "fisheye"),
        ("OPENCV_FISHEYE", (0.0, 0.0, 0.0, 0.0), "fisheye"),
        ("FISHEYE", (), "fisheye"),
        ("SIMPLE_FISHEYE", (), "fisheye"),
        ("SIMPLE_RADIAL_FISHEYE", (0.1,), "fisheye"),
        ("RADIAL_FISHEYE", (0.1, 0.02), "fisheye"),
    ],
)
def test_distortion_is_taken_out_as_opencv_has_it(small_frames, tmp_path: Path, model: str, distortion, opencv):
    import cv2

    ramp = np.zeros((48, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = 4 * np.arange(64), 5 * np.arange(48)[:, None]
    shot = replace(small_frames[0], rgb=ramp, depth_m=np.full((48, 64), 1.0, np.float32))
    (frame,) = open_folder(colmap(tmp_path, [shot], model=model, distortion=distortion, points=0))
    K = shot.intrinsics.K
    rays = np.array([[(u - 31.5) / 60.0, (v - 23.5) / 60.0, 1.0] for u, v in [(20, 14), (44, 30), (31, 23)]])
    if opencv == "fisheye":
        D = np.array([*distortion, 0.0, 0.0, 0.0, 0.0][:4])
        raw = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), K, D)[0][:, 0]
    else:
        raw = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, np.array(opencv, np.float64))[0][:, 0]
    for (u, v), (u_raw, v_raw) in zip([(20, 14), (44, 30), (31, 23)], raw, strict=True):
        red, green = frame.rgb[v, u, :2] / (4.0, 5.0)
        assert (red, green) == pytest.approx((u_raw, v_raw), abs=0.3)  # counts of 1/4 and 1/5 px


@pytest.mark.parametrize("model", ["FOV", "THIN_PRISM_FISHEYE", "x" * 500])
def test_other_cameras_are_refused_by_name(small_frames, tmp_path: Path, model: str):
    colmap(tmp_path, small_frames[:1], model=model, distortion=(0.1,))
    with pytest.raises(InputError, match=rf"{model[:20]}.*accepted are SIMPLE_PINHOLE.*image_undistorter") as caught:
        list(open_folder(tmp_path))
    assert caught.value.code is ErrorCode.DISTORTION_UNSUPPORTED and len(caught.value.message) < 1000


def test_a_wrong_number_of_parameters_is_named(small_frames, tmp_path: Path):
    colmap(tmp_path, small_frames[:1], model="OPENCV", distortion=(0.1,))
    with pytest.raises(InputError, match="OPENCV has 5 parameters, it must have 8"):
        list(open_folder(tmp_path))


def test_images_may_be_smaller_than_the_camera_and_depth_smaller_still(small_frames, tmp_path: Path):
    shot = replace(small_frames[0], depth_m=np.full((48, 64), 1.25, np.float32))
    colmap(tmp_path, [shot])
    image(tmp_path / "images/view_0.png", shot.rgb[::2, ::2])
    image(tmp_path / "depth/view_0.png", counts(shot.depth_m, 1e-3)[::4, ::4])
    (frame,) = open_folder(tmp_path)
    assert frame.rgb.shape == (24, 32, 3) and np.all(frame.depth_m == np.float32(1.25))
    assert (frame.intrinsics.fx, frame.intrinsics.cx) == (30.0, 15.5)


def test_depth_may_be_named_after_the_whole_image(small_frames, tmp_path: Path):
    colmap(tmp_path, small_frames[:1])
    (tmp_path / "depth/view_0.png").rename(tmp_path / "depth/view_0.png.png")
    assert_same(list(open_folder(tmp_path)), small_frames[:1])


@pytest.mark.parametrize("factor", [0.37, 12.5])
def test_the_factor_between_depth_and_model_is_told_and_can_be_said(small_frames, tmp_path: Path, factor: float):
    colmap(tmp_path, small_frames[:4], unit_m=factor)
    with pytest.raises(InputError, match=rf"measure {factor:.3g}\d* times .*--pose-unit-m {factor:.3g}") as caught:
        open_folder(tmp_path)
    assert f"depth.unit_m={1e-3 / factor:.3g}" in caught.value.message
    folder = open_folder(tmp_path, pose_unit_m=factor)
    assert_same(list(folder), small_frames[:4])
    assert folder.warnings == []


def test_a_wrong_unit_of_depth_shows_in_the_factor(small_frames, tmp_path: Path):
    colmap(tmp_path, small_frames[:4])
    with pytest.raises(InputError, match=r"measure 0\.2\d* times .* with 0\.0002 m \(depth.unit_m\)"):
        open_folder(tmp_path, DepthConfig(unit_m=0.0002))


def test_a_unit_that_was_said_and_does_not_fit_is_told(small_frames, tmp_path: Path):
    folder = open_folder(colmap(tmp_path, small_frames[:4]), pose_unit_m=2.0)
    assert len(list(folder)) == 4
    assert "measure 0.5 times the depth" in folder.warnings[0]


def test_depth_of_no_one_factor_is_refused(small_frames, tmp_path: Path):
    """As of a network that estimates depth up to its scale in each image."""
    colmap(tmp_path, small_frames[:4])
    for k, frame in enumerate(small_frames[:4]):
        image(tmp_path / f"depth/view_{k}.png", counts(frame.depth_m**2 * (1 + k), 1e-3))
    with pytest.raises(InputError, match="there is no one factor"):
        open_folder(tmp_path)


def test_a_model_without_points_is_taken_for_metric_with_a_warning(small_frames, tmp_path: Path):
    folder = open_folder(colmap(tmp_path, small_frames[:2], points=0))
    assert_same(list(folder), small_frames[:2])
    assert "is taken for a metre" in folder.warnings[0]
    assert open_folder(tmp_path, pose_unit_m=1.0).warnings == []


def test_depth_maps_of_colmap_need_the_unit(small_frames, tmp_path: Path):
    colmap(tmp_path, small_frames[:3], depth="stereo", at="sparse", binary=True, unit_m=0.25)
    with pytest.raises(InputError, match=r"unit of a COLMAP model is arbitrary.*--pose-unit-m"):
        open_folder(tmp_path)
    folder = open_folder(tmp_path, pose_unit_m=0.25)
    assert_same(list(folder), small_frames[:3])
    assert folder.warnings == [] and "stereo/depth_maps/" in folder.layout


@pytest.mark.parametrize(
    "data", [b"", b"64&48&1&", b"64&48&3&" + bytes(4 * 3 * 64 * 48), b"9&9", b"\xff&1&1&", b"-4&-4&1&"]
)
def test_broken_depth_maps_cost_their_frame(small_frames, tmp_path: Path, data: bytes):
    colmap(tmp_path, small_frames[:2], depth="stereo")
    (tmp_path / "stereo/depth_maps/view_1.png.geometric.bin").write_bytes(data)
    folder = open_folder(tmp_path, pose_unit_m=1.0)
    assert len(list(folder)) == 1 and "view_1.png.geometric.bin is cut" in folder.warnings[0]


def test_depth_maps_out_of_range_name_the_unit(small_frames, tmp_path: Path):
    colmap(tmp_path, small_frames[:1], depth="stereo")
    with pytest.raises(InputError, match=r"no pixel within .*read with 100 m a unit") as caught:
        list(open_folder(tmp_path, pose_unit_m=100.0))
    assert caught.value.code is ErrorCode.DEPTH_EMPTY


@pytest.mark.parametrize(("gone", "word"), [("depth", "no depth/, depths/ or stereo"), ("images", "images is missing")])
def test_missing_folders_are_named(small_frames, tmp_path: Path, gone: str, word: str):
    colmap(tmp_path, small_frames[:1])
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(FileError, match=word) as caught:
        open_folder(tmp_path)
    assert caught.value.code is ErrorCode.INPUT_MISSING


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"no cameras.txt and images.txt"):
        open_folder(tmp_path, layout="colmap")


def test_other_models_are_told(small_frames, tmp_path: Path):
    colmap(tmp_path, small_frames[:2])
    (tmp_path / "sparse/1").mkdir()
    assert "0 was read alone" in open_folder(tmp_path).warnings[0]


def test_a_camera_that_is_missing_costs_its_frames(small_frames, tmp_path: Path):
    file = colmap(tmp_path, small_frames[:2]) / "sparse/0/images.txt"
    file.write_text(file.read_text().replace(" 3 view_1.png", " 4 view_1.png"))
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 1 and "camera 4 is not among" in folder.warnings[0]
