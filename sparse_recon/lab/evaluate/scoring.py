"""All that is measured of one answer to one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparse_recon.errors import ErrorCode, SparseReconError, clipped
from sparse_recon.fuse.confidence import CORRECT_WITHIN_M
from sparse_recon.lab.evaluate.cases import LABEL, Case
from sparse_recon.lab.evaluate.metrics.calibration import (
    area_under_sparsification_error,
    coverage,
    expected_calibration_error,
    reliability,
    spearman,
)
from sparse_recon.lab.evaluate.metrics.checks import check_unit
from sparse_recon.lab.evaluate.metrics.free_space import dense, in_seen_empty
from sparse_recon.lab.evaluate.metrics.hypotheses import (
    energy_score_m,
    hidden_solid,
    mean_pairwise_chamfer_m,
    outside_all,
    reference_points,
    signed_distances_m,
)
from sparse_recon.lab.evaluate.metrics.images import psnr, ssim
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.lab.evaluate.metrics.surface import Surface, SurfaceDistances, surface_distances
from sparse_recon.lab.evaluate.metrics.visibility import seen_by
from sparse_recon.lab.evaluate.metrics.volume import Solid, overlap
from sparse_recon.lab.evaluate.metrics.walls import both_sides
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.results import Score
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.types import Bool, Float32, Float64, TriangleMesh

PREDICTED_SEED, TRUE_SEED = 1, 2
_FEWER = 5  # times fewer samples where pairs of hypotheses, or fields, are compared


@dataclass(frozen=True, eq=False)
class Examiner:
    """The truth of one object in one place, prepared for comparing many answers with it."""

    case: Case
    protocol: Protocol

    @cached_property
    def true_surface(self) -> Surface:
        return Surface.of_mesh(self.case.truth, self.protocol.samples, TRUE_SEED)

    @cached_property
    def true_solid(self) -> Solid:
        return Solid.of(self.case.truth, "the true mesh", self.true_surface.query)

    def seen(self, case: Case) -> Bool:
        """Return which samples of the true surface the cameras of a case truly saw."""
        true = self.true_surface
        assert true.normals_world is not None
        return seen_by(true.points_world, true.normals_world, case.observed_ideal, self.protocol.visible_tolerance_m)

    def score(self, method: str, case: Case, prediction: Prediction, peak_memory_mb: float = float("nan")) -> Score:
        """Measure an answer; `case` is the examiner's own, seen from some of its cameras.

        Raises
        ------
        InputError
            MESH_INVALID if the answer cannot be measured: not finite, or not in metres.
        """
        mesh, points = prediction.surface, prediction.points_world
        check_unit(points if mesh is None else mesh.vertices_world, case.diameter_m, f"the answer of {method}")
        surface = (
            Surface(points, prediction.normals_world)
            if mesh is None
            else Surface.of_mesh(mesh, self.protocol.samples, PREDICTED_SEED)
        )
        metrics = self._surface_metrics(case, surface) | self._volume_metrics(prediction, surface)
        metrics |= self._empty_metrics(case, prediction) | self._colour_metrics(case, prediction)
        metrics |= self._wall_metrics(case, surface) | self._hypothesis_metrics(case, prediction, surface)
        claims, bins = self._claims(prediction)
        seconds = sum(prediction.timings_s.values()) if prediction.timings_s else float("nan")
        return Score(
            case.name,
            case.condition,
            len(case.frames),
            case.seed,
            method,
            metrics=metrics | claims | {"seconds": seconds, "peak_memory_mb": peak_memory_mb},
            reliability=bins,
            timings_s=prediction.timings_s,
        )

    def _surface_metrics(self, case: Case, surface: Surface) -> dict[str, float]:
        distances, seen = surface_distances(surface, self.true_surface), self.seen(case)
        diagonal_m = float(np.linalg.norm(case.scene.objects[0].shape.size_m))
        found: dict[str, float] = {}
        for suffix, part in (
            ("", distances),
            ("_observed", distances.part(seen)),
            ("_inferred", distances.part(~seen)),
        ):
            found |= {f"{k}{suffix}": v for k, v in _distance_metrics(part, case.diameter_m, diagonal_m).items()}
        return found

    def _volume_metrics(self, prediction: Prediction, surface: Surface) -> dict[str, float]:
        if prediction.surface is None:
            return {}
        count = self.protocol.volume_samples
        solid = Solid.of(prediction.surface, "the answer", surface.query)
        both = overlap(solid, self.true_solid, count, TRUE_SEED)
        # Where a method claims no safe mesh, its best estimate is what a planner has.
        safe = prediction.conservative
        planned = both if safe is None else overlap(Solid.of(safe, "the safe mesh"), self.true_solid, count, TRUE_SEED)
        return {"iou_pct": 100 * both.iou, "missed_pct": 100 * planned.missed, "wasted_pct": 100 * planned.wasted}

    def _empty_metrics(self, case: Case, prediction: Prediction) -> dict[str, float]:
        voxel_m = self.protocol.empty_voxel_m
        tolerance_m = max(self.protocol.empty_tolerance_m, 3 * max(case.sigmas_m))

        def share_pct(points_world: Float32) -> float:
            return 100 * in_seen_empty(points_world, case.observed_ideal, voxel_m, tolerance_m, self.true_surface)

        if prediction.surface is None:
            return {"in_empty_pct": share_pct(prediction.points_world)}
        found = {"in_empty_pct": share_pct(dense(prediction.surface, voxel_m, PREDICTED_SEED))}
        if prediction.conservative is not None:
            found["in_empty_conservative_pct"] = share_pct(dense(prediction.conservative, voxel_m, PREDICTED_SEED))
        return found

    def _wall_metrics(self, case: Case, surface: Surface) -> dict[str, float]:
        """Say of shells, whose volume says little, how much of their walls has both its sides."""
        true, within_m = self.true_surface, 0.02 * case.diameter_m
        if surface.mesh is None or true.query is None:
            return {}
        share = both_sides(surface, true, true.query, case.diameter_m, within_m)
        return {} if np.isnan(share) else {"walls_pct": 100 * share}

    def _hypothesis_metrics(self, case: Case, prediction: Prediction, surface: Surface) -> dict[str, float]:
        """Hold what an object was said to look like instead against what it does look like."""
        true, drawn, query = self.true_surface, prediction.hypotheses, surface.query
        if not drawn or query is None or true.query is None:
            return {}
        surfaces = [Surface.of_mesh(h.mesh, self.protocol.samples, PREDICTED_SEED) for h in drawn]
        queries = [MeshQuery(h.mesh) for h in drawn]
        f = [100 * surface_distances(s, true).f_score(0.02 * case.diameter_m) for s in surfaces]
        few = [Surface.of_mesh(h.mesh, self.protocol.samples // _FEWER, PREDICTED_SEED) for h in drawn]
        hidden = hidden_solid(true, true.query, self.seen(case), self.protocol.volume_samples, TRUE_SEED)
        points = reference_points(self.case.truth, self.protocol.volume_samples // _FEWER, TRUE_SEED)
        answer_m, true_m, *drawn_m = (
            signed_distances_m(q, points, 0.1 * case.diameter_m) for q in (query, true.query, *queries)
        )
        weights, one = np.array([h.weight for h in drawn]), np.ones(1)
        return {
            "best_f_2pct": max(f),
            "hypothesis_f_2pct": float(weights @ f),
            "hidden_missed_pct": 100 * outside_all(hidden, [query]),
            "hidden_outside_pct": 100 * outside_all(hidden, queries),
            "pairwise_mm": 1e3 * mean_pairwise_chamfer_m(few),
            "energy_mm": 1e3 * energy_score_m(np.stack(drawn_m), weights, true_m),
            "energy_answer_mm": 1e3 * energy_score_m(answer_m[None], one, true_m),
        }

    def _claims(self, prediction: Prediction) -> tuple[dict[str, float], tuple[tuple[float, ...], ...] | None]:
        """Hold what was claimed of inferred points against their true errors."""
        if prediction.confidence is None or not prediction.inferred.any():
            return {}, None
        confidence = prediction.confidence[prediction.inferred]
        error_m, _ = self.true_surface.nearest(prediction.points_world[prediction.inferred])
        table = reliability(confidence, error_m < CORRECT_WITHIN_M)
        found = {
            "ece": expected_calibration_error(table),
            "ause": area_under_sparsification_error(confidence, error_m.astype(np.float32)),
            "spearman": spearman(confidence, error_m.astype(np.float32)),
        }
        if prediction.radius90_m is not None:
            found["coverage90_pct"] = 100 * coverage(error_m.astype(np.float32), prediction.radius90_m)
        return found, tuple(tuple(float(v) for v in row) for row in table)

    def _colour_metrics(self, case: Case, prediction: Prediction) -> dict[str, float]:
        """Compare the answer, rendered in its own colours, with what cameras elsewhere would have seen."""
        if prediction.surface is None or prediction.colors is None or not case.novel_ideal:
            return {}
        renderer = Renderer(scene_of([coloured(prediction, prediction.surface)], [np.eye(4)]))
        found: dict[str, list[float]] = {"psnr_db": [], "ssim": []}
        for ideal in case.novel_ideal:
            mine = renderer.render(ideal.intrinsics, ideal.T_world_cam, lit=False)
            either = ((ideal.labels == LABEL) | (mine.labels == LABEL)) & (ideal.labels <= LABEL)  # no other object
            found["psnr_db"].append(psnr(mine.rgb, ideal.rgb, either))
            found["ssim"].append(ssim(mine.rgb, ideal.rgb, either))
        return {name: float(np.mean(values)) for name, values in found.items()}


def refused(method: str, case: Case, error: Exception) -> Score:
    """Return the score of a method that gave no answer."""
    code = error.code if isinstance(error, SparseReconError) else ErrorCode.INTERNAL
    message = error.message if isinstance(error, SparseReconError) else f"{type(error).__name__}: {clipped(str(error))}"
    return Score(case.name, case.condition, len(case.frames), case.seed, method, code=code.name, message=message)


def coloured(prediction: Prediction, mesh: TriangleMesh) -> Shape:
    """Return a mesh of the answer with the colours of the nearest published points, in the world frame."""
    from scipy.spatial import cKDTree

    assert prediction.colors is not None
    _, nearest = cKDTree(prediction.points_world).query(mesh.vertices_world)
    vertices: Float64 = mesh.vertices_world.astype(np.float64)
    return Shape("prediction", vertices, mesh.faces, prediction.colors[nearest])


def _distance_metrics(distances: SurfaceDistances, diameter_m: float, diagonal_m: float) -> Mapping[str, float]:
    chamfer_m = distances.chamfer_m
    return {
        "chamfer_mm": 1e3 * chamfer_m,
        "chamfer_pct": 100 * chamfer_m / diameter_m,
        "chamfer_diagonal_pct": 100 * chamfer_m / diagonal_m,
        "accuracy_mm": 1e3 * distances.accuracy_mean_m,
        "completeness_mm": 1e3 * distances.completeness_mean_m,
        "f_1pct": 100 * distances.f_score(0.01 * diameter_m),
        "f_2pct": 100 * distances.f_score(0.02 * diameter_m),
        "f_5mm": 100 * distances.f_score(0.005),
        "normal_consistency": distances.normal_consistency,
    }
