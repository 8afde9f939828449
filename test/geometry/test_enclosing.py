"""Meshes of few triangles that hold others: what a planner gets must miss nothing of what it must avoid."""

from __future__ import annotations

import numpy as np
import open3d
import pytest
import trimesh
from manifold3d import Manifold, Mesh

from sparse_recon.geometry.enclosing import enclosing
from sparse_recon.lab.simulate.household import KINDS, make_shape
from sparse_recon.types import TriangleMesh

AWAY = np.array([2.5, -1.5, 0.75])


def household(kind: str) -> TriangleMesh:
    shape = make_shape(kind, np.random.default_rng(1))
    return TriangleMesh((shape.vertices_obj + AWAY).astype(np.float32), shape.faces.astype(np.int32), True)


def bumpy(amplitude_m: float) -> TriangleMesh:
    """A ball of 5 cm whose surface is rough, as conservative meshes are."""
    ball = trimesh.creation.icosphere(4, 0.05)
    noise = np.random.default_rng(0).uniform(-amplitude_m, amplitude_m, len(ball.vertices))
    vertices = ball.vertices * (1.0 + noise / 0.05)[:, None]
    return TriangleMesh(vertices.astype(np.float32), np.asarray(ball.faces, np.int32), True)


def solid(mesh: TriangleMesh) -> Manifold:
    vertices = (mesh.vertices_world - AWAY).astype(np.float32)
    made = Manifold(Mesh(vert_properties=vertices, tri_verts=mesh.faces.astype(np.uint32)))
    assert made.volume() > 0  # closed, manifold, wound outwards
    return made


def missed_mm(inner: TriangleMesh, outer: TriangleMesh) -> float:
    """By how much a point of one surface is farthest outside the other, by Open3D's signed distance."""
    points = trimesh.Trimesh(inner.vertices_world, inner.faces, process=False).sample(3000, seed=0) - AWAY
    scene = open3d.t.geometry.RaycastingScene()
    vertices = (outer.vertices_world - AWAY).astype(np.float32)
    scene.add_triangles(open3d.core.Tensor(vertices), open3d.core.Tensor(outer.faces.astype(np.uint32)))
    signed = scene.compute_signed_distance(open3d.core.Tensor(points.astype(np.float32)), nsamples=5).numpy()
    return 1e3 * float(signed.max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [500, 100])
def test_household_things_are_held_within_the_budget(kind, budget):
    mesh = household(kind)
    held = enclosing(mesh, budget)
    assert 12 <= len(held.faces) <= budget and held.watertight
    assert (solid(mesh) - solid(held)).volume() < 5e-5 * solid(mesh).volume()
    assert missed_mm(mesh, held) < 0.05


def test_what_is_round_or_flat_grows_little_and_what_is_hollow_no_more_than_its_hull():
    grown = {kind: solid(enclosing(household(kind), 500)).volume() / solid(household(kind)).volume() for kind in KINDS}
    hull = {kind: solid(household(kind)).hull().volume() / solid(household(kind)).volume() for kind in KINDS}
    for kind, most in {"box": 1.05, "can": 1.1, "bottle": 1.2, "drill": 1.6}.items():
        assert grown[kind] < most
    for kind in ("mug", "bowl"):
        assert grown[kind] < 0.8 * hull[kind]


def test_a_rough_surface_is_held():
    mesh = bumpy(0.003)
    held = enclosing(mesh, 200)
    assert len(held.faces) <= 200 and missed_mm(mesh, held) < 0.05
    assert solid(held).volume() < 1.5 * solid(mesh).volume()


def test_a_mesh_within_the_budget_is_itself():
    mesh = household("box")
    assert enclosing(mesh, len(mesh.faces)) is mesh


def test_the_smallest_budget_is_a_box_around_it():
    mesh = household("mug")
    held = enclosing(mesh, 12)
    assert len(held.faces) == 12 and missed_mm(mesh, held) < 0.05


def test_what_is_not_closed_gets_a_closed_body_around_it():
    mesh = household("can")
    held = enclosing(TriangleMesh(mesh.vertices_world, mesh.faces[1:], False), 300)
    assert held.watertight and solid(held).volume() > solid(mesh).volume() * 0.999
    assert missed_mm(mesh, held) < 0.05
