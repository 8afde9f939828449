"""Evenly spread points on a mesh, and a box around it."""

from __future__ import annotations

import numpy as np

from sparse_recon.geometry.poses import pose
from sparse_recon.types import Float32, Float64, Int32, OrientedBox


def sample_surface(
    vertices: Float32, faces: Int32, spacing_m: float, max_points: int, generator: np.random.Generator
) -> tuple[Float32, Float32]:
    """Sample (N, 3) points and outward unit normals so that neighbours are about `spacing_m` apart.

    Stratified by area along the face list, then thinned to one point per cell, so that the density is even. Where
    `max_points` do not reach for the whole surface, they are farther apart.
    """
    triangle = vertices[faces].astype(np.float64)
    cross = np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0])
    area = 0.5 * np.linalg.norm(cross, axis=1)
    spacing_m = max(spacing_m, float(np.sqrt(area.sum() / max_points)))
    wanted = int(np.clip(area.sum() / spacing_m**2, 50, max_points))
    dense = 3 * wanted
    position = (np.arange(dense) + generator.random(dense)) / dense * area.sum()
    face = np.minimum(np.searchsorted(np.cumsum(area), position), len(faces) - 1)
    r1, r2 = np.sqrt(generator.random(dense)), generator.random(dense)
    weights = np.stack([1 - r1, r1 * (1 - r2), r1 * r2], axis=1)
    points = np.einsum("nk,nkd->nd", weights, triangle[face])
    normals = cross[face] / np.maximum(2 * area[face, None], 1e-18)
    keep = _one_per_cell(points, spacing_m)
    if len(keep) > max_points:  # in the order of the faces, so that none stays bare
        keep = keep[np.linspace(0, len(keep) - 1, max_points).astype(np.intp)]
    return points[keep].astype(np.float32), normals[keep].astype(np.float32)


def scattered(vertices: Float32, faces: Int32, spacing_m: float, max_points: int) -> Float32:
    """Return (N, 3) points spread over a mesh by area, about one per `spacing_m` squared, always the same ones."""
    triangle = vertices[faces]
    area = 0.5 * np.linalg.norm(np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]), axis=1)
    count = int(np.clip(area.sum() / spacing_m**2, 100, max_points))
    face = np.searchsorted(np.cumsum(area), (np.arange(count) + 0.5) / count * area.sum())
    face = np.minimum(face, len(faces) - 1)
    # The additive recurrence of the plastic number fills the triangles evenly (Roberts 2018).
    u, v = (np.arange(count)[:, None] * (0.7548776662466927, 0.5698402909980532) % 1.0).T.astype(np.float32)
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    corner = triangle[face]
    return corner[:, 0] + u[:, None] * (corner[:, 1] - corner[:, 0]) + v[:, None] * (corner[:, 2] - corner[:, 0])


def _one_per_cell(points: Float64, cell_m: float) -> np.ndarray:
    cells = np.floor((points - points.min(axis=0)) / cell_m).astype(np.int64)
    size = cells.max(axis=0) + 1
    _, first = np.unique((cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2], return_index=True)
    return np.sort(first)


def upright_box(vertices_obj: Float32, T_world_obj: Float64) -> OrientedBox:
    """Return the smallest box around (V, 3) vertices that stands upright in the object frame, in the world frame."""
    import cv2

    (cx, cy), (width, depth), angle_deg = cv2.minAreaRect(vertices_obj[:, :2].astype(np.float32))
    low, high = float(vertices_obj[:, 2].min()), float(vertices_obj[:, 2].max())
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    T_obj_box = pose(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), (cx, cy, 0.5 * (low + high)))
    size = np.maximum([width, depth, high - low], 1e-4)
    return OrientedBox(T_world_obj @ T_obj_box, np.asarray(size, np.float64))
