"""Captures made by the simulator are read with their truth, scored and drawn by the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from PIL import Image
from scenes import two_objects

from sparse_recon.cli.main import main
from sparse_recon.config.input_config import DepthConfig
from sparse_recon.errors import EXIT_USAGE, FileError
from sparse_recon.lab.evaluate.captures.folder import capture_names, read_capture


@pytest.fixture
def captures(tmp_path):
    """A folder of one capture of a ball and a block, whose truth is in the first camera's frame."""
    made = two_objects(views=1)
    frame, scene = made.frames[0], made.scene
    folder = tmp_path / "captures" / "desk"
    folder.mkdir(parents=True)
    Image.fromarray(frame.rgb).save(folder / "0.color.png")
    depth_mm = np.nan_to_num(np.rint(frame.depth_m * 1e3)).astype(np.uint16)
    Image.fromarray(depth_mm).save(folder / "0.depth.png")
    np.savetxt(folder / "0.pose.txt", frame.T_world_cam)
    np.savetxt(folder / "intrinsics.K.txt", frame.intrinsics.K)
    named = []
    for o in scene.objects:
        path = tmp_path / "captures" / f"{o.name}.ply"
        trimesh.Trimesh(o.shape.vertices_obj, o.shape.faces, process=False).export(path)
        T_cam_mesh = np.linalg.inv(frame.T_world_cam) @ o.T_world_obj
        named.append({"object": o.name, "mesh": path.name, "T_cam_mesh": np.round(T_cam_mesh, 6).tolist()})
    (tmp_path / "captures" / "truth.json").write_text(json.dumps({"captures": {"desk": named}}))
    return tmp_path / "captures"


def test_truth_is_put_into_the_world_of_the_poses(captures):
    assert capture_names(captures) == ["desk"]
    capture = read_capture(captures, "desk", DepthConfig())
    truth = {o.name: o.mesh.vertices_world.mean(axis=0) for o in capture.objects}
    for o in two_objects(views=1).scene.objects:
        assert truth[o.name] == pytest.approx(o.vertices_world.mean(axis=0), abs=2e-3)


def test_the_command_finds_both_and_measures_them(captures, tmp_path, capsys):
    words = [
        "evaluate",
        "--captures",
        str(captures),
        "--out",
        str(tmp_path / "out"),
        "--set",
        "segment.instances=clusters",
    ]
    assert main([*words, "--json"]) == 0
    text = capsys.readouterr().out
    total = json.loads(text.strip().splitlines()[-1])
    assert (total["in_view"], total["found_alone"], total["phantoms"], total["merged"]) == (2, 2, 0, 0)
    assert total["f_2pct median"] > 70 and total["size_pct median"] < 8
    record = json.loads((tmp_path / "out" / "captures.json").read_text())
    assert {o["true_object"] for o in record["captures"][0]["objects"]} == {"ball", "block"}
    assert Image.open(tmp_path / "out" / "captures" / "desk.png").size[0] > 800


def test_a_truth_that_is_none_is_refused_by_name(captures):
    (captures / "truth.json").write_text(json.dumps({"captures": {"desk": [{"object": "ball"}]}}))
    with pytest.raises(FileError, match=r"truth.json is no truth of captures: object 0 needs object, mesh"):
        read_capture(captures, "desk", DepthConfig())


def test_a_folder_without_captures_is_refused(tmp_path):
    with pytest.raises(FileError, match="holds no captures"):
        capture_names(tmp_path)


def test_captures_and_objects_are_two_studies(captures, capsys):
    assert main(["evaluate", "--captures", str(captures), "--objects", str(captures)]) == EXIT_USAGE
