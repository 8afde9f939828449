"""Whether the pixels of something lie together, or are scattered over surface that is of no thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Bool

# Frames that show fewer pixels of it, or a smaller share than this of what the frame that shows most has, say nothing.
MIN_PIXELS, MIN_SHARE = 15, 0.3


def wholeness(
    pixels: Sequence[npt.NDArray[np.int32]],
    own: Sequence[Bool],
    hiding: Sequence[Bool],
    shape: Sequence[tuple[int, int]],
) -> float:
    """Return the share of what was measured within the convex outline of something that is of it, 1 where none tells.

    A frame that shows more of it counts more. A ring or a banana has about a half; shreds of glossy foil, between which
    the same foil is of no thing, have a tenth.

    Parameters
    ----------
    pixels : (P, 2) column and row of the measured pixels, of each frame.
    own : (P,) which of them are of it.
    hiding : (P,) which are of another thing that stands before it: these do not count.
    shape : height and width of the images.
    """
    import cv2

    most = max((int(mine.sum()) for mine in own), default=0)
    total = weight = 0.0
    for at, mine, others, size in zip(pixels, own, hiding, shape, strict=True):
        count = int(mine.sum())
        if count < max(MIN_PIXELS, MIN_SHARE * most):
            continue
        outline = np.zeros(size, np.uint8)
        cv2.fillConvexPoly(outline, cv2.convexHull(np.ascontiguousarray(at[mine])), 1)
        inside = (outline[at[:, 1], at[:, 0]] > 0) & ~others
        total += count * count / max(int(inside.sum()), 1)
        weight += count
    return min(total / weight, 1.0) if weight else 1.0
