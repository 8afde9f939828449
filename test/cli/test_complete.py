"""Folders of frames: completed, and turned into recordings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from bags import layouts

from sparse_recon.bags.frames_bag import depth_millimetres
from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.cli.main import main
from sparse_recon.lab.simulate.recording import Recording
from sparse_recon.lab.simulate.truth import nearest_object, surface_distance

FAST = ["--no-picture", "--set", "evidence.grid=32", "--set", "evidence.fine_grid=48"]


@pytest.fixture(scope="module")
def folder(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames")
    for k, frame in enumerate(recording.frames):
        cv2.imwrite(str(path / f"{k}.color.png"), frame.rgb[..., ::-1])
        cv2.imwrite(str(path / f"{k}.depth.png"), depth_millimetres(frame.depth_m))
        np.savetxt(path / f"{k}.pose.txt", frame.T_world_cam)
    np.savetxt(path / "intrinsics.K.txt", recording.frames[0].intrinsics.K)
    return path


def test_folder_is_completed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["complete", str(folder), "--out", str(tmp_path), "--json", *FAST]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [o["code"] for o in report["objects"]] == ["OK", "OK"]
    assert (tmp_path / "object_1" / "cloud.ply").is_file()
    assert report["up_world"] == [0, 0, 0]


def test_cut_file_costs_its_frame_only(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(folder, tmp_path / "frames")
    cut = tmp_path / "frames" / "1.depth.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    words = ["--json", "--max-objects", "1", *FAST]
    assert main(["complete", str(tmp_path / "frames"), "--out", str(tmp_path / "out"), *words]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["frames_left_out"] == {"SIZE_MISMATCH": 1} and report["frames_kept"] == 2
    assert "1.depth.png" in captured.err
    assert main(["bag-from-frames", str(tmp_path / "frames"), str(tmp_path / "bag"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 2


@pytest.mark.parametrize("words", [["--up", "0", "0", "1"], ["--set", "up_world=[0, 0, 1]"]])
def test_up_can_be_said(folder: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["complete", str(folder), "--out", str(tmp_path), "--json", "--max-objects", "1", *FAST, *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["up_world"] == [0, 0, 1] and len(report["objects"]) == 1


def test_folder_without_frames_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["complete", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["name"] == "INPUT_MISSING"


def test_box_frame_of_a_folder_can_only_be_the_world(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    box = ["--box", "0", "0", "0", "1", "1", "1", "--box-frame", "base_link"]
    assert main(["complete", str(folder), "--out", str(tmp_path), *box]) == 2
    assert "base_link" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["nan", "inf", "1e9", "1e300"])
@pytest.mark.parametrize("place", [0, 5])
def test_box_of_impossible_numbers_is_bad_usage(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str, place: int
):
    numbers = ["0", "0", "0", "1", "1", "1"]
    numbers[place] = number
    assert main(["complete", str(folder), "--out", str(tmp_path / "out"), "--json", "--box", *numbers]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["name"] == "USAGE" and "box" in error["message"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["bag", "one.mcap", "one.db3"])
def test_recording_of_a_folder_is_read_again(folder: Path, recording: Recording, tmp_path: Path, name: str):
    assert main(["bag-from-frames", str(folder), str(tmp_path / name)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).is_dir() == (name == "bag")
    with Bag(tmp_path / name) as bag:
        frames = list(FrameReader(bag))
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[1].rgb, recording.frames[1].rgb)


@pytest.mark.parametrize("name", ["bag", "one.mcap"])
def test_older_recording_is_kept_unless_told(folder: Path, tmp_path: Path, name: str):
    arguments = ["bag-from-frames", str(folder), str(tmp_path / name)]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite"]) == 0


def test_the_format_is_guessed_said_and_can_be_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    entries = []
    for k in range(3):
        T = np.loadtxt(folder / f"{k}.pose.txt") @ np.diag([1.0, -1.0, -1.0, 1.0])
        files = {"file_path": f"{k}.rgb.png", "depth_file_path": f"{k}.depth.png"}
        for new, old in zip(files.values(), ("color", "depth"), strict=True):
            shutil.copy(folder / f"{k}.{old}.png", tmp_path / new)
        entries.append(files | {"transform_matrix": T.tolist()})
    K = np.loadtxt(folder / "intrinsics.K.txt")
    record = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
    record |= {"w": 320, "h": 240, "frames": entries}
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    assert main(["complete", str(tmp_path), "--out", str(tmp_path / "out"), "--json", *FAST]) == 0
    captured = capsys.readouterr()
    assert [o["code"] for o in json.loads(captured.out)["objects"]] == ["OK", "OK"]
    assert "format: nerfstudio (transforms.json), 3 frames" in captured.err
    words = ["complete", str(tmp_path), "--out", str(tmp_path / "other"), "--json", *FAST]
    assert main([*words, "--format", "tum"]) == 2
    assert "rgb.txt is missing" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(["bag-from-frames", str(tmp_path), str(tmp_path / "bag.mcap"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 3


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (layouts.tum, []),
        (layouts.nerfstudio, []),
        (layouts.bop, []),
        (layouts.scannet, []),
        (layouts.seven_scenes, []),
        (lambda path, frames: layouts.colmap(path, frames, binary=True), []),
        (lambda path, frames: layouts.colmap(path, frames, unit_m=0.4, depth="stereo"), ["--pose-unit-m", "0.4"]),
    ],
    ids=["tum", "nerfstudio", "bop", "scannet", "3dmatch", "colmap", "colmap-dense"],
)
def test_objects_of_every_format_lie_where_they_are(
    recording: Recording, tmp_path: Path, write, words: list[str], capsys: pytest.CaptureFixture[str]
):
    write(tmp_path / "frames", recording.frames)
    out = tmp_path / "out"
    words = ["--json", "--model", "carve", *FAST, *words]
    assert main(["complete", str(tmp_path / "frames"), "--out", str(out), *words]) == 0
    objects = json.loads(capsys.readouterr().out)["objects"]
    assert [item["code"] for item in objects] == ["OK", "OK"]
    found = set()
    for item in objects:
        assert item["warnings"] == []
        mesh = trimesh.load(Path(item["folder"]) / "mesh.ply")
        true = nearest_object(recording.scene, mesh.bounds.mean(axis=0))
        found.add(true.name)
        # 1.5 to 2.6 mm, and 3 to 4 mm, without weights on a coarse grid; wrong axes or units are off by 40 mm and more.
        assert surface_distance(mesh.sample(5000, seed=0), true).to_truth_m < 0.004
        true_centre = (true.vertices_world.min(axis=0) + true.vertices_world.max(axis=0)) / 2
        assert np.linalg.norm(mesh.bounds.mean(axis=0) - true_centre) < 0.006
    assert len(found) == 2


def test_frames_that_cannot_be_read_are_named_in_each_result(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    layouts.scannet(tmp_path / "frames", recording.frames)
    (tmp_path / "frames/pose/20.txt").write_text("-inf -inf -inf -inf\n" * 4)
    words = ["--json", "--max-objects", "1", *FAST]
    assert main(["complete", str(tmp_path / "frames"), "--out", str(tmp_path / "out"), *words]) == 0
    captured = capsys.readouterr()
    warnings = json.loads(captured.out)["objects"][0]["warnings"]
    (warning,) = [w for w in warnings if "1 of 3 frames could not be used" in w]
    assert "pose/20.txt" in warning
    assert "pose/20.txt" in captured.err


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_units_that_are_none_are_bad_usage(folder: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["complete", str(folder), "--out", str(tmp_path / "out"), f"--pose-unit-m={text}"])
    assert caught.value.code == 2 and "takes metres" in capsys.readouterr().err
