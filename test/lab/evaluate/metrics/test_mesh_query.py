"""Nearest points and insides of meshes against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from solids import ball, box, holed, moved, nothing, torus, turn

from sparse_recon.geometry.poses import transform_points
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery


def scattered(count: int = 3000, half_side_m: float = 0.08) -> np.ndarray:
    return np.random.default_rng(0).uniform(-half_side_m, half_side_m, (count, 3)).astype(np.float32)


def test_distance_to_a_box_is_exact():
    points, half = scattered(), np.array([0.05, 0.03, 0.04])
    q = np.abs(points.astype(np.float64)) - half
    exact = np.abs(np.linalg.norm(np.maximum(q, 0.0), axis=1) + np.minimum(q.max(axis=1), 0.0))
    np.testing.assert_allclose(MeshQuery(box()).closest(points)[0], exact, atol=1e-7)


@pytest.mark.parametrize("seed", range(2))
def test_normals_at_the_nearest_point_are_those_in_which_the_distance_grows(seed):
    # Also beside edges and corners, where no single face has the normal, and wherever the box is turned.
    points, half, T = scattered(), np.array([0.05, 0.03, 0.04]), turn(seed)
    away = points - np.clip(points, -half, half)
    outside = np.linalg.norm(away, axis=1) > 1e-3
    _, normals = MeshQuery(moved(box(), T)).closest(transform_points(T, points[outside].astype(np.float64)))
    exact = away[outside] / np.linalg.norm(away[outside], axis=1, keepdims=True) @ T[:3, :3].T
    assert np.abs(np.einsum("nd,nd->n", normals, exact)).min() > 0.9999


@pytest.mark.parametrize(
    ("mesh", "inside"),
    [
        (ball(), lambda p: np.linalg.norm(p, axis=1) - 0.05),
        (box(), lambda p: (np.abs(p) - (0.05, 0.03, 0.04)).max(axis=1)),
        (torus(), lambda p: np.hypot(np.linalg.norm(p[:, :2], axis=1) - 0.05, p[:, 2]) - 0.015),
    ],
    ids=["ball", "box", "torus"],
)
def test_inside_is_where_the_formula_says(mesh, inside):
    points = scattered(20_000)
    signed_m = inside(points.astype(np.float64))
    clear = np.abs(signed_m) > 2e-5  # chords
    found, contested = MeshQuery(mesh).inside(points)
    np.testing.assert_array_equal(found[clear], signed_m[clear] < 0)
    assert not contested.any()


def test_points_on_a_lattice_of_edges_and_corners_are_told_apart():
    # Rays through edges and corners of an axis-aligned box are where counting goes wrong.
    grid = np.stack(np.meshgrid(*[np.linspace(-0.06, 0.06, 25)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    cube = box((0.081, 0.081, 0.081))
    found, _ = MeshQuery(cube).inside(grid.astype(np.float32))
    np.testing.assert_array_equal(found, np.abs(grid).max(axis=1) < 0.0405)


def test_holes_leave_points_undecided():
    found, contested = MeshQuery(holed(ball(), (0, 0, 0.05), 0.0707)).inside(scattered())
    centre = np.linalg.norm(scattered(), axis=1) < 0.03
    assert contested[centre].mean() > 0.3 and not contested[scattered()[:, 2] > 0.06].any()
    assert found.any()


def test_empty_mesh_has_no_inside_and_no_distance():
    query = MeshQuery(nothing())
    assert all(np.isnan(a).all() for a in query.closest(scattered(4)))
    assert not np.any(query.inside(scattered(4)))


def test_no_points_are_no_answers():
    query, none = MeshQuery(ball()), np.zeros((0, 3), np.float32)
    assert [len(a) for a in (*query.closest(none), *query.inside(none))] == [0, 0, 0, 0]
