"""What is too large to be one object may be several that touch: divided where it is thin or narrow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sparse_recon.config.observation_config import SegmentConfig
from sparse_recon.geometry.clusters import density_clusters
from sparse_recon.geometry.poses import rotation_to_up
from sparse_recon.types import Float32, Float64

# Link distances that are tried, as shares of the largest gap within an object.
LINKS = (0.67, 0.5)
# A division counts where parts within the limits have so large a share of the points together.
DIVIDED_SHARE = 0.8
# Of the points, so many at least are a part; fewer are strays that go to the nearest one.
PART_SHARE = 0.1
# Each part is thicker than so many plane tolerances: the boards of a box are no objects that touch.
THICK_TOLERANCES = 3.0
# An outline from above is divided at necks narrower than this share of the narrowest part's greatest width.
NECK_SHARE = 0.75

Parts = list[npt.NDArray[np.intp]]


def divided(points_world: Float32, up_world: Float64, config: SegmentConfig) -> Parts:
    """Return the indices of the parts of (N, 3) points that are too large together; none where they stay one.

    Tried are smaller distances between linked points, then necks of the outline as seen from above.
    """
    for parts in _attempts(points_world, up_world, config):
        thin_m = THICK_TOLERANCES * config.plane_tolerance_m
        if len(parts) < 2 or any(_thickness_m(points_world[own]) < thin_m for own in parts):
            continue
        small = [own for own in parts if np.ptp(points_world[own], axis=0).max() <= config.max_size_m]
        if sum(map(len, small)) >= DIVIDED_SHARE * len(points_world):
            return parts
    return []


def _attempts(points_world: Float32, up_world: Float64, config: SegmentConfig) -> Iterator[Parts]:
    for link in LINKS:
        yield _whole(points_world, density_clusters(points_world, link * config.cluster_gap_m))
    yield _at_necks(points_world @ rotation_to_up(up_world)[:, :2].astype(np.float32), config.voxel_size_m)


def _thickness_m(points: Float32) -> float:
    """Return the extent of (N, 3) points across the plane that fits them best."""
    flat = points - points.mean(axis=0)
    across = flat @ np.linalg.svd(flat.T @ flat)[0][:, 2]
    low, high = np.quantile(across, (0.02, 0.98))
    return float(high - low)


def _whole(points: Float32, cluster: npt.NDArray[np.integer]) -> Parts:
    """Return parts of all (N, D) points: each belongs to the nearest cluster that is large enough."""
    size = np.bincount(cluster[cluster >= 0], minlength=1)
    kept = np.nonzero(size >= PART_SHARE * len(points))[0]
    if len(kept) < 2:
        return []
    cores = np.nonzero(np.isin(cluster, kept))[0]
    return _nearest(points, points[cores], cluster[cores])


def _at_necks(flat: Float32, voxel_size_m: float) -> Parts:
    """Return the parts of (N, 2) points whose outline falls apart when it is eroded."""
    import cv2

    cell_m = 1.25 * voxel_size_m  # voxels seen aslant leave gaps
    index = np.floor((flat - flat.min(axis=0)) / cell_m).astype(np.int64) + 2
    image = np.zeros(tuple(index.max(axis=0) + 3), np.uint8)
    image[tuple(index.T)] = 1
    outlines, _ = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outlines, -1, 1, cv2.FILLED)
    inner = cv2.distanceTransform(image, cv2.DIST_L2, 5)
    for depth in np.arange(1.0, float(inner.max()), 0.5):
        _, piece = cv2.connectedComponents((inner > depth).astype(np.uint8), connectivity=4)
        widths = [float(inner[piece == k].max()) for k in range(1, int(piece.max()) + 1)]
        wide = [k for k, width in enumerate(widths, 1) if depth < NECK_SHARE * width]
        if len(wide) > 1:
            cores = np.argwhere(np.isin(piece, wide)).astype(np.float32)
            number = piece[tuple(cores.astype(int).T)]
            return _nearest(index.astype(np.float32), cores, number)
    return []


def _nearest(at: Float32, cores: Float32, number: npt.NDArray[np.integer]) -> Parts:
    """Return the parts of (N, D) points: each is of the number of the core (M, D) nearest to it."""
    from scipy.spatial import cKDTree

    _, nearest = cKDTree(cores).query(at)
    owner = number[nearest]
    return [np.nonzero(owner == k)[0] for k in np.unique(owner)]
