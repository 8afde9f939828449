"""Sparse models of COLMAP: text and binary say the same, and what is broken is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bags.layouts import colmap

from sparse_recon.bags.colmap_model import has_model, read_model
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.geometry.poses import inverse


@pytest.mark.parametrize("binary", [False, True])
def test_cameras_images_and_points_are_read(small_frames, tmp_path: Path, binary: bool):
    colmap(tmp_path, small_frames[:3], binary=binary, unit_m=0.5, points=25)
    model = read_model(tmp_path / "sparse/0")
    (camera,) = model.cameras.values()
    assert (camera.model, camera.width, camera.height) == ("PINHOLE", 64, 48)
    assert camera.parameters == (60.0, 60.0, 32.0, 24.0)
    assert [image.name for image in model.images] == ["view_0.png", "view_1.png", "view_2.png"]
    for image, frame in zip(model.images, small_frames, strict=False):
        T_world_cam = inverse(image.T_cam_world)
        np.testing.assert_allclose(T_world_cam[:3, 3], 2.0 * frame.T_world_cam[:3, 3], atol=1e-9)
        assert image.pixels.shape == (26, 2) and image.point_ids[-1] == -1
    assert len(model.point_ids) == len(model.points_world) == 75
    assert np.all(np.diff(model.point_ids) > 0)


def test_text_and_binary_are_the_same(small_frames, tmp_path: Path):
    one, other = (
        read_model(colmap(tmp_path / str(binary), small_frames[:2], binary=binary) / "sparse/0")
        for binary in (False, True)
    )
    assert one.cameras == other.cameras
    np.testing.assert_array_equal(one.points_world, other.points_world)
    for a, b in zip(one.images, other.images, strict=True):
        np.testing.assert_allclose(a.T_cam_world, b.T_cam_world, atol=1e-12)
        np.testing.assert_array_equal(a.pixels, b.pixels)
        np.testing.assert_array_equal(a.point_ids, b.point_ids)


def test_images_without_points_have_an_empty_line(small_frames, tmp_path: Path):
    model = read_model(colmap(tmp_path, small_frames[:3], points=0) / "sparse/0")
    assert len(model.images) == 3 and all(len(image.pixels) == 0 for image in model.images)
    assert len(model.point_ids) == 0


def test_names_may_have_blanks(small_frames, tmp_path: Path):
    file = colmap(tmp_path, small_frames[:1]) / "sparse/0/images.txt"
    file.write_text(file.read_text().replace("view_0.png", "left camera/view 0.png"))
    assert read_model(file.parent).images[0].name == "left camera/view 0.png"


def test_points_may_be_missing(small_frames, tmp_path: Path):
    folder = colmap(tmp_path, small_frames[:1]) / "sparse/0"
    (folder / "points3D.txt").unlink()
    assert has_model(folder) and len(read_model(folder).point_ids) == 0
    (folder / "images.txt").unlink()
    assert not has_model(folder)
    with pytest.raises(FileError, match=r"images.txt is missing"):
        read_model(folder)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_cut_binary_files_are_named(small_frames, tmp_path: Path, name: str, share: float):
    file = colmap(tmp_path, small_frames[:2], binary=True) / f"sparse/0/{name}.bin"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=rf"{name}.bin is cut") as caught:
        read_model(file.parent)
    assert caught.value.code is ErrorCode.FRAME_INVALID


@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("images", " 3 view_0.png", " 3.5 view_0.png", "images.txt"),
        ("images", " 3 view_0.png", "", "images.txt"),
        ("images", " -1", "", "images.txt"),
        ("cameras", "PINHOLE 64", "PINHOLE wide", "cameras.txt"),
        ("cameras", " 48 ", " ", "cameras.txt"),
        ("points3D", " 9 9 9 ", " x", ""),
        ("points3D", "7 ", "seven ", "points3D.txt"),
    ],
)
def test_broken_text_is_named(small_frames, tmp_path: Path, name: str, old: str, new: str, word: str):
    file = colmap(tmp_path, small_frames[:2]) / f"sparse/0/{name}.txt"
    changed = file.read_text().replace(old, new, 1)
    file.write_text(changed)
    if word:
        with pytest.raises(InputError, match=rf"{word} is cut, or is not what COLMAP writes"):
            read_model(file.parent)
    else:
        assert len(read_model(file.parent).point_ids) == 80


def test_a_quaternion_of_another_length_is_none(small_frames, tmp_path: Path):
    file = colmap(tmp_path, small_frames[:1]) / "sparse/0/images.txt"
    file.write_text("1 0.5 0 0 0 0 0 0 3 view_0.png\n\n")
    with pytest.raises(InputError, match="no unit quaternion"):
        read_model(file.parent)


def test_numbers_of_unknown_camera_models_are_named(small_frames, tmp_path: Path):
    file = colmap(tmp_path, small_frames[:1], binary=True) / "sparse/0/cameras.bin"
    data = bytearray(file.read_bytes())
    data[12] = 99
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"camera model 99; known are 0 SIMPLE_PINHOLE") as caught:
        read_model(file.parent)
    assert caught.value.code is ErrorCode.DISTORTION_UNSUPPORTED
