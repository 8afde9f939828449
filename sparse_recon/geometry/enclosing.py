"""A mesh of few triangles that holds another one: nothing that a planner must avoid is lost to the budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float64, Positions, TriangleMesh

# What it must hold is looked at so finely; so often it is pushed, each time by so much more than was missing.
FINE_M, NEAR_M, HELD_M, PUSHES, MORE = 0.001, 0.001, 0.0003, 20, 1.1
# Where that comes to no end, or so many times the triangles are needed at FINE_M, it is rounded first: the level so
# many cells outside, of grids of so many cells; 0 for none.
ROUGH, ROUNDED_CELLS, ROUNDED_LEVEL = 4.0, (0, 48, 32, 20), 0.6
# Held is held but for this share of the volume: rounding of single precision.
MISSED_SHARE = 1e-7
# What is not held like that gets planes around its convex hull, of so many directions a face of the budget. Corners
# nearer to each other than this are one.
SHARES_OF_DIRECTIONS, CORNER_M = (0.48, 0.4, 0.3, 0.2, 0.1, 0.0), 1e-4
_PAIRS_AT_ONCE = 400_000


def enclosing(mesh: TriangleMesh, max_faces: int) -> TriangleMesh:
    """Return a closed mesh of at most `max_faces` triangles that holds a closed one; itself where it has no more.

    It is decimated, and corners of triangles with something outside them are pushed out until nothing is; where that
    comes to no end, after rounding it. Where it is smaller, it is the body between planes around the convex hull.

    Parameters
    ----------
    max_faces : 12 or more.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    origin = mesh.vertices_world.mean(axis=0, dtype=np.float64)
    solid = _solid(mesh.vertices_world - origin, mesh.faces)
    if solid is None:
        return _polytope(mesh.vertices_world, max_faces)
    fine, faces = _arrays(solid.simplify(FINE_M))
    rough = len(faces) > ROUGH * max_faces
    convex = _polytope(mesh.vertices_world, max_faces)
    for cells in ROUNDED_CELLS[int(rough) :]:
        body = _rounded(solid, cells) if cells else solid
        vertices, faces = _decimated(body, max_faces)
        for pushed in _pushed(vertices, faces, fine) if _solid(vertices, faces) is not None else ():
            held = _solid(pushed, faces)
            if held is not None and (solid - held).volume() <= MISSED_SHARE * solid.volume():
                closest = TriangleMesh(
                    (pushed + origin).astype(mesh.vertices_world.dtype), faces.astype(np.int32), True
                )
                return closest if held.volume() < _volume(convex) else convex
    return convex


def _rounded(solid: Any, cells: int) -> Any:
    """Return a smooth solid around another one, on a grid of so many cells along its longest edge."""
    from manifold3d import Manifold, Mesh
    from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter
    from skimage.measure import marching_cubes

    vertices, _ = _arrays(solid)
    cell_m = float(np.ptp(vertices, axis=0).max()) / cells
    points, _ = _arrays(solid.refine_to_length(0.7 * cell_m))
    low = vertices.min(axis=0) - 4.0 * cell_m
    index = np.rint((points - low) / cell_m).astype(np.int64)
    touched = np.zeros(index.max(axis=0) + 5, bool)
    touched[tuple(index.T)] = True
    touched = binary_fill_holes(touched)
    sdf = np.where(touched, 0.5 - distance_transform_edt(touched), distance_transform_edt(~touched) - 0.5)
    corners, faces, _, _ = marching_cubes(gaussian_filter(sdf, 1.0), ROUNDED_LEVEL, gradient_direction="descent")
    corners = (corners * cell_m + low).astype(np.float32)
    return Manifold(Mesh(vert_properties=corners, tri_verts=faces.astype(np.uint32)))


def _decimated(solid: Any, max_faces: int) -> tuple[Float64, npt.NDArray[np.int64]]:
    """Return vertices and at most `max_faces` triangles (Garland and Heckbert 1997)."""
    import open3d

    vertices, faces = _arrays(solid)
    mesh = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(vertices), open3d.utility.Vector3iVector(faces.astype(np.int32))
    )
    coarse = mesh.simplify_quadric_decimation(max_faces)
    return np.asarray(coarse.vertices), np.asarray(coarse.triangles).astype(np.int64)


def _pushed(vertices: Float64, faces: npt.NDArray[np.int64], points: Float64) -> Iterator[Float64]:
    """Yield the vertices pushed out, until no point is outside, and a little more each time after that."""
    vertices = vertices.copy()
    for _ in range(PUSHES):
        normal = _vertex_normals(vertices, faces)
        distance, triangle = _outside_by(points, vertices, faces)
        near = distance > -NEAR_M  # what is deeper inside stays there
        points, distance, triangle = points[near], distance[near], triangle[near]
        out = np.nonzero(distance > 0)[0]
        push = np.zeros(len(vertices))
        for corner in range(3):
            np.maximum.at(push, faces[triangle[out], corner], distance[out])
        vertices += normal * (MORE * push + (1e-5 if len(out) else 2e-4))[:, None]
        if len(out) == 0 or distance.max() < HELD_M:
            yield vertices


