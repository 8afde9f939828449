"""The grid that navigation sees: exact shadows, observed apart from inferred, bounded before it is made."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completed import make_object

from sparse_recon.errors import ConfigError, ErrorCode, MeshError
from sparse_recon.geometry.poses import pose, rotation_to_up
from sparse_recon.messages.fields import pose_fields
from sparse_recon.messages.footprints import FootprintConfig, footprint_grid_fields
from sparse_recon.types import CompletedObject, OrientedBox, TriangleMesh

NO_MARGIN = FootprintConfig(margin_m=0.0)


def solid(shape: trimesh.Trimesh, observed: np.ndarray | None = None, name: str = "object_0") -> CompletedObject:
    """Return an object whose collision mesh is `shape`, of which cameras saw the points `observed` (M, 3)."""
    mesh = TriangleMesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32), True)
    none = np.zeros((0, 3), np.float32)
    return replace(
        make_object(0),
        object_id=name,
        box=OrientedBox(np.eye(4), np.ones(3)),
        nominal=mesh,
        conservative=mesh,
        observed_points_world=none if observed is None else observed.astype(np.float32),
    )


def block(low: tuple[float, float, float], high: tuple[float, float, float], **rest) -> CompletedObject:
    return solid(trimesh.creation.box(bounds=(low, high)), **rest)


def cells(*objects: CompletedObject, config: FootprintConfig = NO_MARGIN, up=None) -> np.ndarray:
    fields = footprint_grid_fields(objects, "world", 5, config, up)
    assert fields["data"].dtype == np.int8
    return fields["data"].reshape(fields["info"]["height"], fields["info"]["width"])


def origin(*objects: CompletedObject, config: FootprintConfig = NO_MARGIN, up=None) -> np.ndarray:
    position = footprint_grid_fields(objects, "world", 5, config, up)["info"]["origin"]["position"]
    return np.array([position[c] for c in "xyz"])


def test_block_covers_its_cells_and_no_more():
    grid = cells(block((0.0, 0.0, 0.2), (0.1, 0.05, 0.3)))
    assert grid.shape == (5, 10)
    assert (grid == 70).all()


def test_origin_is_the_lower_corner_at_the_height_of_the_support():
    np.testing.assert_allclose(origin(block((0.4, -0.05, 0.2), (0.5, 0.05, 0.3))), (0.4, -0.05, 0.2), atol=1e-6)


def test_row_of_the_data_is_y_of_the_frame():
    wide_below = solid(
        trimesh.util.concatenate(
            [trimesh.creation.box(bounds=b) for b in (((0, 0, 0), (0.04, 0.01, 1)), ((0, 0.01, 0), (0.01, 0.03, 1)))]
        )
    )
    assert (cells(wide_below) > 0).tolist() == [[True] * 4, [True, False, False, False], [True, False, False, False]]


def test_cells_with_measured_surface_differ_from_inferred_ones():
    seen = np.array([[0.005, 0.005, 0.3], [0.031, 0.019, 0.25], [0.5, 0.5, 0.3]])
    grid = cells(block((0.0, 0.0, 0.2), (0.05, 0.02, 0.3), observed=seen))
    assert grid.tolist() == [[100, 70, 70, 70, 70], [70, 70, 70, 100, 70]]


def test_completed_points_that_are_observed_count_as_measured():
    obj = replace(
        block((0.0, 0.0, 0.0), (0.02, 0.01, 0.1)),
        points_world=np.array([[0.005, 0.005, 0.1], [0.015, 0.005, 0.1]], np.float32),
        provenance=np.array([2, 1], np.uint8),
    )
    assert cells(obj).tolist() == [[70, 100]]


def test_points_of_one_surface_leave_no_gaps_between_small_cells():
    x, y = np.meshgrid(*[np.linspace(0.0, 0.0999, 26)] * 2)
    seen = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.1)], axis=1)
    grid = cells(block((0, 0, 0), (0.1, 0.1, 0.1), observed=seen), config=FootprintConfig(0.001, 0.0))
    assert (grid == 100).all()


def test_several_objects_share_a_grid_with_free_cells_between():
    near, far = block((0, 0, 0), (0.02, 0.01, 0.1)), block((0.05, 0, 0.3), (0.06, 0.01, 0.4), name="object_1")
    assert cells(near, far).tolist() == [[70, 70, 0, 0, 0, 70]]
    assert origin(near, far)[2] == 0.0


def test_margin_is_free():
    grid = cells(block((0, 0, 0), (0.02, 0.02, 0.1)), config=FootprintConfig(0.01, 0.03))
    assert grid.shape == (8, 8)
    assert (grid > 0).sum() == 4


def test_no_objects_are_one_free_cell_as_navigation_refuses_none():
    fields = footprint_grid_fields([], "world", 5)
    assert (fields["info"]["width"], fields["info"]["height"], fields["data"].tolist()) == (1, 1, [0])


def test_object_without_a_collision_surface_casts_no_shadow():
    empty = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert cells(replace(make_object(), conservative=empty)).tolist() == [[0]]


def test_grid_of_a_moved_object_keeps_its_lattice():
    low = origin(block((0.1037, 0.0511, 0), (0.2, 0.1, 0.1)), config=FootprintConfig(0.01, 0.1))[:2] / 0.01
    np.testing.assert_allclose(low, np.rint(low), atol=1e-6)


def test_shadow_is_along_up_and_the_pose_tells_its_axes():
    up = np.array([0.0, -1.0, 0.0])
    obj = block((0.0, 0.2, 0.0), (0.03, 0.3, 0.02))
    fields = footprint_grid_fields([obj], "world", 5, NO_MARGIN, up)
    grid = fields["data"].reshape(fields["info"]["height"], fields["info"]["width"])
    assert sorted(grid.shape) == [2, 3] and (grid == 70).all()
    assert fields["info"]["origin"]["orientation"] == pose_fields(pose(rotation_to_up(up), (0, 0, 0)))["orientation"]
    corner = origin(obj, up=up)
    far = corner + rotation_to_up(up) @ np.array([grid.shape[1] * 0.01, grid.shape[0] * 0.01, 0.0])
    low, high = np.minimum(corner, far), np.maximum(corner, far)
    np.testing.assert_allclose(low[[0, 2]], (0.0, 0.0), atol=1e-6)
    np.testing.assert_allclose(high[[0, 2]], (0.03, 0.02), atol=1e-6)
    assert corner[1] == pytest.approx(0.3)  # the lower end along -y


def test_up_is_taken_from_the_box_of_the_object():
    T = np.eye(4)
    T[:3, :3] = rotation_to_up((1.0, 0.0, 0.0))
    obj = replace(block((0, 0, 0), (0.5, 0.03, 0.02)), box=OrientedBox(T, np.ones(3)))
    assert cells(obj).size == 6


def test_number_of_cells_is_bounded_before_they_are_made(caplog):
    far_apart = [block((0, 0, 0), (0.01, 0.01, 1)), block((9e4, 9e4, 0), (9e4 + 1, 9e4 + 1, 1), name="object_1")]
    with caplog.at_level(logging.WARNING):
        fields = footprint_grid_fields(far_apart, "world", 5, FootprintConfig(0.01, 0.0, 10_000))
    assert fields["data"].size <= 10_000
    assert fields["info"]["resolution"] >= 900
    assert (fields["data"] > 0).sum() >= 2
    assert "max_cells" in caplog.text


def test_vertices_that_are_no_numbers_are_refused():
    obj = block((0, 0, 0), (0.1, 0.1, 0.1))
    obj.conservative.vertices_world[0, 0] = np.nan
    with pytest.raises(MeshError, match="not finite") as caught:
        footprint_grid_fields([obj], "world", 5)
    assert caught.value.code is ErrorCode.MESH_INVALID


def test_config_is_checked():
    with pytest.raises(ConfigError, match="resolution_m"):
        FootprintConfig(resolution_m=0.0)


def overlaps(triangle: np.ndarray, x: int, y: int) -> bool:
    """Plain twin: whether a triangle overlaps the unit cell at (x, y), by separating axes; touching is not enough."""
    cell = np.array([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)], float)
    edges = np.roll(triangle, -1, axis=0) - triangle
    axes = [(1.0, 0.0), (0.0, 1.0), *((-e[1], e[0]) for e in edges if np.linalg.norm(e) > 0)]
    for axis in np.array(axes):
        a, b = triangle @ axis, cell @ axis
        if a.max() <= b.min() or b.max() <= a.min():
            return False
    return True


@pytest.mark.parametrize("scale", [0.3, 3.0, 15.0])
def test_cells_are_those_that_a_triangle_overlaps(scale: float):
    rng = np.random.default_rng(3)
    for _ in range(12):
        corners = rng.uniform(4, 12, (1, 2)) + rng.uniform(-scale, scale, (3, 2))
        flat = np.column_stack([corners * 0.01, np.zeros(3)])
        grid = cells(solid(trimesh.Trimesh(flat, [[0, 1, 2]], process=False)))
        low = np.floor(corners.min(axis=0)).astype(int)
        vertices = flat.astype(np.float32)[:, :2].astype(float) / 0.01
        expected = [[overlaps(vertices - low, x, y) for x in range(grid.shape[1])] for y in range(grid.shape[0])]
        assert np.array_equal(grid > 0, expected)


def test_faces_seen_edge_on_still_cover_their_cells():
    wall = np.array([[0.005, 0.005, 0], [0.035, 0.005, 0], [0.02, 0.005, 1.0]])
    assert cells(solid(trimesh.Trimesh(wall, [[0, 1, 2]], process=False))).tolist() == [[70] * 4]
