"""Whether a mesh or cloud can be measured at all, and what of it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.mesh_query import area_vectors
from sparse_recon.types import Float32, TriangleMesh

# An answer so many times larger than the object is no bad guess, but in another unit.
OTHER_UNIT = 50.0


def check_points(points_world: Float32, what: str) -> None:
    """Refuse what are not finite (N, 3) points; N may be 0.

    Raises
    ------
    InputError
        MESH_INVALID.
    """
    if points_world.ndim != 2 or points_world.shape[1] != 3:
        raise InputError(ErrorCode.MESH_INVALID, f"{what}: points must be (N, 3), got {points_world.shape}")
    broken = int((~np.isfinite(points_world)).any(axis=1).sum())
    if broken:
        raise InputError(
            ErrorCode.MESH_INVALID,
            f"{what}: {broken} of {len(points_world)} points are not finite; remove them before they are measured",
        )


def check_mesh(mesh: TriangleMesh, what: str) -> None:
    """Refuse vertices that are not finite, and faces of vertices that are not there; a mesh may be empty.

    Raises
    ------
    InputError
        MESH_INVALID.
    """
    check_points(mesh.vertices_world, what)
    faces, count = mesh.faces, len(mesh.vertices_world)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(ErrorCode.MESH_INVALID, f"{what}: faces must be (F, 3) triangles, got {faces.shape}")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < count:
        raise InputError(
            ErrorCode.MESH_INVALID,
            f"{what}: faces must name its {count} vertices, 0 to {count - 1}, got {faces.min()} to {faces.max()}",
        )


def check_true_mesh(mesh: TriangleMesh, what: str) -> tuple[str, ...]:
    """Refuse a mesh that cannot be the truth of anything, and return the warnings, as sentences, about one that can.

    Distances between surfaces need no closed mesh; volumes do, up to small holes (`volume.Overlap.refusal`).

    Raises
    ------
    InputError
        MESH_INVALID where `check_mesh` refuses, or if the mesh has no surface.
    """
    check_mesh(mesh, what)
    if not np.any(area_vectors(mesh)):
        raise InputError(
            ErrorCode.MESH_INVALID,
            f"{what} is empty: {len(mesh.vertices_world)} vertices and {len(mesh.faces)} faces without any area; "
            "give a mesh with triangles",
        )
    found = open_edges(mesh)
    if not found:
        return ()
    return (
        f"{what} is not watertight, {found} edges do not belong to exactly two faces: its volume can be measured only "
        "where they bound small holes",
    )


def check_unit(points_world: Float32, diameter_m: float, what: str) -> None:
    """Refuse an answer so large that it cannot be in metres; points (N, 3), `diameter_m` of the true object.

    Raises
    ------
    InputError
        MESH_INVALID.
    """
    if len(points_world) == 0:
        return
    size = float(np.ptp(points_world, axis=0).max())
    if size <= OTHER_UNIT * diameter_m:
        return
    unit = "millimetres" if size > 400.0 * diameter_m else "centimetres"
    raise InputError(
        ErrorCode.MESH_INVALID,
        f"{what} is {size:g} m long and the object {diameter_m:g} m: it looks like {unit}; answers are in metres of "
        "the world frame",
    )


def open_edges(mesh: TriangleMesh) -> int:
    """Count the edges that do not belong to exactly two faces; vertices at one place count as one (texture seams)."""
    if len(mesh.faces) == 0:
        return 0
    _, index = np.unique(mesh.vertices_world, axis=0, return_inverse=True)
    corner: Any = index.ravel()[mesh.faces]
    corner = corner[(corner[:, 0] != corner[:, 1]) & (corner[:, 1] != corner[:, 2]) & (corner[:, 2] != corner[:, 0])]
    edges = np.sort(np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]]), axis=1).astype(np.int64)
    _, faces = np.unique(edges[:, 0] * len(mesh.vertices_world) + edges[:, 1], return_counts=True)
    return int((faces != 2).sum())
