"""Colours of a completed surface: measured where cameras looked, carried over where they nearly did, grey elsewhere."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, Float32, UInt8

UNKNOWN_GREY = 128
# Colour is carried over to unseen surface and fades to grey with the distance, by exp(-distance / (share of the
# measured extent)): things are painted alike on sides that nobody saw, but nobody knows.
FADE_SHARE = 0.5
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
    nearest ones, faded to grey with their distance.
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
        colors[~observed] = np.rint(share * carried + (1 - share) * UNKNOWN_GREY).astype(np.uint8)
    return colors
