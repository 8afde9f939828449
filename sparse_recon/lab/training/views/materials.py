"""Plausible materials for meshes without colour: parts by their creases, a painted pattern for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparse_recon.lab.simulate.paint import Paint, object_paint
from sparse_recon.types import Float64, Int32

# Neighbouring faces that meet at more than this are of different parts.
_CREASE_DEG = 40.0
# Parts with less of the surface belong to the largest.
_SMALLEST_SHARE = 0.03
_MOST_MATERIALS = 4
# Patterns are painted for objects of this size, so that print and stripes are as coarse as on packages.
PAINTED_M = 0.16


def parts_of(vertices: Float64, faces: Int32) -> Int32:
    """Return the part (F,) of each face: 0 is the largest; parts of nearly equal area share a number.

    Legs of a table and both ends of a can thus get the same material.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(normal, axis=1)
    normal /= np.maximum(area, 1e-12)[:, None]
    a, b = _neighbours(faces)
    flat = np.einsum("nc,nc->n", normal[a], normal[b]) > np.cos(np.deg2rad(_CREASE_DEG))
    graph = coo_matrix((np.ones(int(flat.sum())), (a[flat], b[flat])), shape=(len(faces), len(faces)))
    count, label = connected_components(graph, directed=False)
    share = np.bincount(label, area, count) / max(float(area.sum()), 1e-12)
    largest = int(share.argmax())
    # Areas within about a tenth of each other are one kind.
    kind = np.round(np.log(np.maximum(share, 1e-9)) / np.log(1.1)).astype(np.int64)
    kind[(share < _SMALLEST_SHARE) | (np.arange(count) == largest)] = kind.max() + 1
    _, number = np.unique(-kind, return_inverse=True)
    return number[label].astype(np.int32)


def materials(rng: np.random.Generator, count: int) -> list[Paint]:
    """Draw the paints of the parts of an object; beyond a few they repeat."""
    kinds = [object_paint(rng, PAINTED_M) for _ in range(min(count, int(rng.integers(1, _MOST_MATERIALS + 1))))]
    return [kinds[0] if k == 0 else kinds[k % len(kinds)] for k in range(count)]


def painted(paints: Sequence[Paint], parts: Int32, points: Float64) -> Float64:
    """Return the colours (N, 3) in [0, 1] of points (N, 3) of the unit object that lie on parts (N,)."""
    colors = np.empty((len(points), 3))
    for number, paint in enumerate(paints):
        on = parts == number
        if on.any():
            colors[on] = paint(points[on] * PAINTED_M)
    return np.clip(colors, 0.0, 1.0)


def _neighbours(faces: Int32) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of faces that share an edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64), axis=1)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.argsort(key, kind="stable")
    same = key[order[:-1]] == key[order[1:]]
    return owner[order[:-1][same]], owner[order[1:][same]]
