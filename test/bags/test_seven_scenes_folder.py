"""Sequences of 3DMatch and 7-Scenes: what was not measured, and intrinsics above them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bags.layouts import image, seven_scenes, text

from sparse_recon.bags.folders import open_folder
from sparse_recon.bags.seven_scenes_folder import SevenScenesFolder
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError


def test_the_largest_count_says_that_nothing_was_measured(small_frames, tmp_path: Path):
    depth_m = small_frames[0].depth_m.copy()
    depth_m[:10] = np.nan
    seven_scenes(tmp_path, [replace(small_frames[0], depth_m=depth_m)])
    (frame,) = open_folder(tmp_path, DepthConfig(far_m=100.0))
    np.testing.assert_allclose(frame.depth_m, depth_m, atol=1e-6)


def test_intrinsics_of_a_scene_lie_above_its_sequences(small_frames, tmp_path: Path):
    for name in ("seq-01", "seq-02"):
        seven_scenes(tmp_path / name, small_frames[:2], K_above=True)
    folder = open_folder(tmp_path / "seq-02")
    assert type(folder) is SevenScenesFolder and len(list(folder)) == 2
    with pytest.raises(FileError, match=r"name one of them, such as \S*seq-01 or \S*seq-02"):
        open_folder(tmp_path)


def test_missing_intrinsics_are_asked_for(small_frames, tmp_path: Path):
    seven_scenes(tmp_path, small_frames[:1])
    (tmp_path / "camera-intrinsics.txt").unlink()
    with pytest.raises(FileError, match=r"camera-intrinsics.txt is missing.*7-Scenes come without") as caught:
        list(open_folder(tmp_path))
    assert caught.value.code is ErrorCode.INPUT_MISSING


def test_lost_poses_are_told(small_frames, tmp_path: Path):
    seven_scenes(tmp_path, small_frames[:2])
    text(tmp_path / "frame-000001.pose.txt", np.full((4, 4), np.nan))
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 1 and "frame-000001.pose.txt is not finite" in folder.warnings[0]


def test_depth_of_another_size_needs_intrinsics_of_its_own(small_frames, tmp_path: Path):
    flat = replace(small_frames[0], depth_m=np.full((48, 64), 1.25, np.float32))
    seven_scenes(tmp_path, [flat])
    image(tmp_path / "frame-000000.depth.png", np.full((24, 32), 1250, np.uint16))
    with pytest.raises(InputError, match=r"is 32x24 px and colour is 64x48; put .*intrinsics.depth.K.txt") as caught:
        list(open_folder(tmp_path))
    assert caught.value.code is ErrorCode.SIZE_MISMATCH
    text(tmp_path / "intrinsics.depth.K.txt", np.array([[30, 0, 15.5], [0, 30, 11.5], [0, 0, 1]]))
    (frame,) = open_folder(tmp_path)
    assert frame.depth_m.shape == (48, 64) and np.all(frame.depth_m == np.float32(1.25))


def test_frames_without_depth_are_told(small_frames, tmp_path: Path):
    seven_scenes(tmp_path, small_frames[:3])
    (tmp_path / "frame-000001.depth.png").unlink()
    folder = open_folder(tmp_path)
    assert [frame.depth_m is None for frame in folder] == [False, True, False]
    assert folder.warnings == ["1 of 3 frames have no depth image, the first: frame-000001.color.png"]
