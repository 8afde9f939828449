"""Meshes stay closed in readers that weld vertices of equal position."""

import numpy as np
import trimesh

from sparse_recon.fuse.mesh import is_closed, without_coincident


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
