"""How two solids overlap: intersection over union, misses and waste."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.lab.evaluate.metrics.checks import check_mesh, open_edges
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.types import Float32, Float64, TriangleMesh

# Where the holes of a mesh leave more of the volume undecided than this, it is no solid.
MAX_CONTESTED = 0.02


@dataclass(frozen=True)
class Overlap:
    """Two solids, counted by points spread over the box around both.

    Attributes
    ----------
    points : number of points; `point_m3` is the volume that each stands for.
    predicted, true, both : how many of them lie inside.
    refusal : why volumes cannot be told, as a sentence; empty where they can. All measures are NaN then.
    """

    points: int
    point_m3: float
    predicted: int
    true: int
    both: int
    refusal: str = ""

    @property
    def iou(self) -> float:
        """Intersection over union, in [0, 1]."""
        return self._over(self.both, self.predicted + self.true - self.both)

    @property
    def iou_error(self) -> float:
        """Standard error of `iou` that the number of points leaves, at most: the points are stratified."""
        union = self.predicted + self.true - self.both
        return math.sqrt(self.iou * (1.0 - self.iou) / union) if union else float("nan")

    @property
    def missed(self) -> float:
        """True volume outside the predicted solid, over the true volume."""
        return self._over(self.true - self.both, self.true)

    @property
    def wasted(self) -> float:
        """Volume of the predicted solid that is not true, over the true volume; may exceed 1."""
        return self._over(self.predicted - self.both, self.true)

    @property
    def predicted_m3(self) -> float:
        return self._over(self.predicted, 1) * self.point_m3

    @property
    def true_m3(self) -> float:
        return self._over(self.true, 1) * self.point_m3

    def _over(self, count: int, total: int) -> float:
        return float("nan") if self.refusal or total == 0 else count / total


@dataclass(frozen=True, eq=False)
class Solid:
    """A mesh by its inside, prepared for queries; `what` it is called in sentences."""

    mesh: TriangleMesh
    query: MeshQuery
    what: str

    @classmethod
    def of(cls, mesh: TriangleMesh, what: str, query: MeshQuery | None = None) -> Solid:
        """Prepare a mesh, with the query of its surface where there is one already.

        Raises
        ------
        InputError
            MESH_INVALID for values that are not finite, or faces of vertices that are not there.
        """
        check_mesh(mesh, what)
        return cls(mesh, MeshQuery(mesh) if query is None else query, what)


def overlap(predicted: Solid, true: Solid, count: int, seed: int) -> Overlap:
    """Compare two solids at about `count` points, one in each cell of a lattice over the box around both.

    Meshes may have small holes, as scans have; with larger ones there is no telling inside from outside.
    """
    if len(predicted.mesh.faces) == 0 or len(true.mesh.faces) == 0:
        empty = predicted if len(predicted.mesh.faces) == 0 else true
        return Overlap(0, 0.0, 0, 0, 0, f"{empty.what} is empty and has no volume")
    points, point_m3 = spread_points((predicted.mesh, true.mesh), count, seed)
    inside, contested = zip(*(solid.query.inside(points) for solid in (predicted, true)), strict=True)
    refusals = [
        f"{solid.what} is not closed ({open_edges(solid.mesh)} open edges): for {100 * share:.0f} % of its volume rays "
        "do not agree what is inside; volumes need a closed mesh"
        for solid, i, c in zip((predicted, true), inside, contested, strict=True)
        if (share := float(c.sum() / max((i | c).sum(), 1))) > MAX_CONTESTED
    ]
    counts = (int(inside[0].sum()), int(inside[1].sum()), int((inside[0] & inside[1]).sum()))
    return Overlap(len(points), point_m3, *counts, refusal="; ".join(refusals))


def spread_points(meshes: Sequence[TriangleMesh], count: int, seed: int) -> tuple[Float32, float]:
    """Return about `count` seeded points (N, 3), one anywhere in each cell of a lattice, and the volume of a cell.

    The lattice fills the box around meshes.
    """
    corners: Float64 = np.concatenate([m.vertices_world[np.unique(m.faces)] for m in meshes]).astype(np.float64)
    low, size = corners.min(axis=0), np.ptp(corners, axis=0)
    size = np.maximum(size, max(0.01 * float(size.max()), 1e-9))  # also sheets are in a box with a volume
    shape = np.maximum(np.rint(size * (count / size.prod()) ** (1 / 3)), 1).astype(int)
    cell = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    rng = np.random.default_rng(seed)
    points = low + (cell + rng.random(cell.shape)) / shape * size
    return points.astype(np.float32), float((size / shape).prod())
