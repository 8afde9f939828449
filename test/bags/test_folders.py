"""Folders as data sets and tools write them: units, axes, stamps and intrinsics of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bags.layouts import FIRST_S, assert_same, bop, colmap, image, nerfstudio, scannet, seven_scenes, tum
from scipy.spatial.transform import Rotation

from sparse_recon.bags.bop_scene import BopScene
from sparse_recon.bags.colmap_folder import ColmapFolder
from sparse_recon.bags.folders import open_folder
from sparse_recon.bags.frames_dir import FramesFolder
from sparse_recon.bags.nerfstudio_folder import NerfstudioFolder
from sparse_recon.bags.scannet_folder import ScanNetFolder
from sparse_recon.bags.seven_scenes_folder import SevenScenesFolder
from sparse_recon.bags.tum_folder import TumFolder
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import ErrorCode, FileError, InputError

WRITERS = {
    tum: TumFolder,
    nerfstudio: NerfstudioFolder,
    bop: BopScene,
    scannet: ScanNetFolder,
    seven_scenes: SevenScenesFolder,
    colmap: ColmapFolder,
}


@pytest.mark.parametrize(("write", "kind"), WRITERS.items(), ids=lambda item: item.__name__)
def test_layouts_are_guessed_and_read(small_frames, tmp_path: Path, write, kind: type):
    folder = open_folder(write(tmp_path, small_frames[:4]))
    assert type(folder) is kind
    assert_same(list(folder), small_frames[:4])
    assert folder.counts.total() == 0


def test_a_layout_can_be_named(small_frames, tmp_path: Path):
    nerfstudio(tum(tmp_path, small_frames[:2]), small_frames[:3])
    assert len(open_folder(tmp_path, layout="nerfstudio")) == 3 and len(open_folder(tmp_path, layout="tum")) == 2
    with pytest.raises(FileError, match=r"no \*\.color\.png .*groundtruth.txt"):
        open_folder(tmp_path, layout="frames")


@pytest.mark.parametrize("other", [tum, bop, scannet, colmap, None], ids=lambda item: getattr(item, "__name__", "own"))
def test_a_folder_of_several_layouts_is_refused_with_what_was_found(small_frames, tmp_path: Path, other):
    nerfstudio(tmp_path, small_frames[:1])
    other(tmp_path, small_frames[:1]) if other else image(tmp_path / "0.color.png", small_frames[0].rgb)
    with pytest.raises(
        FileError, match=r"could have several formats: .*nerfstudio \(transforms.json\).*--format"
    ) as got:
        open_folder(tmp_path)
    assert got.value.code is ErrorCode.USAGE


def test_sequences_of_3dmatch_are_told_from_our_own_files(small_frames, tmp_path: Path):
    seven_scenes(tmp_path, small_frames[:1])
    assert type(open_folder(tmp_path)) is SevenScenesFolder
    (tmp_path / "camera-intrinsics.txt").rename(tmp_path / "intrinsics.K.txt")
    assert type(open_folder(tmp_path)) is FramesFolder


def test_a_folder_above_names_those_with_frames(small_frames, tmp_path: Path):
    bop(tmp_path / "ycbv" / "test" / "000048", small_frames[:1])
    bop(tmp_path / "ycbv" / "test" / "000050", small_frames[:1])
    for folder in (tmp_path / "ycbv", tmp_path / "ycbv" / "test"):
        with pytest.raises(FileError, match=r"name one of them, such as \S*test/000048 or \S*test/000050") as caught:
            open_folder(folder)
        assert caught.value.code is ErrorCode.INPUT_MISSING


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a.mcap", "sparse_recon replay"),
        ("scene0000_00.sens", "reader.py"),
        ("000000_000000.camera.json", "scene-wise"),
        ("key_to_shard.json", "webdataset"),
        ("notes.md", r"it holds notes.md. Accepted are frames .*TUM.*nerfstudio.*BOP.*ScanNet.*3DMatch.*COLMAP"),
    ],
)
def test_what_is_no_folder_of_frames_is_named_with_what_to_do(tmp_path: Path, name: str, word: str):
    (tmp_path / name).touch()
    with pytest.raises(FileError, match=word):
        open_folder(tmp_path)


@pytest.mark.parametrize("write", [write for write in WRITERS if write is not bop], ids=lambda item: item.__name__)
def test_poses_of_another_unit_can_be_said(small_frames, tmp_path: Path, write):
    write(tmp_path, small_frames[:2])
    half = list(open_folder(tmp_path, pose_unit_m=0.5))
    for frame, true in zip(half, small_frames, strict=False):
        np.testing.assert_allclose(frame.T_world_cam[:3, 3], 0.5 * true.T_world_cam[:3, 3], atol=1e-6)
        np.testing.assert_allclose(frame.T_world_cam[:3, :3], true.T_world_cam[:3, :3], atol=1e-6)


@pytest.mark.parametrize("write", WRITERS, ids=lambda item: item.__name__)
def test_every_file_that_is_missing_costs_its_frame_and_is_told(small_frames, tmp_path: Path, write):
    write(tmp_path, small_frames[:3])
    depths = sorted(p for p in tmp_path.rglob("*.png") if "depth" in str(p.relative_to(tmp_path)))
    depths[1].unlink() if write is not seven_scenes else depths[1].write_bytes(b"cut")
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 2 and folder.counts.total() == 1
    (warning,) = folder.warnings
    assert warning.startswith("1 of 3 frames could not be used") and folder.last_reason in warning
    assert Path(depths[1]).name.split(".")[0] in warning


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


def test_depth_of_another_view_is_refused(small_frames, tmp_path: Path):
    nerfstudio(tmp_path, small_frames[:1])
    image(tmp_path / "depths/f_0.png", np.full((48, 48), 700, np.uint16))
    with pytest.raises(InputError, match=r"depth of 48x48 px cannot show the same view as colour of 64x48") as caught:
        list(open_folder(tmp_path))
    assert caught.value.code is ErrorCode.SIZE_MISMATCH


def test_distortion_of_nerfstudio_is_taken_out(small_frames, tmp_path: Path):
    straight = next(iter(open_folder(nerfstudio(tmp_path / "a", small_frames[:1]))))
    bent = next(iter(open_folder(nerfstudio(tmp_path / "b", small_frames[:1], k1=-0.3))))
    fisheye = next(
        iter(open_folder(nerfstudio(tmp_path / "c", small_frames[:1], camera_model="OPENCV_FISHEYE", k1=0.1)))
    )
    assert not np.array_equal(bent.rgb, straight.rgb) and not np.array_equal(fisheye.rgb, bent.rgb)
    plain = next(iter(open_folder(nerfstudio(tmp_path / "d", small_frames[:1], camera_model="OPENCV_FISHEYE"))))
    assert not np.array_equal(plain.rgb, straight.rgb)  # a fisheye lens bends without coefficients too
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


def test_names_that_no_file_has_cost_their_frame(small_frames, tmp_path: Path):
    tum(tmp_path, small_frames[:3])
    lines = (tmp_path / "depth.txt").read_text()
    (tmp_path / "depth.txt").write_text(lines.replace("depth/1305031102.110000", "depth/\0"))
    folder = open_folder(tmp_path)
    assert len(list(folder)) == 2 and folder.counts == {ErrorCode.INPUT_MISSING: 1}


def test_principal_point_of_nerfstudio_counts_from_the_corner_of_the_first_pixel(tmp_path: Path, small_frames):
    """A camera without cx has its principal point in the middle of the picture, and so has one that says so."""
    folder = nerfstudio(tmp_path, small_frames[:1])
    width = small_frames[0].intrinsics.width
    record = json.loads((folder / "transforms.json").read_text())
    for change in ({"cx": width / 2}, {"cx": None}):
        entries = {key: value for key, value in (record | change).items() if value is not None}
        (folder / "transforms.json").write_text(json.dumps(entries))
        (frame,) = open_folder(folder)
        assert frame.intrinsics.cx == pytest.approx((width - 1) / 2)
