"""Distances between two surfaces: Chamfer distance, F-score, normal consistency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.checks import check_mesh, check_points
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery, area_vectors
from sparse_recon.lab.simulate.scene import samples_with_faces
from sparse_recon.types import Bool, Float32, Float64, TriangleMesh


@dataclass(frozen=True, eq=False)
class Surface:
    """A mesh or a cloud, as points that stand for it.

    Attributes
    ----------
    points_world : (N, 3) float32 metres; of a mesh drawn uniformly by area, of a cloud its own.
    normals_world : (N, 3) float32 unit normals; None for a cloud without.
    mesh : None for a cloud.

    Raises
    ------
    InputError
        MESH_INVALID for points that are not (N, 3) or not finite, or normals that are not as many.
    """

    points_world: Float32
    normals_world: Float32 | None = None
    mesh: TriangleMesh | None = None

    def __post_init__(self) -> None:
        check_points(self.points_world, "surface")
        if self.normals_world is not None and self.normals_world.shape != self.points_world.shape:
            raise InputError(
                ErrorCode.MESH_INVALID,
                f"surface: give one normal per point, got {self.normals_world.shape} for {self.points_world.shape}",
            )

    @classmethod
    def of_mesh(cls, mesh: TriangleMesh, count: int, seed: int) -> Surface:
        """Draw `count` points uniformly by area; none where the mesh has no area.

        Raises
        ------
        InputError
            MESH_INVALID for values that are not finite, or faces of vertices that are not there.
        """
        check_mesh(mesh, "surface")
        normals = area_vectors(mesh)
        if not np.any(normals):
            nothing = np.zeros((0, 3), np.float32)
            return cls(nothing, nothing, TriangleMesh(nothing, np.zeros((0, 3), np.int32)))
        points, face = samples_with_faces(mesh, count, seed)
        drawn = normals[face]
        return cls(points, (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32), mesh)

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points_world)

    @cached_property
    def query(self) -> MeshQuery | None:
        return None if self.mesh is None else MeshQuery(self.mesh)

    def nearest(self, points_world: Float32) -> tuple[Float64, Float64]:
        """Return how far (M, 3) points lie from this surface, (M,) metres, and its normals (M, 3) there.

        The distance to a mesh is to its triangles, not to its samples, so that sampling adds nothing to it. That to a
        cloud is to its points. NaN where the surface is empty, and for unknown normals.
        """
        if self.query is not None:
            return self.query.closest(points_world)
        normals = np.full((len(points_world), 3), np.nan)
        if len(self.points_world) == 0 or len(points_world) == 0:
            return normals[:, 0], normals
        distance_m, index = self.tree.query(points_world, workers=1)
        return distance_m, normals if self.normals_world is None else self.normals_world[index].astype(np.float64)


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far a predicted and a true surface lie apart, sample by sample; every mean over no sample is NaN.

    Attributes
    ----------
    accuracy_m : (N,) float64, from the predicted samples to the true surface.
    completeness_m : (M,) float64, from the true samples to the predicted surface.
    accuracy_cos, completeness_cos : (N,) and (M,) |cosine| between the normal of a sample and that of the other surface
        where it is nearest; NaN where one is unknown.
    nearest_true : (N,) index of the true sample nearest to each predicted one; -1 where there is none.
    """

    accuracy_m: Float64
    completeness_m: Float64
    accuracy_cos: Float64
    completeness_cos: Float64
    nearest_true: npt.NDArray[np.intp]

    def part(self, true_samples: Bool) -> SurfaceDistances:
        """Keep some of the true samples, (M,) bool, and the predicted samples whose nearest true one is kept.

        Kept samples are still measured against the whole of the other surface.

        Raises
        ------
        InputError
            USAGE if there is not one value per true sample.
        """
        if true_samples.shape != self.completeness_m.shape:
            raise InputError(
                ErrorCode.USAGE,
                f"a part must be one bool per true sample, ({len(self.completeness_m)},), got {true_samples.shape}",
            )
        predicted = np.append(true_samples, False)[self.nearest_true]
        return SurfaceDistances(
            self.accuracy_m[predicted],
            self.completeness_m[true_samples],
            self.accuracy_cos[predicted],
            self.completeness_cos[true_samples],
            np.cumsum(true_samples)[self.nearest_true[predicted]] - 1,
        )

    @property
    def accuracy_mean_m(self) -> float:
        return _mean(self.accuracy_m)

    @property
    def completeness_mean_m(self) -> float:
        return _mean(self.completeness_m)

    @property
    def chamfer_m(self) -> float:
        """Chamfer distance, metres: the mean of mean accuracy and mean completeness, not squared."""
        return 0.5 * (self.accuracy_mean_m + self.completeness_mean_m)

    @property
    def normal_consistency(self) -> float:
        """Mean |cosine| between normals, of both directions, in [0, 1] (Mescheder et al., CVPR 2019).

        Unsigned, so that it does not depend on which way the faces of a mesh are wound.
        """
        return 0.5 * (_mean(self.accuracy_cos) + _mean(self.completeness_cos))

    def f_score(self, threshold_m: float) -> float:
        """Return the harmonic mean, in [0, 1], of precision and recall at a distance (Knapitsch et al., TOG 2017).

        0 where one of them is, also if there are no samples for the other.
        """
        precision, recall = _share_within(self.accuracy_m, threshold_m), _share_within(self.completeness_m, threshold_m)
        return 0.0 if 0.0 in (precision, recall) else 2.0 * precision * recall / (precision + recall)


def surface_distances(predicted: Surface, true: Surface) -> SurfaceDistances:
    """Measure two surfaces of one world frame against each other; nothing is aligned."""
    accuracy_m, true_normals = true.nearest(predicted.points_world)
    completeness_m, predicted_normals = predicted.nearest(true.points_world)
    nearest_true = np.full(len(predicted.points_world), -1, np.intp)
    if len(true.points_world) and len(predicted.points_world):
        nearest_true = true.tree.query(predicted.points_world, workers=1)[1]
    return SurfaceDistances(
        accuracy_m,
        completeness_m,
        _unsigned_cosine(predicted.normals_world, true_normals),
        _unsigned_cosine(true.normals_world, predicted_normals),
        nearest_true,
    )


def _unsigned_cosine(normals: Float32 | None, others: Float64) -> Float64:
    if normals is None:
        return np.full(len(others), np.nan)
    return np.minimum(np.abs(np.einsum("nd,nd->n", normals.astype(np.float64), others)), 1.0)


def _mean(values: Float64) -> float:
    """Mean without NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _share_within(distance_m: Float64, threshold_m: float) -> float:
    known = distance_m[~np.isnan(distance_m)]
    return float((known < threshold_m).mean()) if len(known) else float("nan")
