"""Convex outlines overlap as far as they do, also where their edges lie on each other."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.geometry.convex_overlap import overlap_share


def test_outlines_overlap_also_where_edges_lie_on_each_other():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)[:, None]
    for other, share in (
        (square, 1.0),
        (square[::-1], 1.0),
        (np.roll(square, 1, axis=0) + np.float32(1e-8), 1.0),
        (square + np.float32([[0.5, 0.0]]), 0.5),
        (square + np.float32([[1.0, 0.0]]), 0.0),
        (square + np.float32([[3.0, 0.0]]), 0.0),
        (0.5 * square + 0.25, 1.0),
        (square[:3], 1.0),
    ):
        assert overlap_share(square, other) == pytest.approx(share, abs=1e-6)
        assert overlap_share(other, square) == pytest.approx(share, abs=1e-6)
    assert overlap_share(square, square[:2]) == 0.0
