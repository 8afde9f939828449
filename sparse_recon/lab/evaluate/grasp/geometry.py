"""What a grasp planner is given of an object: its surface as points, and what its hand must not touch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.fuse.mesh import is_closed
from sparse_recon.fuse.surface_points import scattered
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.simulate.scene import samples_with_faces
from sparse_recon.types import Float32, Float64, TriangleMesh

SURFACE_POINTS = 2000
OBSTACLE_SPACING_M = 0.003
MAX_OBSTACLES = 12_000
_CLOUD_CELL_M = 0.002
_CONFIDENCE_WITHIN_M = 0.01


@dataclass(frozen=True, eq=False)
class GivenGeometry:
    """An object as far as a source knows it; world frame, metres.

    Attributes
    ----------
    points, normals : (N, 3) float32, surface points and outward unit normals.
    obstacles : (M, 3) float32, points of the surface that the hand must keep away from.
    centre_of_mass : (3,) of a body of even density; of the points where the surface is not closed.
    closed : the surface has an inside, so that each of its sides is known or claimed.
    confidence : (N,) float32, claimed probability that a point is right; None where the source claims nothing.
    hypotheses : what the object may be like instead, each with its `weight` beside the others.
    """

    points: Float32
    normals: Float32
    obstacles: Float32
    centre_of_mass: Float64
    closed: bool
    confidence: Float32 | None = None
    hypotheses: tuple[GivenGeometry, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        count = len(self.points)
        if count == 0 or self.points.shape != (count, 3) or self.normals.shape != (count, 3):
            raise InputError(
                ErrorCode.USAGE,
                f"a grasp needs (N, 3) points with as many normals, N > 0; got {self.points.shape} and "
                f"{self.normals.shape}",
            )
        _check_finite(self.points, self.normals, self.obstacles)


def given_mesh(
    surface: TriangleMesh, conservative: TriangleMesh | None = None, *, count: int = SURFACE_POINTS, seed: int = 0
) -> GivenGeometry:
    """Return what a mesh says of an object; with a `conservative` mesh, that is what the hand keeps away from.

    Raises
    ------
    InputError
        If a mesh has no triangles or values that are not finite.
    """
    if len(surface.faces) == 0:
        raise InputError(ErrorCode.MESH_INVALID, "the surface to grasp has no triangles")
    points, face = samples_with_faces(surface, count, seed)
    corner = surface.vertices_world[surface.faces].astype(np.float64)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-18)
    closed = is_closed(surface.vertices_world, surface.faces)
    centre = _volume_centre(corner) if closed else points.mean(axis=0).astype(np.float64)
    hull = conservative if conservative is not None and len(conservative.faces) else surface
    obstacles = scattered(hull.vertices_world, hull.faces, OBSTACLE_SPACING_M, MAX_OBSTACLES)
    return GivenGeometry(points, normal[face].astype(np.float32), obstacles.astype(np.float32), centre, closed)


def given_points(points: Float32, normals: Float32, *, count: int = SURFACE_POINTS, seed: int = 0) -> GivenGeometry:
    """Return what measured points, (N, 3) with outward unit normals, say of an object; thinned to an even density."""
    points, normals = np.asarray(points, np.float32), np.asarray(normals, np.float32)
    if len(points) == 0 or points.shape != normals.shape:
        raise InputError(
            ErrorCode.USAGE, f"points need as many normals, more than none; got {points.shape} and {normals.shape}"
        )
    _check_finite(points, normals)
    order = np.random.default_rng(seed).permutation(len(points))
    even = order[_first_in_cell(points[order])]
    obstacles, chosen = points[even[:MAX_OBSTACLES]], even[:count]
    return GivenGeometry(points[chosen], normals[chosen], obstacles, points[even].mean(axis=0, dtype=float), False)


def given_prediction(prediction: Prediction, *, count: int = SURFACE_POINTS, seed: int = 0) -> GivenGeometry:
    """Return what a method says of an object: its mesh where it has one, else its points.

    Raises
    ------
    InputError
        If there are neither triangles, nor points with normals.
    """
    if prediction.surface is not None and len(prediction.surface.faces):
        given = given_mesh(prediction.surface, prediction.conservative, count=count, seed=seed)
        drawn = [(given_mesh(h.mesh, count=count, seed=seed), h.weight) for h in prediction.hypotheses]
        given = replace(given, hypotheses=tuple(replace(one, weight=weight) for one, weight in drawn))
    elif prediction.normals_world is not None:
        given = given_points(prediction.points_world, prediction.normals_world, count=count, seed=seed)
    else:
        raise InputError(ErrorCode.USAGE, "grasps on points need their normals; the prediction has neither nor a mesh")
    if prediction.confidence is None or not len(prediction.points_world):
        return given
    from scipy.spatial import cKDTree

    distance_m, nearest = cKDTree(prediction.points_world).query(given.points)
    confidence = np.where(distance_m < _CONFIDENCE_WITHIN_M, prediction.confidence[nearest], 0.0).astype(np.float32)
    return replace(given, confidence=confidence)


def _check_finite(*arrays: Float32) -> None:
    if not all(np.isfinite(a).all() for a in arrays):
        raise InputError(ErrorCode.MESH_INVALID, "the surface to grasp has values that are not finite")


def _volume_centre(corner: Float64) -> Float64:
    """Return the centre of mass (3,) of the solid inside closed triangles (F, 3, 3)."""
    from trimesh.triangles import mass_properties

    origin = corner.reshape(-1, 3).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # the centre of no volume, which is not used
        found = mass_properties(corner - origin, skip_inertia=True)
    return np.asarray(origin if abs(found.volume) < 1e-12 else origin + found.center_mass)


def _first_in_cell(points: Float32) -> np.ndarray:
    """Return the ascending indices of the first point of every cell, so that dense views weigh no more."""
    cell = np.floor(points / np.float32(_CLOUD_CELL_M)).astype(np.int64)
    return np.sort(np.unique(cell, axis=0, return_index=True)[1])
