"""Which objects are scored, and what is refused before hours are spent on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.lab.evaluate.objects import SCORED, UNSCORED, folder_objects, procedural_objects


def box_file(folder: Path, name: str, size: tuple[float, float, float]) -> Path:
    path = folder / f"{name}.ply"
    trimesh.creation.box(size).export(path)
    return path


def test_no_scan_is_both_scored_and_for_training():
    assert not set(SCORED) & set(UNSCORED)
    assert len(SCORED) == len(set(SCORED)) == 36 and len(set(UNSCORED)) == 18


def test_folder_with_scored_scans_gives_these_alone(tmp_path: Path):
    for name in (SCORED[0], UNSCORED[0], "mine"):
        box_file(tmp_path, name, (0.1, 0.1, 0.1))
    assert [o.name for o in folder_objects(tmp_path)] == [SCORED[0]]
    assert len(folder_objects(tmp_path, everything=True)) == 3
    assert [o.name for o in folder_objects(tmp_path, names=["mine"])] == ["mine"]


def test_millimetres_are_refused_with_the_unit_that_fits(tmp_path: Path):
    box_file(tmp_path, "cup", (80.0, 80.0, 100.0))
    (cup,) = folder_objects(tmp_path)
    with pytest.raises(InputError, match="--units mm") as caught:
        cup.load()
    assert caught.value.code == ErrorCode.MESH_INVALID
    (cup,) = folder_objects(tmp_path, units="mm")
    assert cup.load().size_m == pytest.approx((0.08, 0.08, 0.1))


def test_mesh_with_y_up_is_turned_to_stand(tmp_path: Path):
    bottle = trimesh.creation.box((0.06, 0.2, 0.04))
    bottle.vertices[bottle.vertices[:, 1] > 0, 0] *= 0.5  # its top is narrow
    bottle.export(tmp_path / "bottle.ply")
    (found,) = folder_objects(tmp_path, up="y")
    shape = found.load()
    assert shape.size_m == pytest.approx((0.06, 0.04, 0.2))
    top = shape.vertices_obj[shape.vertices_obj[:, 2] > 0.1]
    assert np.ptp(top[:, 0]) == pytest.approx(0.03)
    volume = trimesh.Trimesh(shape.vertices_obj, shape.faces).volume
    assert volume > 0  # turned, not mirrored


@pytest.mark.parametrize(
    ("name", "word"), [("", "does not exist"), ("empty", "holds no mesh"), ("one", "has no other")]
)
def test_missing_meshes_are_named(tmp_path: Path, name: str, word: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    box_file(tmp_path / "one", "box", (0.1, 0.1, 0.1))
    with pytest.raises(FileError, match=word) as caught:
        folder_objects(tmp_path / (name or "nowhere"), names=["other"] if name == "one" else [])
    assert caught.value.code == ErrorCode.INPUT_MISSING


def test_a_mesh_read_in_another_unit_or_turned_is_another_object(tmp_path: Path):
    box_file(tmp_path, "cup", (0.08, 0.08, 0.1))
    ways = [("m", "z"), ("cm", "z"), ("m", "y")]
    assert len({folder_objects(tmp_path, units=units, up=up)[0].sha256() for units, up in ways}) == 3


def test_two_meshes_of_one_name_are_refused(tmp_path: Path):
    box_file(tmp_path, "cup", (0.08, 0.08, 0.1))
    trimesh.creation.box((0.1, 0.1, 0.1)).export(tmp_path / "cup.stl")
    with pytest.raises(FileError, match=r"cup\.ply|cup\.stl") as caught:
        folder_objects(tmp_path)
    assert caught.value.code == ErrorCode.INPUT_MISSING


def test_a_damaged_mesh_is_refused_by_name(tmp_path: Path):
    (tmp_path / "cup.off").write_text("OFF\n1 2\n")
    (cup,) = folder_objects(tmp_path)
    with pytest.raises(FileError, match=r"cup\.off") as caught:
        cup.load()
    assert caught.value.code == ErrorCode.INPUT_MISSING


def test_vertices_that_are_not_finite_are_counted(tmp_path: Path):
    mesh = trimesh.creation.box((0.1, 0.1, 0.1))
    vertices = mesh.vertices.copy()
    vertices[3] = np.nan
    trimesh.Trimesh(vertices, mesh.faces, process=False).export(tmp_path / "broken.ply")
    (broken,) = folder_objects(tmp_path)
    with pytest.raises(InputError, match="1 of 8 vertices are not finite") as caught:
        broken.load()
    assert caught.value.code == ErrorCode.MESH_INVALID


def test_made_up_objects_are_the_same_again():
    first, again = procedural_objects(3, seed=4), procedural_objects(3, seed=4)
    assert [o.name for o in first] == [o.name for o in again]
    assert np.array_equal(first[1].load().vertices_obj, again[1].load().vertices_obj)
    assert first[1].sha256() == again[1].sha256() != first[0].sha256()
