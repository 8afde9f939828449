"""Whether the images of a camera that is said to stand still do so too: depth of a table looks alike from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sparse_recon.types import Float32, Frame

# Images are compared at this width, in tiles of this edge.
_WIDTH_PX, _TILE_PX = 320, 16
# Grey levels of contrast from which a tile has texture; where fewer of all tiles have it, the images tell nothing.
_TEXTURE, _MIN_TEXTURED = 8.0, 0.25
# Tiles are alike from this correlation on: noise takes some of it, another place leaves hardly any.
_ALIKE = 0.6


def unmoved_share(frames: Sequence[Frame]) -> float:
    """Return the share of the textured tiles of one image that look alike in the next; the median over the pairs.

    Most of an image is background, so where a camera stands still it is nearly 1 whatever moves before it.

    Parameters
    ----------
    frames : of one camera, in the order of their stamps.

    Returns
    -------
    A number in [0, 1]; NaN where no pair has texture enough.
    """
    shares = []
    for one, other in pairwise(map(_tiles, frames)):
        if one.shape != other.shape or not len(one):
            continue
        textured = one.std(axis=1) >= _TEXTURE
        if textured.mean() >= _MIN_TEXTURED:
            a, b = (tiles[textured] - tiles[textured].mean(axis=1, keepdims=True) for tiles in (one, other))
            lengths = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-6)
            shares.append(float(np.mean(np.sum(a * b, axis=1) / lengths >= _ALIKE)))
    return float(np.median(shares)) if shares else float("nan")


def _tiles(frame: Frame) -> Float32:
    """Return (N, 256) grey levels of the tiles."""
    import cv2

    grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _WIDTH_PX / grey.shape[1])
    small = cv2.GaussianBlur(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), (3, 3), 0)
    down, across = (length // _TILE_PX for length in small.shape)
    cut = small[: down * _TILE_PX, : across * _TILE_PX].astype(np.float32)
    return cut.reshape(down, _TILE_PX, across, _TILE_PX).swapaxes(1, 2).reshape(-1, _TILE_PX**2)
