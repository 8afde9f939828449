"""Folders as data sets and tools write them: units, axes, stamps and intrinsics of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sparse_recon.bags.folders import open_folder
from sparse_recon.bags.frames_dir import FramesFolder
from sparse_recon.bags.nerfstudio_folder import NerfstudioFolder
from sparse_recon.bags.tum_folder import TumFolder
from sparse_recon.config.session_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.types import Frame

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
FIRST_S = 1305031102.1


def image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def tum(folder: Path, frames: Sequence[Frame], unit_m: float = 1 / 5000, pose_step_s: float = 0.1) -> Path:
    lists: dict[str, list[str]] = {name: ["# made for a test"] for name in ("rgb", "depth", "groundtruth")}
    for k, frame in enumerate(frames):
        stamp_s = FIRST_S + 0.1 * k
        image(folder / f"rgb/{stamp_s:.6f}.png", frame.rgb[..., ::-1])
        image(folder / f"depth/{stamp_s + 0.01:.6f}.png", np.round(frame.depth_m / unit_m).astype(np.uint16))
        lists["rgb"].append(f"{stamp_s:.6f} rgb/{stamp_s:.6f}.png")
        lists["depth"].append(f"{stamp_s + 0.01:.6f} depth/{stamp_s + 0.01:.6f}.png")
        quat = Rotation.from_matrix(frame.T_world_cam[:3, :3]).as_quat()
        numbers = " ".join(f"{v:.9f}" for v in (*frame.T_world_cam[:3, 3], *quat))
        lists["groundtruth"].append(f"{FIRST_S + pose_step_s * k:.4f} {numbers}")
    for name, rows in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    np.savetxt(folder / "intrinsics.K.txt", frames[0].intrinsics.K)
    return folder


def nerfstudio(folder: Path, shots: Sequence[Frame], shrunk: int = 1, **more: object) -> Path:
    entries = []
    for k, frame in enumerate(shots):
        image(folder / f"images/f_{k}.png", frame.rgb[..., ::-1])
        image(folder / f"depths/f_{k}.png", np.round(frame.depth_m * 1000).astype(np.uint16)[::shrunk, ::shrunk])
        T = (frame.T_world_cam @ OPENGL).tolist()
        entries.append(
            {"file_path": f"images/f_{k}.png", "depth_file_path": f"depths/f_{k}.png", "transform_matrix": T}
        )
    camera = shots[0].intrinsics
    record = {"camera_model": "OPENCV", "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
    record |= {"w": camera.width, "h": camera.height, "frames": entries}
    (folder / "transforms.json").write_text(json.dumps(record | more))
    return folder


def assert_same(frames: Sequence[Frame], truth: Sequence[Frame]) -> None:
    assert len(frames) == len(truth)
    for frame, true in zip(frames, truth, strict=True):
        np.testing.assert_array_equal(frame.rgb, true.rgb)
        np.testing.assert_allclose(frame.depth_m, true.depth_m, atol=1e-4)  # half a count of TUM
        np.testing.assert_allclose(frame.T_world_cam, true.T_world_cam, atol=1e-6)
        np.testing.assert_allclose(frame.intrinsics.K, true.intrinsics.K, atol=1e-9)
    assert sorted({frame.stamp_ns for frame in frames}) == [frame.stamp_ns for frame in frames]


@pytest.mark.parametrize(("write", "kind"), [(tum, TumFolder), (nerfstudio, NerfstudioFolder)])
def test_layouts_are_guessed_and_read(small_frames, tmp_path: Path, write, kind: type):
    folder = open_folder(write(tmp_path, small_frames[:4]))
    assert type(folder) is kind
    assert_same(list(folder), small_frames[:4])
    assert folder.counts.total() == 0


def test_a_layout_can_be_named(small_frames, tmp_path: Path):
    nerfstudio(tum(tmp_path, small_frames[:2]), small_frames[:3])
    assert len(open_folder(tmp_path)) == 3 and len(open_folder(tmp_path, layout="tum")) == 2
    with pytest.raises(FileError, match=r"groundtruth.txt .*transforms.json"):
        open_folder(tmp_path, layout="frames")


def test_our_own_files_come_first(small_frames, tmp_path: Path):
    nerfstudio(tmp_path, small_frames[:2])
    image(tmp_path / "0.color.png", small_frames[0].rgb)
    assert type(open_folder(tmp_path)) is FramesFolder


def test_the_unit_of_depth_can_be_said(small_frames, tmp_path: Path):
    folder = tum(tmp_path, small_frames[:2], unit_m=0.001)
    assert_same(list(open_folder(folder, DepthConfig(unit_m=0.001))), small_frames[:2])


def test_poses_between_two_of_the_trajectory_are_interpolated(small_frames, tmp_path: Path):
    ends = [replace(small_frames[0], T_world_cam=np.eye(4)) for _ in range(3)]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_euler("z", 40, degrees=True).as_matrix(), (0.4, 0.0, 0.0)
    ends[1] = replace(ends[1], T_world_cam=T)
    ends[2] = replace(ends[2], T_world_cam=T)
    middle = list(open_folder(tum(tmp_path, ends, pose_step_s=0.2)))[1].T_world_cam
    assert middle[:3, 3] == pytest.approx([0.2, 0, 0], abs=1e-5)  # stamps of today have steps of 0.2 us
    assert Rotation.from_matrix(middle[:3, :3]).as_euler("xyz", degrees=True) == pytest.approx([0, 0, 20], abs=1e-3)


def test_images_without_a_pose_or_depth_cost_themselves(small_frames, tmp_path: Path):
    tum(tmp_path, small_frames[:5])
    for name, row in (("groundtruth.txt", -1), ("depth.txt", 1)):
        rows = (tmp_path / name).read_text().splitlines()
        del rows[row]
        (tmp_path / name).write_text("\n".join(rows))
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 3
    assert folder.counts == {ErrorCode.STAMP_UNMATCHED: 1, ErrorCode.TF_EXTRAPOLATION: 1}


def test_unknown_intrinsics_of_tum_are_asked_for(small_frames, tmp_path: Path):
    tum(tmp_path, small_frames[:1])
    (tmp_path / "intrinsics.K.txt").unlink()
    with pytest.raises(FileError, match=r"intrinsics.K.txt is missing; it must hold 3x3 numbers"):
        list(open_folder(tmp_path))


def test_the_cameras_of_the_benchmark_are_known(small_frames, tmp_path: Path):
    whole = replace(
        small_frames[0],
        rgb=np.zeros((480, 640, 3), np.uint8),
        depth_m=np.ones((480, 640), np.float32),
        intrinsics=replace(small_frames[0].intrinsics, width=640, height=480),
    )
    tum(tmp_path / "rgbd_dataset_freiburg2_desk", [whole])
    (tmp_path / "rgbd_dataset_freiburg2_desk" / "intrinsics.K.txt").unlink()
    (frame,) = open_folder(tmp_path / "rgbd_dataset_freiburg2_desk")
    assert frame.intrinsics.fx == 520.9 and frame.intrinsics.cy == 249.7


def test_smaller_depth_is_brought_to_colour(small_frames, tmp_path: Path):
    plane = replace(small_frames[0], depth_m=np.full((48, 64), 1.25, np.float32))
    (frame,) = open_folder(nerfstudio(tmp_path, [plane], shrunk=2))
    assert frame.depth_m.shape == (48, 64) and np.all(frame.depth_m == np.float32(1.25))


def test_distortion_of_nerfstudio_is_taken_out(small_frames, tmp_path: Path):
    straight = next(iter(open_folder(nerfstudio(tmp_path / "a", small_frames[:1]))))
    bent = next(iter(open_folder(nerfstudio(tmp_path / "b", small_frames[:1], k1=-0.3))))
    fisheye = next(
        iter(open_folder(nerfstudio(tmp_path / "c", small_frames[:1], camera_model="OPENCV_FISHEYE", k1=0.1)))
    )
    assert not np.array_equal(bent.rgb, straight.rgb) and not np.array_equal(fisheye.rgb, bent.rgb)
    assert bent.rgb[24, 32].tolist() == pytest.approx(straight.rgb[24, 32].tolist(), abs=60)


def test_scale_and_unit_of_nerfstudio(small_frames, tmp_path: Path):
    (frame,) = open_folder(nerfstudio(tmp_path, small_frames[:1], applied_scale=0.5, depth_unit_scale_factor=0.0005))
    np.testing.assert_allclose(frame.T_world_cam[:3, 3], 2.0 * small_frames[0].T_world_cam[:3, 3])
    np.testing.assert_allclose(frame.depth_m, 0.5 * small_frames[0].depth_m, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"frames": []}, "lists no frames"),
        ({"frames": 3}, "not what nerfstudio writes"),
        ({"frames": [{}]}, "file_path"),
        ({"frames": [{"file_path": "images/f_0.png"}]}, "transform_matrix"),
        ({"fl_x": "wide"}, "fl_x must be a number"),
        ({"fl_x": 0.0, "fl_y": 0.0}, "focal"),
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR.*accepted are"),
        ({"applied_scale": 0.0}, "applied_scale"),
    ],
)
def test_what_nerfstudio_does_not_write_is_named(small_frames, tmp_path: Path, changes: dict, word: str):
    nerfstudio(tmp_path, small_frames[:1], **changes)
    with pytest.raises((FileError, InputError), match=word):
        list(open_folder(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100000, '{"frames": "abc"}', "\xff"])
def test_broken_json_is_named(tmp_path: Path, text: str):
    (tmp_path / "transforms.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="nerfstudio"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("rgb.txt", "abc rgb/1.png", "no stamp"),
        ("rgb.txt", "# nothing", "must hold rows"),
        ("depth.txt", "1.0", "2 columns"),
        ("groundtruth.txt", "1 2 3", "8 columns"),
        ("groundtruth.txt", "1 2 3 4 5 6 7 x", "groundtruth.txt"),
        ("groundtruth.txt", "#", "no poses"),
        ("groundtruth.txt", f"{FIRST_S} 0 0 0 0 0 0 0", "pose"),
    ],
)
def test_broken_lists_are_named(small_frames, tmp_path: Path, name: str, text: str, word: str):
    tum(tmp_path, small_frames[:1])
    (tmp_path / name).write_text(text)
    with pytest.raises((FileError, InputError), match=word):
        list(open_folder(tmp_path))
