"""Pictures of objects on disk, a record an object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from sparse_recon.complete.latent.cameras import FOCAL_PX, IMAGE_SIDE
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.packed import load_zstd, read_header, read_record, write_packed
from sparse_recon.lab.training.views.raycast import Pictures

SUFFIX = ".views"
_MAGIC = b"SRVIEWS\0"
_LAYOUT = {"version": 1, "record": ["rgb uint8", "mask uint8", "depth float16", "cameras float32"]}
# Polar angle, azimuth, distance and focal length; shards that were made when all lenses were alike lack the last.
_OF_A_CAMERA, _WITHOUT_LENS = 4, 3
_LEVEL = 3


@dataclass(frozen=True)
class StoredViews:
    """Where the pictures of an object lie: file, first byte and number of bytes, count of views, side in pixels.

    `numbers` is how many tell of a camera.
    """

    path: Path
    start: int
    size: int
    name: str
    count: int
    side: int
    numbers: int = _OF_A_CAMERA


def write_views(path: Path, objects: Iterable[tuple[str, Pictures]]) -> int:
    """Write the pictures of named objects into one file and return how many objects there were.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE if the file cannot be written.
    """
    zstd = load_zstd()
    entries, blobs = [], []
    for name, seen in objects:
        blob = zstd.compress(b"".join(a.tobytes() for a in (seen.rgb, seen.mask, seen.depth, seen.cameras)), _LEVEL)
        about = {"size": len(blob), "name": name, "count": len(seen.rgb), "side": seen.rgb.shape[1]}
        entries.append({**about, "numbers": seen.cameras.shape[1]})
        blobs.append(blob)
    write_packed(path, _MAGIC, {**_LAYOUT, "objects": entries}, blobs)
    return len(entries)


def view_shards(folder: Path) -> list[Path]:
    """Return the finished shards of a folder by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def list_views(paths: Sequence[Path]) -> list[StoredViews]:
    """Return the objects of shards in order.

    Raises
    ------
    FileError
        INPUT_MISSING if a shard cannot be read, or is no shard of this layout.
    """
    found = []
    for path in paths:
        header, start = read_header(path, _MAGIC, _LAYOUT)
        for entry in header["objects"]:
            size, numbers = int(entry["size"]), int(entry.get("numbers", _WITHOUT_LENS))
            if numbers not in (_OF_A_CAMERA, _WITHOUT_LENS):
                raise FileError(ErrorCode.INPUT_MISSING, f"{path} tells {numbers} numbers of a camera; make it again")
            about = (str(entry["name"]), int(entry["count"]), int(entry["side"]), numbers)
            found.append(StoredViews(path, start, size, *about))
            start += size
    return found


def read_views(stored: StoredViews) -> Pictures:
    """Read the pictures of an object.

    Raises
    ------
    FileError
        INPUT_MISSING if the file is gone, cut off or damaged.
    """
    count, side = stored.count, stored.side
    pixels = count * side * side
    sizes = np.cumsum([0, 3 * pixels, pixels, 2 * pixels, 4 * stored.numbers * count])
    data = read_record(stored.path, stored.start, stored.size, int(sizes[-1]))
    if len(data) != sizes[-1]:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{stored.path} is damaged: {len(data)} bytes of {sizes[-1]}; generate it again"
        )
    rgb, mask, depth, numbers = (data[a:b] for a, b in pairwise(sizes))
    cameras = np.frombuffer(numbers, np.float32).reshape(count, stored.numbers)
    if stored.numbers == _WITHOUT_LENS:
        cameras = np.insert(cameras, _WITHOUT_LENS, FOCAL_PX / IMAGE_SIDE, axis=1)
    return Pictures(
        np.frombuffer(rgb, np.uint8).reshape(count, side, side, 3),
        np.frombuffer(mask, np.uint8).reshape(count, side, side),
        np.frombuffer(depth, np.float16).reshape(count, side, side),
        cameras,
    )
