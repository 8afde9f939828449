"""Colours of a completed surface: measured where cameras looked, the object's usual colour where they did not."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, Float32, UInt8

UNKNOWN_GREY = 128
# The colour beside a gap is carried into it and fades to the usual one with the distance, by exp(-distance / (share of
# the measured extent)). Nearest, mirrored, turned and banded colours, and a network that weighed them, were no nearer
# to the truth of scans than the median of all that was seen (benchmarks/colors.py).
FADE_SHARE = 0.05
NEIGHBOURS = 8


def surface_colors(points_obj: Float32, observed: Bool, seen_obj: Float32, seen_colors: UInt8) -> UInt8:
    """Return the colour of each point of a completed surface.

    Parameters
    ----------
    points_obj : (N, 3), metres.
    observed : (N,) whether the point was measured.
    seen_obj, seen_colors : (M, 3) measured points and their colours.

    Returns
    -------
    (N, 3) uint8: of an observed point the colour of the nearest measured one; of an inferred point the mean of the
    nearest ones, faded with their distance to the median of all; grey where no colour was measured.
    """
    from scipy.spatial import cKDTree

    colors = np.full((len(points_obj), 3), UNKNOWN_GREY, np.uint8)
    if not len(seen_obj):
        return colors
    tree = cKDTree(seen_obj)
    if observed.any():
        colors[observed] = seen_colors[tree.query(points_obj[observed])[1]]
    if not observed.all():
        distance, near = tree.query(points_obj[~observed], k=min(NEIGHBOURS, len(seen_obj)))
        distance, near = distance.reshape(len(near), -1), near.reshape(len(near), -1)
        carried = seen_colors[near].mean(axis=1)
        extent_m = float(np.linalg.norm(np.ptp(seen_obj, axis=0))) + 1e-6
        share = np.exp(-distance.mean(axis=1) / (FADE_SHARE * extent_m))[:, None]
        usual = np.median(seen_colors, axis=0)
        colors[~observed] = np.rint(share * carried + (1 - share) * usual).astype(np.uint8)
    return colors
