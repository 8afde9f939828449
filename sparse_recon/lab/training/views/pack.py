"""A pack of shapes: npz files with the vertices and faces of many closed meshes, and a list of what they are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.types import Float64, Int32

MANIFEST = "manifest.csv"
# Vertices are stored in this many steps of the longest edge.
_STEPS = 65535.0


@dataclass(frozen=True)
class PackedShape:
    """One row of the list: its name, the npz file and number that it lies at, and what it is."""

    folder: Path
    name: str
    shard: str
    index: int
    category: str


def packed_shapes(folder: Path, shards: Sequence[str], without: Sequence[str] = ()) -> list[PackedShape]:
    """Return the shapes of some npz files of a pack, in the order of its list.

    Parameters
    ----------
    without : categories that are left out.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder is no pack, or lacks one of the files.
    """
    path = Path(folder) / MANIFEST
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                PackedShape(folder, r["name"], r["shard"], int(r["index"]), r["category"]) for r in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} is not the list of a pack of shapes: {error}; name its folder"
        ) from error
    if missing := sorted(set(shards) - {row.shard for row in rows}):
        known = ", ".join(sorted({row.shard for row in rows}))
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} lists no {', '.join(missing)}; it lists {known}")
    return [row for row in rows if row.shard in shards and row.category not in without]


def load_packed(shape: PackedShape) -> tuple[Float64, Int32]:
    """Return vertices (V, 3), longest edge 1, z up, and faces (F, 3).

    Raises
    ------
    FileError
        INPUT_MISSING if the npz file cannot be read.
    """
    arrays = _arrays(shape.folder / f"{shape.shard}.npz")
    a, b = arrays["vertex_offsets"][shape.index : shape.index + 2]
    c, d = arrays["face_offsets"][shape.index : shape.index + 2]
    return arrays["vertices"][a:b].astype(np.float64) / _STEPS, arrays["faces"][c:d].astype(np.int32)


@lru_cache(maxsize=8)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} cannot be read: {error}; get the pack again") from error
