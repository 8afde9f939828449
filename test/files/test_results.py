"""Result files: read back by other libraries, equal bytes, and an old result that survives every failure."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.gltf import mesh_glb
from sparse_recon.files.results import mesh_obj, write_results
from sparse_recon.geometry.near import put_into_world
from sparse_recon.messages.fields import vertex_colors
from sparse_recon.types import CompletedObject, SurfaceHypothesis, TriangleMesh


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_all_files_are_there(completed_box: CompletedObject, tmp_path: Path):
    folder = write_results(completed_box, tmp_path / "out")
    assert folder == tmp_path / "out" / "object_0"
    assert set(contents(tmp_path)) == {
        f"out/object_0/{name}"
        for name in (
            "cloud.ply",
            "mesh.ply",
            "mesh.obj",
            "mesh.glb",
            "quality.json",
            "collision/conservative.stl",
            "collision/part_000.stl",
        )
    }


def test_cloud_is_read_by_open3d(completed_box: CompletedObject, tmp_path: Path):
    open3d = pytest.importorskip("open3d")
    cloud = open3d.t.io.read_point_cloud(str(write_results(completed_box, tmp_path) / "cloud.ply")).point
    np.testing.assert_array_equal(cloud.positions.numpy(), completed_box.points_world)
    np.testing.assert_array_equal(cloud.normals.numpy(), completed_box.normals_world)
    np.testing.assert_array_equal(cloud.colors.numpy(), completed_box.colors)
    np.testing.assert_array_equal(cloud["confidence"].numpy()[:, 0], completed_box.confidence)
    np.testing.assert_array_equal(cloud["provenance"].numpy()[:, 0], completed_box.provenance)


def test_meshes_are_read_by_trimesh(completed_box: CompletedObject, tmp_path: Path):
    folder = write_results(completed_box, tmp_path)
    nominal = trimesh.load(folder / "mesh.ply", process=False)
    np.testing.assert_array_equal(nominal.vertices.astype(np.float32), completed_box.nominal.vertices_world)
    np.testing.assert_array_equal(nominal.faces, completed_box.nominal.faces)
    np.testing.assert_allclose(
        nominal.metadata["_ply_raw"]["vertex"]["data"]["confidence"].ravel(), completed_box.vertex_confidence
    )
    conservative = trimesh.load(folder / "collision" / "conservative.stl")
    assert conservative.is_watertight and conservative.extents == pytest.approx([0.088, 0.066, 0.11])
    assert trimesh.load(folder / "collision" / "part_000.stl").volume == pytest.approx(0.08 * 0.06 * 0.1)


@pytest.mark.parametrize("origin_m", [(0.0, 0.0, 0.0), (99_000.0, -60_000.0, 412.0)])
def test_hypotheses_are_read_with_their_weights(completed_box: CompletedObject, tmp_path: Path, origin_m):
    mesh = completed_box.conservative
    two = replace(completed_box, hypotheses=(SurfaceHypothesis(mesh, 0.75), SurfaceHypothesis(mesh, 0.25)))
    folder = write_results(put_into_world(two, np.array(origin_m)), tmp_path)
    told = json.loads((folder / "quality.json").read_text())["hypotheses"]
    assert [t["weight"] for t in told] == [0.75, 0.25] and [t["faces"] for t in told] == [12, 12]
    for record in told:
        read = trimesh.load(folder / record["file"], process=False)
        np.testing.assert_allclose(read.vertices - origin_m, mesh.vertices_world, atol=1e-7)
        np.testing.assert_array_equal(read.faces, mesh.faces)


def test_without_hypotheses_there_is_no_folder_of_them(completed_box: CompletedObject, tmp_path: Path):
    folder = write_results(completed_box, tmp_path)
    assert not (folder / "hypotheses").exists()
    assert json.loads((folder / "quality.json").read_text())["hypotheses"] == []


def test_obj_is_the_mesh_with_its_colours(completed_box: CompletedObject, tmp_path: Path):
    mesh = trimesh.load(write_results(completed_box, tmp_path) / "mesh.obj", process=False)
    np.testing.assert_array_equal(mesh.vertices.astype(np.float32), completed_box.nominal.vertices_world)
    np.testing.assert_array_equal(mesh.faces, completed_box.nominal.faces)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], vertex_colors(completed_box))
    assert mesh.is_watertight


def test_obj_of_nothing_is_read(tmp_path: Path):
    nothing = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert mesh_obj(nothing, np.zeros((0, 3), np.uint8)) == b"# sparse_recon, metres\n"


def test_mujoco_takes_the_meshes_as_the_page_says(completed_box: CompletedObject, tmp_path: Path):
    """The MJCF of docs/grasp-planners.md, as it stands there."""
    mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed")
    page = (Path(__file__).parents[2] / "docs" / "grasp-planners.md").read_text()
    (model_xml,) = re.findall(r"```xml\n(<mujoco>.*?)```", page, re.DOTALL)
    write_results(completed_box, tmp_path)
    (tmp_path / "scene.xml").write_text(model_xml)
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    size = np.ptp(model.mesh_vert[: model.mesh_vertnum[0]], axis=0)
    np.testing.assert_allclose(np.sort(size), [0.06, 0.08, 0.10], atol=1e-6)  # MuJoCo turns it to its principal axes
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    true_centre = completed_box.nominal.vertices_world.mean(axis=0)
    np.testing.assert_allclose(data.geom("object_0_look").xpos, true_centre, atol=1e-3)


def test_gltf_stands_upright_and_is_coloured(completed_box: CompletedObject, tmp_path: Path):
    scene = trimesh.load(write_results(completed_box, tmp_path) / "mesh.glb")
    assert scene.extents == pytest.approx([0.08, 0.1, 0.06])  # +y up
    (mesh,) = scene.geometry.values()
    colors = mesh.visual.vertex_attributes["color"]
    assert {tuple(c[:3]) for c in colors.tolist()} == {(200, 40, 10), (90, 90, 90)}
    assert mesh.is_watertight


FAR_M = np.array([99_000.0, -60_000.0, 412.0])


def test_far_from_the_origin_ply_and_gltf_are_in_place(completed_box: CompletedObject, tmp_path: Path):
    far = put_into_world(completed_box, FAR_M)
    folder = write_results(far, tmp_path)
    for name, points in (("cloud", far.points_world), ("mesh", far.nominal.vertices_world)):
        read = trimesh.load(folder / f"{name}.ply", process=False).vertices
        np.testing.assert_array_equal(read, points)
    scene = trimesh.load(folder / "mesh.glb")
    x, y, z = (scene.bounds.mean(axis=0)).tolist()
    np.testing.assert_allclose((x, -z, y), FAR_M, atol=1e-9)  # +y up
    assert scene.extents == pytest.approx([0.08, 0.1, 0.06])
    (mesh,) = scene.geometry.values()
    assert mesh.is_watertight


def test_far_from_the_origin_stl_counts_from_the_origin_in_the_record(completed_box: CompletedObject, tmp_path: Path):
    folder = write_results(put_into_world(completed_box, FAR_M), tmp_path)
    assert json.loads((folder / "quality.json").read_text())["origin_world"] == FAR_M.tolist()
    near = write_results(completed_box, tmp_path / "near")
    for name in ("conservative.stl", "part_000.stl"):
        read, expected = (path / "collision" / name for path in (folder, near))
        assert read.read_bytes()[80:] == expected.read_bytes()[80:]
        assert b"[99000.0, -60000.0, 412.0]" in read.read_bytes()[:80]


def test_gltf_of_nothing_is_an_empty_scene(completed_box: CompletedObject, tmp_path: Path):
    nothing = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    (tmp_path / "mesh.glb").write_bytes(mesh_glb(nothing, np.zeros((0, 3), np.uint8)))
    assert trimesh.load(tmp_path / "mesh.glb").is_empty


def test_quality_keeps_what_varies_apart(completed_box: CompletedObject, tmp_path: Path):
    record = json.loads((write_results(completed_box, tmp_path) / "quality.json").read_text())
    assert record.pop("run") == {"timings_s": {"observe": 0.1, "mesh": 0.2}, "peak_memory_bytes": 10**9}
    assert (record["views_used"], record["seed"], record["input_hash"]) == (3, 7, "ab" * 32)
    assert record["warnings"] == ["bounds were softened"]


def test_equal_objects_give_equal_bytes(completed_box: CompletedObject, tmp_path: Path):
    first = contents(write_results(completed_box, tmp_path / "a"))
    assert contents(write_results(completed_box, tmp_path / "b")) == first


def test_older_result_is_replaced_as_a_whole(completed_box: CompletedObject, tmp_path: Path):
    write_results(completed_box, tmp_path)
    (tmp_path / "object_0" / "stray.txt").touch()
    write_results(replace(completed_box, collision_parts=()), tmp_path)
    assert not {"stray.txt", "collision/part_000.stl"} & set(contents(tmp_path / "object_0"))
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]


@pytest.mark.parametrize("object_id", ["../evil", "a/b", "..", "", "mug #3"])
def test_names_stay_inside_the_folder(completed_box: CompletedObject, tmp_path: Path, object_id: str):
    folder = write_results(replace(completed_box, object_id=object_id), tmp_path / "out")
    assert folder.parent == tmp_path / "out"


def test_folder_that_is_a_file_is_refused(completed_box: CompletedObject, tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileError, match="name another folder") as caught:
        write_results(completed_box, tmp_path / "out")
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_refused(completed_box: CompletedObject, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(FileError) as caught:
        write_results(completed_box, tmp_path / "out")
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


@pytest.mark.parametrize("what", ["results", "bag"])
def test_full_disk_leaves_the_old_result_untouched(completed_box: CompletedObject, tmp_path: Path, what: str):
    """A limit on file size makes the kernel refuse real writes, as a full disk or a quota does."""
    code = """
import pickle, resource, sys
from pathlib import Path
from sparse_recon.files.gltf import mesh_glb
from sparse_recon.files.results import mesh_obj, write_results
from sparse_recon.messages.fields import vertex_colors
from sparse_recon.bags.writer import ResultBag
from sparse_recon.errors import FileError
completed = pickle.loads(Path(sys.argv[1]).read_bytes())
folder = Path(sys.argv[2])
def write():
    if sys.argv[3] == "results":
        write_results(completed, folder)
    else:
        with ResultBag(folder / "bag") as bag:
            bag.write(completed)
write()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    write()
except FileError as error:
    print(error.code.name, "free space" in error.message)
"""
    import pickle

    (tmp_path / "object.pickle").write_bytes(pickle.dumps(completed_box))
    out = tmp_path / "out"
    args = [sys.executable, "-c", code, str(tmp_path / "object.pickle"), str(out), what]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["DISK_FULL", "True"], result.stderr
    (name,) = out.iterdir()  # neither temporary folders nor halves
    assert name.name == ("object_0" if what == "results" else "bag")
    if what == "results":
        assert contents(name) == contents(write_results(completed_box, tmp_path / "again"))
