"""How well a completed object fits the one that truly stands there."""

from __future__ import annotations

import numpy as np

from sparse_recon.fuse.confidence import CORRECT_WITHIN_M
from sparse_recon.fuse.surface_points import upright_box
from sparse_recon.geometry.poses import pose, rotation_to_up
from sparse_recon.lab.evaluate.metrics.calibration import coverage, reliability
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.types import CompletedObject, Float64, Provenance, TriangleMesh

SAMPLES = 20_000
FLOOR_STEP_M, FLOOR_WITHIN_M = 0.003, 0.01


def geometry_metrics(completed: CompletedObject, truth: TriangleMesh) -> tuple[dict[str, float], Float64]:
    """Return figures of one object, and the `reliability` table of its confidence, all points alike.

    `floor_pct` is the share of the true surface that is seen from straight above which the answer has within 1 cm:
    a bowl without its floor lacks most of it. `size_pct` is the mean error of the edges of the box.
    """
    predicted, true = Surface.of_mesh(completed.nominal, SAMPLES, 1), Surface.of_mesh(truth, SAMPLES, 2)
    distances = surface_distances(predicted, true)
    diagonal_m = float(np.linalg.norm(np.ptp(truth.vertices_world, axis=0)))
    up = completed.box.T_world_box[:3, 2]
    true_size = np.sort(_box_size(truth, up))
    error_m, _ = true.nearest(completed.points_world)
    inferred = completed.provenance == Provenance.INFERRED
    metrics = {
        "chamfer_mm": 1e3 * distances.chamfer_m,
        "chamfer_pct": 100 * distances.chamfer_m / diagonal_m,
        "f_2pct": 100 * distances.f_score(0.02 * diagonal_m),
        "f_5mm": 100 * distances.f_score(0.005),
        "size_pct": 100 * float(np.mean(np.abs(np.sort(completed.box.size_m) / true_size - 1.0))),
        "floor_pct": 100 * _seen_from_above(completed.nominal, truth, up),
        "observed_right_pct": 100 * coverage(error_m[~inferred].astype(np.float32), CORRECT_WITHIN_M),
        "within_radius90_pct": 100 * coverage(error_m[inferred].astype(np.float32), completed.quality.radius90_m),
    }
    return metrics, reliability(completed.confidence, error_m < CORRECT_WITHIN_M)


def _box_size(mesh: TriangleMesh, up_world: Float64) -> Float64:
    R = rotation_to_up(up_world)
    return upright_box((mesh.vertices_world @ R).astype(np.float32), pose(R, np.zeros(3))).size_m


def _seen_from_above(answer: TriangleMesh, truth: TriangleMesh, up_world: Float64) -> float:
    """Return the share of vertical rays onto the truth after which the answer lies within `FLOOR_WITHIN_M` of it."""
    R = rotation_to_up(up_world)
    low, high = (truth.vertices_world @ R).min(axis=0), (truth.vertices_world @ R).max(axis=0)
    x, y = (np.arange(low[i], high[i], FLOOR_STEP_M) for i in range(2))
    start = np.stack([*np.meshgrid(x, y), np.full((len(y), len(x)), high[2] + 0.5)], axis=-1).reshape(-1, 3) @ R.T
    true_m, answer_m = (MeshQuery(m).first_hit(start, -up_world) for m in (truth, answer))
    hit = np.isfinite(true_m)
    return float(np.mean(np.abs(answer_m[hit] - true_m[hit]) < FLOOR_WITHIN_M)) if hit.any() else float("nan")