def _outside_by(
    points: Float64, vertices: Float64, faces: npt.NDArray[np.int64]
) -> tuple[Float64, npt.NDArray[np.intp]]:
    """Return by how much each point (N,) is outside, negative inside, and its nearest triangle (N,)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-15)
    signed, nearest = np.empty(len(points)), np.empty(len(points), np.intp)
    step = max(1, _PAIRS_AT_ONCE // len(faces))
    for start in range(0, len(points), step):
        p = points[start : start + step]
        closest = _closest_on_triangles(p, a, b, c)
        away = p[:, None] - closest
        square = np.einsum("ptd,ptd->pt", away, away)
        # Of the triangles that share the nearest edge or corner, the one that the point is farthest before decides.
        height = np.einsum("ptd,td->pt", away, normal)
        tie = square <= square.min(axis=1, keepdims=True) + 1e-12
        best = np.argmax(np.where(tie, np.abs(height), -1.0), axis=1)
        rows = np.arange(len(p))
        nearest[start : start + step] = best
        signed[start : start + step] = np.sign(height[rows, best]) * np.sqrt(square[rows, best])
    return signed, nearest


def _closest_on_triangles(p: Float64, a: Float64, b: Float64, c: Float64) -> Float64:
    """Return the nearest point (P, T, 3) of each triangle (T, 3) to each point (P, 3) (Ericson 2004, 5.1.5)."""
    ab, ac = b - a, c - a
    ap = p[:, None] - a
    d1, d2 = np.einsum("td,ptd->pt", ab, ap), np.einsum("td,ptd->pt", ac, ap)
    bp = p[:, None] - b
    d3, d4 = np.einsum("td,ptd->pt", ab, bp), np.einsum("td,ptd->pt", ac, bp)
    cp = p[:, None] - c
    d5, d6 = np.einsum("td,ptd->pt", ab, cp), np.einsum("td,ptd->pt", ac, cp)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    total = np.where(np.abs(va + vb + vc) < 1e-30, 1.0, va + vb + vc)
    v, w = vb / total, vc / total
    with np.errstate(invalid="ignore", divide="ignore"):
        on_ab = np.nan_to_num(d1 / (d1 - d3))
        on_ac = np.nan_to_num(d2 / (d2 - d6))
        on_bc = np.nan_to_num((d4 - d3) / ((d4 - d3) + (d5 - d6)))
    cases = [
        ((d1 <= 0) & (d2 <= 0), 0.0, 0.0),
        ((d3 >= 0) & (d4 <= d3), 1.0, 0.0),
        ((d6 >= 0) & (d5 <= d6), 0.0, 1.0),
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), on_ab, 0.0),
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), 0.0, on_ac),
        ((va <= 0) & (d4 - d3 >= 0) & (d5 - d6 >= 0), 1.0 - on_bc, on_bc),
    ]
    here = [case for case, _, _ in cases]
    v = np.select(here, [np.broadcast_to(x, v.shape) for _, x, _ in cases], v)
    w = np.select(here, [np.broadcast_to(x, w.shape) for _, _, x in cases], w)
    return a + v[..., None] * ab + w[..., None] * ac


def _vertex_normals(vertices: Float64, faces: npt.NDArray[np.int64]) -> Float64:
    corner = vertices[faces]
    area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normal, faces[:, k], area)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-15)


def _polytope(vertices: Positions, max_faces: int) -> TriangleMesh:
    """Return the convex body between planes of directions spread over the sphere, each touching the points."""
    from manifold3d import Manifold
    from scipy.spatial import ConvexHull, HalfspaceIntersection

    points: Float64 = vertices.astype(np.float64)
    centre = points[ConvexHull(points).vertices].mean(axis=0)
    for share in SHARES_OF_DIRECTIONS:
        normal = np.concatenate([np.eye(3), -np.eye(3), _spread(max(int(share * max_faces) - 6, 0))])
        reach = np.max(normal @ (points - centre).T, axis=1) + 2.0 * CORNER_M
        corners = HalfspaceIntersection(np.column_stack([normal, -reach]), np.zeros(3)).intersections
        body = Manifold.hull_points(corners).simplify(CORNER_M)
        if body.num_tri() <= max_faces:
            break
    corners, faces = _arrays(body)
    return TriangleMesh((corners + centre).astype(vertices.dtype), faces.astype(np.int32), True)


def _spread(count: int) -> Float64:
    """Return `count` directions (N, 3), evenly spread (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z, angle = 1.0 - 2.0 * k / max(count, 1), np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - z**2)
    return np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])


def _volume(mesh: TriangleMesh) -> float:
    a, b, c = (mesh.vertices_world[mesh.faces[:, k]].astype(np.float64) - mesh.vertices_world[0] for k in range(3))
    return float(np.einsum("fd,fd->", a, np.cross(b, c))) / 6.0


def _solid(vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]) -> Any:
    """Return the `manifold3d.Manifold` of a mesh, None where it is not one."""
    from manifold3d import Error, Manifold, Mesh

    mesh = Mesh(vert_properties=vertices.astype(np.float32), tri_verts=faces.astype(np.uint32))
    mesh.merge()
    solid = Manifold(mesh)
    return solid if solid.status() == Error.NoError and solid.volume() > 0 else None


def _arrays(solid: Any) -> tuple[Float64, npt.NDArray[np.int64]]:
    mesh = solid.to_mesh()
    return np.asarray(mesh.vert_properties[:, :3], np.float64), np.asarray(mesh.tri_verts, np.int64)
