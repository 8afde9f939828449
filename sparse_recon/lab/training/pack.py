"""A pack of shapes: npz files with the vertices and faces of many closed meshes, and a list of what they are."""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sparse_recon.errors import ErrorCode, FileError, clipped, quoted
from sparse_recon.types import Float64, Int32

MANIFEST = "manifest.csv"
# Vertices are stored in this many steps of the longest edge.
_STEPS = 65535.0


# Of sources with true sizes: nothing of them is ever learned from, so that figures on them are of other makers' things.
HELD_OUT_SOURCES = (
    "github aws-robotics/aws-robomaker-small-house-world",
    "Debian sweethome3d-furniture",
)


@dataclass(frozen=True)
class PackedShape:
    """One row of the list: its name, the npz file and number that it lies at, and what it is.

    Attributes
    ----------
    tabletop : whether it is a thing that stands on tables, not furniture or a plant.
    longest_m : its longest edge, where the list knows it; else what such things usually measure.
    """

    folder: Path
    name: str
    shard: str
    index: int
    category: str
    source: str = ""
    tabletop: bool = True
    longest_m: float = 0.2

    def held_out(self, every: int) -> bool:
        """Whether the shape is never learned from: about one in `every` of all by its name, or of a held-out source."""
        return self.source in HELD_OUT_SOURCES or zlib.crc32(self.name.encode()) % every == 0

    @classmethod
    def of_row(cls, folder: Path, row: Mapping[str, str]) -> PackedShape:
        """Read a row of the list.

        Raises
        ------
        KeyError, ValueError
            If it lacks something, or says what cannot be.
        """
        name, tabletop = row["name"], row.get("tabletop", "1")
        longest_m = float(row.get("suggested_longest_m") or 0.2)
        if not name:
            raise ValueError("a row has no name")
        if tabletop not in ("0", "1"):
            raise ValueError(f"tabletop of {clipped(name)} is {quoted(tabletop)}, accepted are 0 and 1")
        if not (math.isfinite(longest_m) and longest_m > 0):
            raise ValueError(f"suggested_longest_m of {clipped(name)} is {longest_m:g}, it must be above 0 m")
        return cls(
            folder,
            name,
            row["shard"],
            int(row["index"]),
            row["category"],
            row.get("source", ""),
            tabletop == "1",
            longest_m,
        )


def packed_shapes(folder: Path, shards: Sequence[str], without: Sequence[str] = ()) -> list[PackedShape]:
    """Return the shapes of some npz files of a pack, in the order of its list.

    Parameters
    ----------
    without : categories that are left out.

    Raises
    ------
    FileError
        INPUT_MISSING if the folder is no pack, a row of its list is wrong, or it lacks one of the files.
    """
    path = Path(folder) / MANIFEST
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [PackedShape.of_row(folder, row) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} is not the list of a pack of shapes: {error}; name its folder"
        ) from error
    if missing := sorted(set(shards) - {row.shard for row in rows}):
        known = ", ".join(sorted({row.shard for row in rows}))
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} lists no {', '.join(missing)}; it lists {known}")
    return [row for row in rows if row.shard in shards and row.category not in without]


def draw_packed(rng: np.random.Generator, shapes: Sequence[PackedShape]) -> PackedShape:
    """Draw a category by the root of how many shapes it has, and one of its shapes: no kind of thing is rare."""
    by_category: dict[str, list[PackedShape]] = {}
    for shape in shapes:
        by_category.setdefault(shape.category, []).append(shape)
    share = np.sqrt([len(kind) for kind in by_category.values()])
    kinds = list(by_category.values())
    kind = kinds[int(rng.choice(len(kinds), p=share / share.sum()))]
    return kind[int(rng.integers(len(kind)))]


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
