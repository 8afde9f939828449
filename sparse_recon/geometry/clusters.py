"""Clusters of points by density."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float32

# Neighbours of so many points are found in a fifth of a second.
POINTS_AT_ONCE = 20_000


def density_clusters(
    points_world: Float32, gap_m: float, min_points: int = 4, checkpoint: Callable[[], None] = lambda: None
) -> npt.NDArray[np.integer]:
    """Return the number of each point's cluster, (N,), -1 for strays (DBSCAN, Ester et al. 1996).

    Clusters are numbered in the order of their first core points; a point that borders on several is of the first.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(points_world)
    pairs = []
    for part in _near_pairs(points_world, gap_m):
        checkpoint()
        pairs.append(part)
    a, b = np.concatenate(pairs).T if pairs else np.zeros((2, 0), np.intp)
    checkpoint()
    core = np.bincount(a, minlength=n) + np.bincount(b, minlength=n) + 1 >= min_points
    inner = core[a] & core[b]
    graph = coo_matrix((np.ones(int(inner.sum()), bool), (a[inner], b[inner])), shape=(n, n)).tocsr()
    checkpoint()
    part = connected_components(graph, directed=False)[1]
    checkpoint()
    cluster = np.full(n, n, np.int64)
    cluster[core] = np.unique(part[core], return_inverse=True)[1]
    for border, other in ((a, b), (b, a)):
        rim = core[other] & ~core[border]
        np.minimum.at(cluster, border[rim], cluster[other[rim]])
    return np.where(cluster < n, cluster, -1)


def _near_pairs(points_world: Float32, gap_m: float) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the pairs (K, 2) of points no farther apart than the gap, each once, in pieces along the longest axis."""
    from scipy.spatial import cKDTree

    if len(points_world) == 0:
        return
    axis = int(np.argmax(np.ptp(points_world, axis=0)))
    order = np.argsort(points_world[:, axis], kind="stable")
    points = points_world[order]
    for start in range(0, len(points), POINTS_AT_ONCE):
        own = min(POINTS_AT_ONCE, len(points) - start)
        reach = np.searchsorted(points[:, axis], points[start + own - 1, axis] + 1.01 * gap_m)
        near = cKDTree(points[start:reach]).query_pairs(gap_m, output_type="ndarray")
        yield order[start + near[near.min(axis=1) < own]]
