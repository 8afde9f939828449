"""Figures of an answer: a bowl without its floor lacks what is seen from above, a skirt makes the box too large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from completed import make_object

from sparse_recon.lab.evaluate.captures.geometry import geometry_metrics
from sparse_recon.types import TriangleMesh


def mesh_of(made) -> TriangleMesh:
    return TriangleMesh(np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.int32), made.is_watertight)


def tube(radius_m: float, inner_m: float, height_m: float):
    made = trimesh.creation.annulus(r_min=inner_m, r_max=radius_m, height=height_m)
    made.apply_translation((0, 0, height_m / 2))
    return made


def bowl():
    floor = trimesh.creation.cylinder(radius=0.069, height=0.006)
    floor.apply_translation((0, 0, 0.003))
    return mesh_of(trimesh.util.concatenate([tube(0.08, 0.07, 0.06), floor]))


def answer(mesh: TriangleMesh):
    size = np.ptp(mesh.vertices_world, axis=0).astype(np.float64)
    made = make_object()
    points = mesh.vertices_world
    count = len(points)
    box = replace(made.box, T_world_box=np.eye(4), size_m=size)
    return replace(
        made,
        nominal=mesh,
        box=box,
        points_world=points,
        normals_world=np.tile(np.float32([0, 0, 1]), (count, 1)),
        colors=np.zeros((count, 3), np.uint8),
        confidence=np.full(count, 0.9, np.float32),
        provenance=np.where(np.arange(count) % 2, 1, 2).astype(np.uint8),
    )


def test_the_truth_itself_is_right():
    metrics, table = geometry_metrics(answer(bowl()), bowl())
    assert metrics["chamfer_mm"] < 0.01 and metrics["f_2pct"] == pytest.approx(100.0)
    assert metrics["size_pct"] == pytest.approx(0.0, abs=0.5)  # the truth's box is fitted
    assert metrics["floor_pct"] == pytest.approx(100.0)
    assert table[:, 2].sum() == table[:, 0].sum() > 0


def test_a_ring_for_a_bowl_lacks_its_floor():
    metrics, _ = geometry_metrics(answer(mesh_of(tube(0.08, 0.07, 0.06))), bowl())
    assert 15 < metrics["floor_pct"] < 35  # the rim alone: 1 - (7/8)^2


def test_a_box_ten_percent_too_large_says_so():
    large = bowl()
    large = TriangleMesh(large.vertices_world * np.float32(1.1), large.faces)
    metrics, _ = geometry_metrics(answer(large), bowl())
    assert metrics["size_pct"] == pytest.approx(10.0, abs=0.6)
