"""How far two convex outlines in a plane cover each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def overlap_share(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Return the area that two convex outlines (N, 1, 2) share, as a share of the smaller one's.

    By clipping one with the edges of the other (Sutherland and Hodgman 1974): OpenCV's intersection misses outlines of
    which edges lie on each other.
    """
    import cv2

    smaller = min(cv2.contourArea(a), cv2.contourArea(b))
    if smaller <= 0.0:
        return 0.0
    shared, edges = a[:, 0].astype(np.float64), b[:, 0].astype(np.float64)
    sign = np.sign(cv2.contourArea(b, oriented=True))
    for start, end in zip(edges, np.roll(edges, -1, axis=0), strict=True):
        if len(shared) == 0:
            return 0.0
        along, away = end - start, shared - start
        side = sign * (along[0] * away[:, 1] - along[1] * away[:, 0])
        corners = []
        for k in range(len(shared)):
            if (side[k - 1] < 0) != (side[k] < 0):
                share = side[k - 1] / (side[k - 1] - side[k])
                corners.append(shared[k - 1] + share * (shared[k] - shared[k - 1]))
            if side[k] >= 0:
                corners.append(shared[k])
        shared = np.array(corners)
    x, y = shared.T if len(shared) else np.zeros((2, 1))
    return float(0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / smaller
