"""Markers that RViz draws: valid counts, finite numbers, and an empty array that clears the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from completed import make_object

from sparse_recon.messages.markers import BOX, MESH, NAME, marker_array_fields, preview_end_fields, preview_fields
from sparse_recon.types import CompletedObject, TriangleMesh

DELETE, DELETE_ALL, TRIANGLE_LIST, LINE_LIST, TEXT = 2, 3, 11, 5, 9


@pytest.fixture
def completed() -> CompletedObject:
    return make_object()


def markers_of(completed: CompletedObject) -> dict[int, dict]:
    """Return the markers of an object by their number."""
    return {m["id"]: m for m in marker_array_fields([completed], "world", 5)["markers"] if m["ns"] == "object_0"}


def xyz(points: list[dict]) -> np.ndarray:
    return np.array([[p["x"], p["y"], p["z"]] for p in points])


def test_mesh_has_three_points_and_colours_a_face(completed):
    mesh = markers_of(completed)[MESH]
    assert mesh["type"] == TRIANGLE_LIST and mesh["scale"] == {"x": 1.0, "y": 1.0, "z": 1.0}
    assert len(mesh["colors"]) == len(mesh["points"])
    np.testing.assert_array_equal(
        xyz(mesh["points"]), completed.nominal.vertices_world[completed.nominal.faces.ravel()]
    )
    assert all(0.0 <= color[c] <= 1.0 for color in mesh["colors"] for c in "rgba")


def test_box_lines_are_the_twelve_edges(completed):
    box = markers_of(completed)[BOX]
    lines = xyz(box["points"]).reshape(12, 2, 3)
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1)
    assert box["type"] == LINE_LIST
    np.testing.assert_allclose(np.sort(lengths), np.repeat(np.sort(completed.box.size_m), 4))


def test_name_hangs_above_the_box(completed):
    name = markers_of(completed)[NAME]
    top = completed.box.T_world_box[2, 3] + 0.5 * completed.box.size_m[2]
    assert (name["type"], name["text"]) == (TEXT, "object_0") and name["pose"]["position"]["z"] > top


def test_a_whole_array_replaces_all_before(completed):
    assert [m["action"] for m in marker_array_fields([], "world", 5)["markers"]] == [DELETE_ALL]
    markers = marker_array_fields([completed, replace(completed, object_id="object_1")], "world", 5)["markers"]
    assert [m["action"] for m in markers] == [DELETE_ALL, *[0] * 6]
    assert len({(m["ns"], m["id"]) for m in markers[1:]}) == 6


def test_an_array_of_what_changed_replaces_and_deletes_that_alone(completed):
    markers = marker_array_fields([completed], "world", 5, whole=False, removed_ids=["object_7"])["markers"]
    assert [(m["ns"], m["id"], m["action"]) for m in markers] == [
        *(("object_7", number, DELETE) for number in (MESH, BOX, NAME)),
        *(("object_0", number, 0) for number in (MESH, BOX, NAME)),
    ]


def test_a_mesh_that_is_no_more_is_deleted_with_the_next_message_of_its_object(completed):
    empty = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    markers = marker_array_fields([replace(completed, nominal=empty)], "world", 5, whole=False)["markers"]
    assert [(m["id"], m["action"]) for m in markers] == [(MESH, DELETE), (BOX, 0), (NAME, 0)]


def test_object_without_a_surface_has_no_empty_triangle_list(completed):
    empty = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert markers_of(replace(completed, nominal=empty)).keys() == {BOX, NAME}


def test_preview_is_one_translucent_triangle_list(completed):
    marker = preview_fields(completed.nominal, "world", 5)
    assert (marker["type"], marker["header"]["frame_id"]) == (TRIANGLE_LIST, "world")
    assert len(marker["points"]) == 3 * len(completed.nominal.faces) and len(marker["colors"]) == 0
    assert np.isfinite(xyz(marker["points"])).all()
    assert marker["scale"] == {"x": 1.0, "y": 1.0, "z": 1.0} and 0.0 < marker["color"]["a"] < 1.0


def test_end_of_the_preview_removes_that_marker(completed):
    shown, end = preview_fields(completed.nominal, "world", 5), preview_end_fields("world", 6)
    assert (end["ns"], end["id"], end["action"]) == (shown["ns"], shown["id"], DELETE)


def test_all_numbers_of_the_markers_are_finite(completed):
    for marker in marker_array_fields([completed], "world", 5)["markers"]:
        assert np.isfinite(xyz(marker["points"])).all()
        assert np.isfinite([*marker["pose"]["position"].values(), *marker["scale"].values()]).all()
