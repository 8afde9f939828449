"""Closed, manifold, consistently wound triangle meshes from signed distance fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import MeshError
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Float32, Int32

# Decimation to a number of faces never moves the surface farther than this.
MAX_TOLERANCE_M = 0.01
COINCIDENT_STEP_M = 1e-5


def isosurface(sdf_m: Float32, grid: VoxelGrid) -> tuple[Float32, Int32]:
    """Extract the zero level, vertices (V, 3) float32 in the object frame and faces (F, 3), outward (Lewiner 2003).

    Raises
    ------
    MeshError
        If the field has no inside.
    """
    from skimage.measure import marching_cubes

    if not (sdf_m < 0).any():
        raise MeshError(
            "the completed signed distance field is positive everywhere: observed free space leaves no room for the "
            "object; check masks and camera poses, or add a view"
        )
    # A border of outside closes every surface; exact zeros would make vertices coincide.
    padded = np.pad(sdf_m, 1, constant_values=grid.voxel_m)
    tiny = np.float32(1e-3 * grid.voxel_m)
    padded = np.where(np.abs(padded) < tiny, np.where(padded < 0, -tiny, tiny), padded)
    low, high = _occupied_box(padded)
    block = padded[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    index, faces, _, _ = marching_cubes(block, 0.0, gradient_direction="descent")
    vertices = grid.points(index.astype(np.float64) + low - 1)
    return vertices.astype(np.float32), faces.astype(np.int32)


def _occupied_box(sdf: Float32) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    inside = sdf < 0
    spans = [np.nonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))[0] for axis in range(3)]
    low = np.array([s[0] for s in spans]) - 1
    high = np.array([s[-1] for s in spans]) + 2
    return low, high


def solid(vertices: Float32, faces: Int32, what: str) -> Any:
    """Return the `manifold3d.Manifold` of a mesh: the proof that it is closed, manifold and consistently wound.

    Raises
    ------
    MeshError
        If it is not, with the reason that manifold3d gives, or if it holds no volume.
    """
    from manifold3d import Error, Manifold, Mesh

    mesh = Mesh(vert_properties=vertices.astype(np.float32), tri_verts=faces.astype(np.uint32))
    mesh.merge()
    manifold = Manifold(mesh)
    if manifold.status() != Error.NoError:
        raise MeshError(
            f"the {what} mesh is not a closed manifold ({manifold.status()}) and is not published; add a view"
        )
    if manifold.volume() <= 0:
        raise MeshError(f"the {what} mesh encloses no volume and is not published; add a view")
    return manifold


def without_small_components(vertices: Float32, faces: Int32, min_component: float) -> tuple[Float32, Int32]:
    """Keep the connected parts that hold at least `min_component` of the volume.

    Closed-in cavities are parts of negative volume and go too: no robot can touch their surface.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    _, part = connected_components(coo_matrix((np.ones(len(edges), bool), edges.T), shape=(n, n)), directed=False)
    corner = vertices[faces].astype(np.float64)
    tetrahedron = np.einsum("fi,fi->f", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6.0
    volume = np.bincount(part[faces[:, 0]], weights=tetrahedron, minlength=part.max(initial=0) + 1)
    keep = volume >= min_component * np.abs(volume).sum()
    if not keep.any():
        keep[np.argmax(volume)] = True
    faces = faces[keep[part[faces[:, 0]]]]
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3).astype(np.int32)


def decimated(
    manifold: Any, tolerance_m: float, max_faces: int, accepted: Callable[[Any], bool] = lambda _: True
) -> Any:
    """Decimate a `manifold3d.Manifold`: the surface moves at most `tolerance_m`, more only to reach `max_faces`.

    Each coarser mesh is shown to `accepted`; the last one that it took is returned, whatever its number of faces.
    """
    simple = manifold.simplify(tolerance_m)
    while simple.num_tri() > max_faces and tolerance_m < MAX_TOLERANCE_M:
        tolerance_m = max(2.0 * tolerance_m, 1e-4)
        coarser = simple.simplify(tolerance_m)
        if not accepted(coarser):
            break
        simple = coarser
    return simple


def triangles(manifold: Any) -> tuple[Float32, Int32]:
    """Return the vertices (V, 3) float32 and faces (F, 3) int32 of a `manifold3d.Manifold`."""
    mesh = manifold.to_mesh()
    return np.asarray(mesh.vert_properties[:, :3], np.float32), np.asarray(mesh.tri_verts, np.int32)


def is_closed(vertices: Float32, faces: Int32) -> bool:
    """Whether every edge is shared by exactly two faces that run along it in opposite directions."""
    if len(faces) == 0:
        return False
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    n = len(vertices)
    forward = np.sort(edges[:, 0] * n + edges[:, 1])
    backward = np.sort(edges[:, 1] * n + edges[:, 0])
    return bool(np.array_equal(forward, backward) and len(np.unique(forward)) == len(forward))


def without_coincident(vertices: Float32, faces: Int32) -> Float32:
    """Return the vertices (V, 3) with those that share a position drawn apart by a hundredth of a millimetre.

    Two sheets that touch in a point are a closed manifold by their indices, but readers of PLY, STL and glTF weld equal
    positions, and after that the edges there belong to more than two faces. Where neighbouring float32 numbers are
    farther apart, vertices are drawn as far.
    """
    step_m = max(COINCIDENT_STEP_M, 2.0 * float(np.spacing(np.abs(vertices).max(initial=0.0))))
    normals = np.zeros(vertices.shape, np.float64)
    corner = vertices[faces].astype(np.float64)
    area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    for k in range(3):
        np.add.at(normals, faces[:, k], area)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-18)
    apart = vertices.copy()
    for step in range(1, 8):
        _, first, inverse = np.unique(apart, axis=0, return_index=True, return_inverse=True)
        again = first[inverse.ravel()] != np.arange(len(apart))
        if not again.any():
            break
        apart[again] -= (step * step_m * normals[again]).astype(np.float32)
    return apart


def welded(vertices: Float32, faces: Int32) -> tuple[Float32, Int32]:
    """Return a mesh as readers see it that take vertices (V, 3) of equal position for one."""
    positions, same = np.unique(vertices, axis=0, return_inverse=True)
    return positions, same.ravel()[faces].astype(np.int32)
