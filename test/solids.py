"""Meshes of solids whose volume, surface and distances are known."""

from __future__ import annotations

import numpy as np
import trimesh

from sparse_recon.geometry.poses import transform_points
from sparse_recon.types import TriangleMesh


def as_mesh(mesh: trimesh.Trimesh, centre=(0.0, 0.0, 0.0)) -> TriangleMesh:
    vertices = np.asarray(mesh.vertices) + np.asarray(centre)
    return TriangleMesh(vertices.astype(np.float32), np.asarray(mesh.faces, np.int32), bool(mesh.is_watertight))


def ball(radius_m: float = 0.05, centre=(0.0, 0.0, 0.0)) -> TriangleMesh:
    """Return a ball whose faces lie up to 7 um inside at 5 cm."""
    return as_mesh(trimesh.creation.icosphere(subdivisions=5, radius=radius_m), centre)


def box(size_m=(0.1, 0.06, 0.08), centre=(0.0, 0.0, 0.0), subdivisions: int = 3) -> TriangleMesh:
    mesh = trimesh.creation.box(size_m)
    for _ in range(subdivisions):
        mesh = mesh.subdivide()
    return as_mesh(mesh, centre)


def torus(major_m: float = 0.05, minor_m: float = 0.015) -> TriangleMesh:
    """Return a torus about z whose faces lie up to 7 um inside."""
    return as_mesh(trimesh.creation.torus(major_m, minor_m, major_sections=256, minor_sections=128))


def moved(mesh: TriangleMesh, T_world_mesh: np.ndarray) -> TriangleMesh:
    vertices = transform_points(T_world_mesh, mesh.vertices_world.astype(np.float64))
    return TriangleMesh(vertices.astype(np.float32), mesh.faces, mesh.watertight)


def shifted(mesh: TriangleMesh, by_m) -> TriangleMesh:
    return TriangleMesh((mesh.vertices_world + np.asarray(by_m)).astype(np.float32), mesh.faces, mesh.watertight)


def together(*meshes: TriangleMesh) -> TriangleMesh:
    first = np.cumsum([0, *(len(m.vertices_world) for m in meshes)])
    return TriangleMesh(
        np.concatenate([m.vertices_world for m in meshes]),
        np.concatenate([m.faces + np.int32(start) for m, start in zip(meshes, first, strict=False)]),
        all(m.watertight for m in meshes),
    )


def flipped(mesh: TriangleMesh) -> TriangleMesh:
    return TriangleMesh(mesh.vertices_world, mesh.faces[:, ::-1].copy(), mesh.watertight)


def holed(mesh: TriangleMesh, centre, radius_m: float) -> TriangleMesh:
    """Return a mesh without the faces whose middle lies near a point."""
    middle = mesh.vertices_world[mesh.faces].mean(axis=1)
    return TriangleMesh(mesh.vertices_world, mesh.faces[np.linalg.norm(middle - centre, axis=1) > radius_m])


def nothing() -> TriangleMesh:
    return TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def turn(seed: int, far_m: float = 1.0) -> np.ndarray:
    """Return a random rigid transform."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = rng.uniform(-far_m, far_m, 3)
    return T
