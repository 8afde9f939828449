"""Results come back from their files, and broken folders are named."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files.results import write_results
from sparse_recon.geometry.near import put_into_world
from sparse_recon.types import CompletedObject, OrientedBox, QualityRecord, TriangleMesh
from sparse_recon.viz.saved import load_objects


def completed(name: str) -> CompletedObject:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.05)
    points, count = ball.vertices.astype(np.float32), len(ball.vertices)
    mesh = TriangleMesh(points, ball.faces.astype(np.int32), watertight=True)
    quality = QualityRecord(2, 0.4, 0.0, 0.8, 0.003, True, True, False, {"fuse": 1.5}, 77, "hash", ("look",))
    return CompletedObject(
        object_id=name,
        frame_id="map",
        stamp_ns=5,
        model="carve",
        seed=3,
        points_world=points,
        normals_world=ball.vertex_normals.astype(np.float32),
        colors=np.arange(3 * count, dtype=np.uint8).reshape(count, 3),
        confidence=np.linspace(0, 1, count, dtype=np.float32),
        provenance=(1 + np.arange(count) % 2).astype(np.uint8),
        observed_points_world=points,
        nominal=mesh,
        conservative=mesh,
        vertex_confidence=np.linspace(1, 0, count, dtype=np.float32),
        box=OrientedBox(np.eye(4), np.full(3, 0.1)),
        quality=quality,
    )


def test_written_results_come_back(tmp_path: Path) -> None:
    for name in ("object_1", "object_0"):
        write_results(completed(name), tmp_path)
    objects = load_objects(tmp_path)
    assert [o.object_id for o in objects] == ["object_0", "object_1"]
    back, original = objects[0], completed("object_0")
    for name in ("points_world", "normals_world", "colors", "confidence", "provenance", "vertex_confidence"):
        np.testing.assert_array_equal(getattr(back, name), getattr(original, name), err_msg=name)
    np.testing.assert_array_equal(back.nominal.faces, original.nominal.faces)
    assert back.quality == original.quality
    assert len(back.observed_points_world) == (original.provenance == 1).sum()


def test_results_far_from_the_origin_come_back(tmp_path: Path) -> None:
    far = put_into_world(completed("object_0"), np.array([99_000.0, -60_000.0, 412.0]))
    write_results(far, tmp_path)
    (back,) = load_objects(tmp_path)
    np.testing.assert_array_equal(back.points_world, far.points_world)
    np.testing.assert_array_equal(back.nominal.vertices_world, far.nominal.vertices_world)
    np.testing.assert_array_equal(back.origin_world, far.origin_world)


def test_folder_of_one_object_is_enough(tmp_path: Path) -> None:
    place = write_results(completed("object_0"), tmp_path)
    assert [o.object_id for o in load_objects(place)] == ["object_0"]


@pytest.mark.parametrize(("folder", "word"), [("nowhere", "no folder"), ("", "no result")])
def test_folder_without_results_is_refused(tmp_path: Path, folder: str, word: str) -> None:
    with pytest.raises(FileError, match=word) as caught:
        load_objects(tmp_path / folder)
    assert caught.value.code is ErrorCode.INPUT_MISSING


@pytest.mark.parametrize("damage", ["cut", "header", "missing"])
def test_damaged_result_is_refused_with_its_place(tmp_path: Path, damage: str) -> None:
    cloud = write_results(completed("object_0"), tmp_path) / "cloud.ply"
    if damage == "missing":
        cloud.unlink()
    else:
        cloud.write_bytes(cloud.read_bytes()[:-9] if damage == "cut" else b"solid nonsense")
    with pytest.raises(FileError, match="not a whole result"):
        load_objects(tmp_path)
