"""Scenes of BOP: millimetres, scales of depth, poses from world to camera, masks of objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags.layouts import assert_same, bop, image

from sparse_recon.bags.bop_scene import BopScene
from sparse_recon.bags.folders import open_folder
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("scale", [0.1, 0.05])
def test_depth_is_read_in_the_scale_of_each_image(small_frames, tmp_path: Path, scale: float):
    frames = list(open_folder(bop(tmp_path, small_frames[:3], scale)))
    assert_same(frames, small_frames[:3])
    folder = open_folder(tmp_path, DepthConfig(unit_m=2e-3 * scale))
    assert np.nanmax(next(iter(folder)).depth_m) > 1.5 * np.nanmax(frames[0].depth_m[frames[0].depth_m < 1.5])


@pytest.mark.parametrize("folder", ["rgb", "gray"])
def test_jpeg_and_grey_images_are_read(small_frames, tmp_path: Path, folder: str):
    smooth = replace(small_frames[0], rgb=np.full((48, 64, 3), (90, 120, 30), np.uint8))
    bop(tmp_path, [smooth], suffix="jpg")
    if folder == "gray":
        image(tmp_path / "gray/000000.png", np.full((48, 64), 77, np.uint8))
        (tmp_path / "rgb/000000.jpg").unlink()
    (frame,) = open_folder(tmp_path)
    np.testing.assert_allclose(frame.rgb[5, 5], (77, 77, 77) if folder == "gray" else (90, 120, 30), atol=3)


def test_masks_are_labels_by_the_id_of_the_object(small_frames, tmp_path: Path):
    labels = np.zeros((48, 64), np.int32)
    labels[10:20, 10:20], labels[30:40, 30:50] = 1, 3
    frames = list(open_folder(bop(tmp_path, [replace(f, labels=labels) for f in small_frames[:2]])))
    for frame in frames:
        np.testing.assert_array_equal(frame.labels, np.where(labels, labels + 10, 0))


def test_objects_of_one_id_are_not_told_apart(small_frames, tmp_path: Path):
    bop(tmp_path, [replace(small_frames[0], labels=np.arange(48 * 64, dtype=np.int32).reshape(48, 64) % 3)])
    edited(tmp_path / "scene_gt.json", lambda truth: truth.update({"0": [{"obj_id": 5}, {"obj_id": 5}]}))
    folder = open_folder(tmp_path)
    (frame,) = folder
    assert frame.labels is None and "several objects of one obj_id" in folder.warnings[0]


def test_a_mask_that_is_missing_costs_its_frame(small_frames, tmp_path: Path):
    labels = np.ones((48, 64), np.int32)
    bop(tmp_path, [replace(f, labels=labels) for f in small_frames[:2]])
    (tmp_path / "mask_visib/000001_000000.png").unlink()
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 1 and "000001_000000.png" in folder.warnings[0]


def test_one_image_needs_no_pose_and_its_camera_is_the_world(small_frames, tmp_path: Path):
    (frame,) = open_folder(bop(tmp_path, small_frames[:1], posed=False))
    np.testing.assert_array_equal(frame.T_world_cam, np.eye(4))


def test_several_images_without_poses_are_refused(small_frames, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"no cam_R_w2c and cam_t_w2c.* its 3 images .*folder with one image"
    ) as caught:
        open_folder(bop(tmp_path, small_frames[:3], posed=False))
    assert caught.value.code is ErrorCode.FRAME_INVALID


def test_an_image_without_pose_among_others_costs_itself(small_frames, tmp_path: Path):
    bop(tmp_path, small_frames[:3])
    edited(tmp_path / "scene_camera.json", lambda cameras: cameras["1"].pop("cam_R_w2c"))
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 2 and "entry 1 has no cam_R_w2c" in folder.warnings[0]


def test_images_and_entries_without_each_other_are_told(small_frames, tmp_path: Path):
    bop(tmp_path, small_frames[:4])
    edited(tmp_path / "scene_camera.json", lambda cameras: cameras.pop("2"))
    (tmp_path / "rgb/000003.png").unlink()
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 2
    assert folder.counts == {ErrorCode.FRAME_INVALID: 1, ErrorCode.INPUT_MISSING: 1}


def test_several_sensors_are_named(small_frames, tmp_path: Path):
    bop(tmp_path, small_frames[:1])
    (tmp_path / "scene_camera.json").rename(tmp_path / "scene_camera_photoneo.json")
    with pytest.raises(FileError, match=r"scene_camera_photoneo.json, of several sensors"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"cam_K": [1, 2, 3]}, "entry 0: cam_K must hold 9 finite numbers"),
        ({"cam_K": "wide"}, "cam_K must hold 9"),
        ({"cam_K": [60, 0, 0, 0, 60, 0, 31, 23, 1]}, "transpose"),
        ({"cam_K": [60, 0, 131, 0, 60, 23, 0, 0, 1]}, "lies outside"),
        ({"cam_K": [60, 9, 31, 0, 60, 23, 0, 0, 1]}, r"K must be \[fx 0 cx"),
        ({"cam_K": [0, 0, 31, 0, 60, 23, 0, 0, 1]}, "focal"),
        ({"depth_scale": None}, "depth_scale"),
        ({"depth_scale": 0}, "depth_scale"),
        ({"depth_scale": 1e9}, "depth_scale"),
        ({"cam_t_w2c": [0, 0]}, "cam_t_w2c must hold 3"),
        ({"cam_R_w2c": [2, 0, 0, 0, 1, 0, 0, 0, 1]}, "rigid"),
    ],
)
def test_what_bop_does_not_write_is_named(small_frames, tmp_path: Path, changes: dict, word: str):
    bop(tmp_path, small_frames[:1])
    edited(tmp_path / "scene_camera.json", lambda cameras: cameras["0"].update(changes))
    with pytest.raises(InputError, match=word):
        list(BopScene(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", '{"a": {}}', '{"0": []}', "[" * 100000, "\xff", '{"0": {}}'])
def test_broken_files_are_named(small_frames, tmp_path: Path, text: str):
    bop(tmp_path, small_frames[:2])
    (tmp_path / "scene_camera.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"scene_camera\.json"):
        list(BopScene(tmp_path))


def test_a_scene_without_images_is_named(small_frames, tmp_path: Path):
    (tmp_path / "scene_camera.json").write_text("{}")
    with pytest.raises(FileError, match="hold no images"):
        open_folder(tmp_path)
