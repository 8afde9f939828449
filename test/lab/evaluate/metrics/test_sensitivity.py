"""Each way of being wrong moves the metrics that it should, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scenes import recording
from solids import ball, box, flipped, holed, moved, shifted, together, turn

from sparse_recon.lab.evaluate.metrics.free_space import dense, in_seen_empty
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.lab.evaluate.metrics.visibility import seen_by
from sparse_recon.lab.evaluate.metrics.volume import Solid, overlap
from sparse_recon.types import Frame, TriangleMesh

# What each metric of a perfect answer is, and how far it may go without having moved.
PERFECT = {
    "accuracy_mm": (0.0, 0.02),
    "completeness_mm": (0.0, 0.02),
    "precise_mm_observed": (0.0, 0.02),
    "complete_mm_observed": (0.0, 0.02),
    "complete_mm_inferred": (0.0, 0.02),
    "f_2mm": (1.0, 0.001),
    "normals": (1.0, 0.06),  # those of a larger box disagree beside its edges
    "iou": (1.0, 0.002),
    "missed": (0.0, 0.002),
    "wasted": (0.0, 0.002),
    "in_empty": (0.0, 0.001),
}
SURFACE = {"accuracy_mm", "completeness_mm", "precise_mm_observed", "complete_mm_observed", "complete_mm_inferred"}


def measured(predicted: TriangleMesh, truth: TriangleMesh, frames: tuple[Frame, ...]) -> dict[str, float]:
    true = Surface.of_mesh(truth, 5000, 0)
    assert true.normals_world is not None
    seen = seen_by(true.points_world, true.normals_world, frames, 0.002)
    distances = surface_distances(Surface.of_mesh(predicted, 5000, 1), true)
    both = overlap(Solid.of(predicted, "answer"), Solid.of(truth, "truth"), 20_000, 2)
    return {
        "accuracy_mm": 1e3 * distances.accuracy_mean_m,
        "completeness_mm": 1e3 * distances.completeness_mean_m,
        "precise_mm_observed": 1e3 * distances.part(seen).accuracy_mean_m,
        "complete_mm_observed": 1e3 * distances.part(seen).completeness_mean_m,
        "complete_mm_inferred": 1e3 * distances.part(~seen).completeness_mean_m,
        "f_2mm": distances.f_score(0.002),
        "normals": distances.normal_consistency,
        "iou": both.iou,
        "missed": both.missed,
        "wasted": both.wasted,
        "in_empty": in_seen_empty(dense(predicted, 0.003, 3), frames, 0.003, 0.003),
    }


@lru_cache(maxsize=1)
def case() -> tuple[TriangleMesh, tuple[Frame, ...]]:
    """Return a block of 10 x 6 x 8 cm on a table, and one ideal view of it."""
    made = recording("block", 1)
    truth = made.scene.objects[0].mesh_world
    return box((0.1, 0.06, 0.08), truth.vertices_world.mean(axis=0), 5), made.frames


def scaled(mesh: TriangleMesh, factor: float) -> TriangleMesh:
    centre = mesh.vertices_world.mean(axis=0)
    return TriangleMesh((centre + factor * (mesh.vertices_world - centre)).astype(np.float32), mesh.faces)


def rough(mesh: TriangleMesh) -> TriangleMesh:
    noise = np.random.default_rng(0).normal(0.0, 0.0005, mesh.vertices_world.shape)
    return TriangleMesh((mesh.vertices_world + noise).astype(np.float32), mesh.faces)


def bulged(mesh: TriangleMesh, by_m: float) -> TriangleMesh:
    """Bulge the side that the camera does not see, -y, outward in its middle."""
    v = mesh.vertices_world.copy()
    centre = v.mean(axis=0)
    back = v[:, 1] < v[:, 1].min() + 1e-6
    away = np.linalg.norm((v - centre)[:, [0, 2]], axis=1)
    v[back, 1] -= by_m * np.clip(1 - away[back] / 0.035, 0, 1)
    return TriangleMesh(v, mesh.faces)


def camera_side() -> np.ndarray:
    _, (frame,) = case()
    eye = frame.T_world_cam[:3, 3]
    return eye / np.linalg.norm(eye)


def middle() -> np.ndarray:
    return case()[0].vertices_world.mean(axis=0)


BACK = np.array((0.0, -0.03, 0.04))
WRONG: dict[str, tuple[Callable[[TriangleMesh], TriangleMesh], set[str]]] = {
    "nothing is wrong": (lambda m: m, set()),
    "wound inside out": (flipped, set()),
    "shifted to the camera": (lambda m: shifted(m, 0.008 * camera_side()), set(PERFECT)),
    "shifted away": (lambda m: shifted(m, -0.008 * camera_side()), set(PERFECT) - {"in_empty"}),
    "inflated": (lambda m: scaled(m, 1.15), set(PERFECT) - {"missed", "normals"}),
    "shrunk": (lambda m: scaled(m, 0.85), set(PERFECT) - {"wasted", "in_empty", "normals"}),
    "rough": (rough, set(PERFECT) - {"f_2mm", "in_empty"}),
    "holed behind": (lambda m: holed(m, BACK, 0.01), {"completeness_mm", "complete_mm_inferred", "f_2mm"}),
    "bulged behind": (
        lambda m: bulged(m, 0.02),
        {"accuracy_mm", "completeness_mm", "complete_mm_inferred", "f_2mm", "iou", "wasted"},
    ),
    "with a crumb in the air": (
        lambda m: together(m, ball(0.012, middle() + 0.15 * camera_side())),
        {"accuracy_mm", "precise_mm_observed", "f_2mm", "iou", "wasted", "in_empty"},
    ),
    "with a crumb behind": (
        lambda m: together(m, ball(0.008, (-0.065, -0.02, 0.012))),
        {"accuracy_mm", "f_2mm", "iou", "wasted"},
    ),
    "hollow": (
        lambda m: together(m, flipped(ball(0.025, middle()))),
        {"accuracy_mm", "precise_mm_observed", "f_2mm", "iou", "missed"},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_surface_moves_the_metrics_that_it_should_and_no_other(name):
    change, expected = WRONG[name]
    truth, frames = case()
    found = measured(change(truth), truth, frames)
    moved_ones = {metric for metric, (best, slack) in PERFECT.items() if not abs(found[metric] - best) <= slack}
    assert moved_ones == expected, found


def test_two_runs_agree_bit_for_bit():
    truth, frames = case()
    one, two = (measured(scaled(truth, 1.1), truth, frames) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("seed", range(2))
def test_moving_objects_and_cameras_together_changes_no_more_than_sampling(seed):
    T = turn(seed)
    truth, frames = case()
    predicted = shifted(scaled(truth, 1.05), 0.004 * camera_side())
    here = measured(predicted, truth, frames)
    there = measured(moved(predicted, T), moved(truth, T), [replace(f, T_world_cam=T @ f.T_world_cam) for f in frames])
    for metric in SURFACE | {"f_2mm", "normals"}:  # the same samples of the same faces
        assert there[metric] == pytest.approx(here[metric], rel=0.01), metric
    for metric in ("iou", "missed", "wasted"):  # another box around both
        assert there[metric] == pytest.approx(here[metric], abs=0.015), metric
    assert there["in_empty"] == pytest.approx(here["in_empty"], abs=0.03)  # other voxels
