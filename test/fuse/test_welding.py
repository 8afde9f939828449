"""Meshes stay closed in readers that weld vertices of equal position."""

import numpy as np
import pytest
import trimesh

from sparse_recon.fuse.mesh import is_closed, welded, without_coincident


def test_solids_that_touch_along_an_edge_stay_closed_after_welding():
    a = trimesh.creation.box((0.1, 0.1, 0.1))
    vertices = np.concatenate([a.vertices, a.vertices + np.array([0.1, 0.1, 0.0])]).astype(np.float32)
    faces = np.concatenate([a.faces, a.faces + len(a.vertices)]).astype(np.int32)
    assert is_closed(vertices, faces)
    assert not trimesh.Trimesh(vertices, faces).is_watertight  # four faces meet in the shared edge

    apart = without_coincident(vertices, faces)

    assert trimesh.Trimesh(apart, faces).is_watertight
    assert np.abs(apart - vertices).max() < 5e-5


def test_meshes_without_coincident_vertices_are_not_touched():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    vertices = np.asarray(ball.vertices, np.float32)
    assert np.array_equal(without_coincident(vertices, np.asarray(ball.faces, np.int32)), vertices)


@pytest.mark.parametrize("away_m", [0.0, 900.0])
def test_solids_are_drawn_apart_as_far_as_float32_tells(away_m: float):
    a = trimesh.creation.box((0.1, 0.1, 0.1))
    moved = np.concatenate([a.vertices, a.vertices + np.array([0.1, 0.1, 0.0])]) + away_m
    vertices, faces = moved.astype(np.float32), np.concatenate([a.faces, a.faces + len(a.vertices)]).astype(np.int32)
    assert not is_closed(*welded(vertices, faces))
    apart = without_coincident(vertices, faces)
    assert is_closed(*welded(apart, faces)) and len(np.unique(apart, axis=0)) == len(apart)


def test_a_mesh_that_rounding_tears_is_not_closed():
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.01)
    faces = ball.faces.astype(np.int32)
    assert is_closed(*welded(ball.vertices.astype(np.float32), faces))
    assert not is_closed(*welded((ball.vertices + 20_000.0).astype(np.float32), faces))  # steps of 2 mm
