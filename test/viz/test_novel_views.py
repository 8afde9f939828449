"""The picture for the topic shows the far side, tells inferred surface apart, and survives odd objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from sparse_recon.geometry.near import put_into_world
from sparse_recon.types import CompletedObject, OrientedBox, QualityRecord, TriangleMesh
from sparse_recon.viz.novel_views import MAX_OBJECTS, novel_view_fields, novel_views


def ball(name: str = "object_0", observed_side: float = 1.0) -> CompletedObject:
    """Return a blue ball of which cameras saw the half towards +x, or towards -x for `observed_side` -1."""
    shape = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    points, normals = shape.vertices.astype(np.float32), shape.vertex_normals.astype(np.float32)
    provenance = np.where(observed_side * points[:, 0] > 0, 1, 2).astype(np.uint8)
    mesh = TriangleMesh(points, shape.faces.astype(np.int32), True)
    quality = QualityRecord(2, 0.5, 0.0, 0.7, 0.004, True, True, False, {}, 0, "")
    return CompletedObject(
        *(name, "world", 5, "carve", 0, points, normals, np.full((len(points), 3), (20, 40, 200), np.uint8)),
        *(np.ones(len(points), np.float32), provenance, points[provenance == 1], mesh, mesh),
        *(np.ones(len(points), np.float32), OrientedBox(np.eye(4), np.full(3, 0.1)), quality),
    )


def orange(picture: np.ndarray) -> int:
    r, g, b = np.moveaxis(picture.astype(int), -1, 0)
    return int(((r > 100) & (r > g + 15) & (g > b)).sum())


def blue(picture: np.ndarray) -> int:
    r, _, b = np.moveaxis(picture.astype(int), -1, 0)
    return int((b > r + 60).sum())


def test_far_side_is_shown_and_orange():
    picture = novel_views([ball()])
    assert orange(picture) > 3 * blue(picture) > 0


def test_far_side_is_told_by_the_measured_surface_and_not_by_the_world():
    one, other = novel_views([ball()]), novel_views([ball(observed_side=-1.0)])
    assert orange(one) == pytest.approx(orange(other), rel=0.1)


def test_measured_surface_keeps_its_colour():
    seen = ball()
    picture = novel_views([replace(seen, provenance=np.ones_like(seen.provenance))])
    assert blue(picture) > 5000
    assert orange(picture) < 300  # the dot of the legend


def test_every_object_has_a_row_up_to_a_limit():
    heights = [novel_views([ball(f"object_{i}") for i in range(n)]).shape[0] for n in (1, 2, MAX_OBJECTS, 9)]
    assert heights[1] - heights[0] > 150
    assert heights[2] == heights[3]


def test_no_objects_are_a_sheet_that_is_not_blank():
    assert novel_views([]).std() > 1


def test_object_without_surface_or_points_is_drawn():
    empty = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    none = np.zeros((0, 3), np.float32)
    assert novel_views([replace(ball(), nominal=empty)]).std() > 1
    bare = replace(
        ball(),
        points_world=none,
        normals_world=none,
        colors=np.zeros((0, 3), np.uint8),
        provenance=np.zeros(0, np.uint8),
    )
    assert orange(novel_views([bare])) > 5000


def test_same_objects_give_the_same_picture():
    assert np.array_equal(novel_views([ball()]), novel_views([ball()]))


def test_image_fields_hold_every_pixel():
    fields = novel_view_fields([ball()], "world", 1_500_000_000)
    assert (fields["encoding"], fields["step"]) == ("rgb8", 3 * fields["width"])
    assert fields["data"].size == fields["height"] * fields["step"]
    assert fields["header"] == {"stamp": {"sec": 1, "nanosec": 500_000_000}, "frame_id": "world"}
    assert np.array_equal(fields["data"].reshape(fields["height"], -1, 3), novel_views([ball()]))


def test_far_from_the_origin_the_picture_is_the_same():
    far = put_into_world(ball(), np.array([99_000.0, -60_000.0, 412.0]))
    np.testing.assert_array_equal(novel_views([far]), novel_views([ball()]))
