"""A cube as packs of shapes store it."""

from __future__ import annotations

import numpy as np

CUBE = np.array([(x, y, z) for x in (0, 65535) for y in (0, 65535) for z in (0, 65535)], np.uint16)
CUBE_FACES = np.array(
    [
        *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)),
        *((2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
    ],
    np.uint16,
)
