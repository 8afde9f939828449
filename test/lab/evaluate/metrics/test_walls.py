"""Shells whose walls are there, or of which one side is missing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import trimesh
from solids import as_mesh, ball, box, shifted

from sparse_recon.lab.evaluate.metrics.surface import Surface
from sparse_recon.lab.evaluate.metrics.walls import both_sides, opposite_sides
from sparse_recon.types import TriangleMesh

DIAMETER_M, WITHIN_M = 0.16, 0.0032


@lru_cache(maxsize=4)
def bowl(wall_m: float = 0.003, filled: bool = False) -> TriangleMesh:
    """A cylinder of 16 cm with a floor and a wall, open above; or the same, full."""
    outer = trimesh.creation.cylinder(0.08, 0.06, sections=96)
    if filled:
        return as_mesh(outer)
    inner = trimesh.creation.cylinder(0.08 - wall_m, 0.06, sections=96)
    inner.apply_translation((0, 0, wall_m))
    return as_mesh(trimesh.boolean.difference([outer, inner], engine="manifold"))


def surface(mesh: TriangleMesh) -> Surface:
    return Surface.of_mesh(mesh, 12_000, 1)


def share(answer: TriangleMesh, true: TriangleMesh) -> float:
    truth = surface(true)
    return both_sides(surface(answer), truth, truth.query, DIAMETER_M, WITHIN_M)


def test_the_side_behind_a_wall_is_as_far_as_the_wall_is_thick():
    truth = surface(bowl())
    wall, behind = opposite_sides(truth, truth.query, DIAMETER_M)
    assert wall.mean() > 0.9
    thickness = np.linalg.norm(behind - truth.points_world, axis=1)[wall]
    assert np.median(thickness) == pytest.approx(0.003, abs=1e-4)


def test_a_bowl_has_both_its_sides():
    assert share(bowl(), bowl()) > 0.99


def test_a_full_bowl_lacks_its_inner_side():
    assert share(bowl(filled=True), bowl()) < 0.05


def test_a_wall_that_is_too_thick_counts_while_both_sides_are_near():
    assert share(bowl(0.005), bowl(0.003)) > 0.8
    assert share(bowl(0.012), bowl(0.003)) < 0.2


@pytest.mark.parametrize(("aside_m", "low", "high"), [(0.0, 0.99, 1.0), (0.0028, 0.95, 1.0), (0.004, 0.2, 0.5)])
def test_a_wall_aside_counts_up_to_the_distance_however_few_samples_there_are(aside_m, low, high):
    """A bowl whose wall stands farther out; its floor, two fifths of it, stays."""
    mesh = bowl()
    wider = mesh.vertices_world * np.float32([1 + aside_m / 0.08, 1 + aside_m / 0.08, 1])
    assert low < share(TriangleMesh(wider, mesh.faces), mesh) <= high


def test_a_bowl_elsewhere_has_neither():
    assert share(shifted(bowl(), (0.0, 0.0, 0.05)), bowl()) < 0.6


@pytest.mark.parametrize("solid", [box((0.1, 0.1, 0.1)), ball(0.06)], ids=["box", "ball"])
def test_what_is_solid_is_no_shell(solid):
    assert np.isnan(share(solid, solid))
