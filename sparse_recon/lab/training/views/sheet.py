"""A contact sheet of pictures, to be looked at before anything is learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.views.shards import StoredViews, read_views
from sparse_recon.types import UInt8


def write_sheet(path: Path, stored: Sequence[StoredViews], views: int = 8) -> None:
    """Write a row an object: its views, and the mask and depth of the first.

    Raises
    ------
    FileError
        INPUT_MISSING if a picture cannot be read, OUTPUT_UNWRITABLE.
    """
    import cv2

    rows = [_row(entry, views) for entry in stored]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1]):
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{path} cannot be written; name a .png file in a folder that can")


def _row(entry: StoredViews, views: int) -> UInt8:
    import cv2

    seen = read_views(entry)
    chosen = np.linspace(0, len(seen.rgb) - 1, views).round().astype(int)
    depth = seen.depth[0].astype(np.float32)
    near, far = depth.min(initial=1.0), depth[np.isfinite(depth)].max(initial=2.0)
    grey = np.where(np.isfinite(depth), 230 - 200 * (depth - near) / max(far - near, 1e-3), 255).astype(np.uint8)
    tiles = [*seen.rgb[chosen], *(np.repeat(x[..., None], 3, axis=2) for x in (seen.mask[0], grey))]
    row = np.ascontiguousarray(np.pad(np.concatenate(tiles, axis=1), ((12, 2), (0, 0), (0, 0)), constant_values=255))
    cv2.putText(row, entry.name, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    return row
