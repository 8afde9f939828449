"""Exports of ScanNet: two cameras of different sizes in one place, and poses that were lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bags.layouts import assert_same, image, scannet, text

from sparse_recon.bags.folders import open_folder
from sparse_recon.bags.scannet_folder import ScanNetFolder
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.geometry.cameras import pixel_rays, unproject_depth
from sparse_recon.geometry.poses import look_at, transform_points
from sparse_recon.types import CameraIntrinsics, Float32, Frame

COLOR = CameraIntrinsics(162, 121, np.array([[146.0, 0, 81.5], [0, 146.3, 60.4], [0, 0, 1]]))
DEPTH = CameraIntrinsics(80, 60, np.array([[72.0, 0, 39.9], [0, 72.2, 30.3], [0, 0, 1]]))
EYE = look_at((0.1, -0.4, 0.8), (0.0, 0.0, 0.0))


def floor_m(camera: CameraIntrinsics) -> Float32:
    """Depth of the plane z = 0 as a camera at EYE sees it."""
    rays = pixel_rays(camera) @ EYE[:3, :3].T.astype(np.float32)
    return np.asarray(-EYE[2, 3] / rays[..., 2], np.float32)


def frame(camera: CameraIntrinsics) -> Frame:
    return Frame(np.full((camera.height, camera.width, 3), 80, np.uint8), floor_m(camera), camera, EYE, 1)


def test_depth_of_its_own_camera_is_resampled_to_colour(tmp_path: Path):
    (read,) = open_folder(scannet(tmp_path, [frame(COLOR)], depths=[frame(DEPTH)]))
    np.testing.assert_allclose(read.intrinsics.K, COLOR.K)
    points = transform_points(EYE, unproject_depth(read.depth_m, read.intrinsics))
    assert len(points) > 0.95 * COLOR.width * COLOR.height
    # Nearest pixels of 14 mrad: the plane is hit to half a pixel's step of depth, and on the whole without a shift.
    assert np.abs(points[:, 2]).max() < 0.01 and abs(points[:, 2].mean()) < 1e-3


def test_images_are_in_the_order_of_their_numbers(small_frames, tmp_path: Path):
    assert_same(list(open_folder(scannet(tmp_path, small_frames[:12], step=10))), small_frames[:12])


def test_the_25k_frames_of_the_benchmark_are_read(small_frames, tmp_path: Path):
    scannet(tmp_path, small_frames[:2])
    for kind in ("color", "depth"):
        (tmp_path / f"intrinsic/intrinsic_{kind}.txt").rename(tmp_path / f"intrinsics_{kind}.txt")
    assert_same(list(open_folder(tmp_path)), small_frames[:2])


def test_lost_poses_cost_their_frames_and_are_told(small_frames, tmp_path: Path):
    scannet(tmp_path, small_frames[:3])
    (tmp_path / "pose/20.txt").write_text("-inf -inf -inf -inf\n" * 4)
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 2 and folder.counts == {ErrorCode.FRAME_INVALID: 1}
    assert "pose/20.txt is not finite: the camera's pose was lost there" in folder.warnings[0]


@pytest.mark.parametrize("part", ["color/20.png", "depth/20.png", "pose/20.txt"])
def test_each_missing_file_is_named(small_frames, tmp_path: Path, part: str):
    scannet(tmp_path, small_frames[:3])
    (tmp_path / part).unlink()
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 2 and part.rpartition(".")[0] in folder.warnings[0]


@pytest.mark.parametrize("kind", ["color", "depth"])
def test_intrinsics_of_another_size_are_refused(small_frames, tmp_path: Path, kind: str):
    scannet(tmp_path, small_frames[:1])
    K = np.eye(4)
    K[:3, :3] = np.diag([2, 2, 1]) @ small_frames[0].intrinsics.K
    text(tmp_path / f"intrinsic/intrinsic_{kind}.txt", K + np.diag([0, 0, 0, 0]))
    K[0, 2] += 2.0
    text(tmp_path / f"intrinsic/intrinsic_{kind}.txt", K)
    with pytest.raises(InputError, match=rf"intrinsic_{kind}.txt: the principal point .* lies outside") as caught:
        list(open_folder(tmp_path))
    assert caught.value.code is ErrorCode.INTRINSICS_INVALID


def test_cameras_in_two_places_are_refused(small_frames, tmp_path: Path):
    scannet(tmp_path, small_frames[:1])
    T = np.eye(4)
    T[0, 3] = 0.02
    text(tmp_path / "intrinsic/extrinsic_depth.txt", T)
    with pytest.raises(InputError, match=r"extrinsic_depth.txt is not the identity"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("intrinsic/intrinsic_depth.txt", None, r"intrinsic_depth.txt is missing; it must hold 4x4"),
        ("intrinsic/intrinsic_color.txt", "1 2 3", "4x4 numbers, got 3"),
        ("pose/0.txt", "a", "pose/0.txt must hold 4x4 numbers"),
    ],
)
def test_broken_files_are_named(small_frames, tmp_path: Path, name: str, content: str | None, word: str):
    scannet(tmp_path, small_frames[:1])
    (tmp_path / name).unlink()
    if content:
        (tmp_path / name).write_text(content)
    with pytest.raises((FileError, InputError), match=word):
        list(open_folder(tmp_path))


def test_missing_folders_are_named(tmp_path: Path):
    image(tmp_path / "color/0.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(FileError, match=r"has no depth/ and no pose/"):
        ScanNetFolder(tmp_path)
