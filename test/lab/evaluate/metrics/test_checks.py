"""Meshes and clouds that cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest
from solids import ball, box, holed, nothing, together

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.checks import check_mesh, check_points, check_true_mesh, check_unit, open_edges
from sparse_recon.types import TriangleMesh


def refused(check, *args, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        check(*args)
    assert caught.value.code == ErrorCode.MESH_INVALID


def test_good_meshes_pass_without_a_word():
    for mesh in (ball(), box(), together(ball(), box((0.01, 0.01, 0.01), (0.2, 0, 0)))):
        assert check_true_mesh(mesh, "mug") == ()


@pytest.mark.parametrize("shape", [(4, 2), (4,), (2, 2, 3)])
def test_points_of_another_shape_are_refused(shape):
    refused(check_points, np.zeros(shape, np.float32), "cloud", match=r"cloud: points must be \(N, 3\)")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_points_that_are_not_finite_are_counted_and_refused(value):
    points = np.zeros((6, 3), np.float32)
    points[[1, 4], 2] = value
    refused(check_points, points, "cloud", match="2 of 6 points are not finite")


def test_no_points_pass():
    check_points(np.zeros((0, 3), np.float32), "cloud")


@pytest.mark.parametrize("index", [-1, 3])
def test_faces_of_missing_vertices_are_refused(index):
    mesh = TriangleMesh(np.eye(3, dtype=np.float32), np.array([[0, 1, index]], np.int32))
    refused(check_mesh, mesh, "answer", match="faces must name its 3 vertices, 0 to 2")


def test_faces_of_four_corners_are_refused():
    refused(check_mesh, TriangleMesh(ball().vertices_world, np.zeros((5, 4), np.int32)), "answer", match="triangles")


@pytest.mark.parametrize(
    "mesh",
    [
        nothing(),
        TriangleMesh(ball().vertices_world, np.zeros((0, 3), np.int32)),
        TriangleMesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32)),
    ],
    ids=["no vertices", "no faces", "no area"],
)
def test_empty_truth_is_refused(mesh):
    refused(check_true_mesh, mesh, "mug", match="mug is empty")


def test_hole_is_told_with_its_edges():
    (warning,) = check_true_mesh(holed(box(subdivisions=0), (0.05, 0, 0), 0.02), "mug")
    assert "mug is not watertight, 4 edges" in warning


def test_missing_triangle_opens_three_edges():
    mesh = TriangleMesh(ball().vertices_world, ball().faces[1:])
    assert open_edges(mesh) == 3 and open_edges(ball()) == 0 and open_edges(nothing()) == 0


def test_edge_of_four_faces_is_open():
    touching = together(box((0.1, 0.1, 0.1), subdivisions=0), box((0.1, 0.1, 0.1), (0.1, 0.1, 0), subdivisions=0))
    assert open_edges(touching) == 1


def test_texture_seam_is_no_hole():
    mesh = ball()
    split = TriangleMesh(mesh.vertices_world[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    assert open_edges(split) == 0


@pytest.mark.parametrize(("factor", "unit"), [(1000.0, "millimetres"), (100.0, "centimetres")])
def test_answer_in_another_unit_is_refused_with_a_hint(factor, unit):
    refused(check_unit, ball().vertices_world * np.float32(factor), 0.1, "answer", match=f"looks like {unit}")


def test_large_answer_in_metres_passes():
    check_unit(ball().vertices_world * np.float32(10.0), 0.1, "answer")
    check_unit(np.zeros((0, 3), np.float32), 0.1, "answer")
