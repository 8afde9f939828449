"""Packed samples on disk: one file holds the samples of some objects and is written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.complete.compact.volumes import CHANNELS, GRID, SCALARS
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.packed import load_zstd, read_header, read_record, write_packed
from sparse_recon.lab.training.samples import Sample

SUFFIX = ".samples"
_MAGIC = b"SRSAMPLE"
_LAYOUT = {"version": 1, "grid": GRID, "channels": [*CHANNELS, "target"], "scalars": list(SCALARS)}
_SAMPLE_BYTES = (len(CHANNELS) + 1) * GRID**3


@dataclass(frozen=True)
class StoredSample:
    """Where a sample lies: its file, and the first byte and number of bytes in it."""

    path: Path
    start: int
    size: int
    scalars: tuple[float, ...]
    family: str
    number: int


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples into one file and return how many there were.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE if the file cannot be written.
    """
    zstd = load_zstd()
    entries: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for sample in samples:
        blob = zstd.compress(np.concatenate([sample.volumes, sample.target[None]]).tobytes(), 6)
        scalars = [float(v) for v in sample.scalars]
        entries.append({"size": len(blob), "scalars": scalars, "family": sample.family, "number": sample.number})
        blobs.append(blob)
    write_packed(path, _MAGIC, {**_LAYOUT, "samples": entries}, blobs)
    return len(entries)


def shard_paths(folder: Path) -> list[Path]:
    """Return the finished shards of a folder by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def list_samples(paths: Sequence[Path]) -> list[StoredSample]:
    """Return the samples of shards in order.

    Raises
    ------
    FileError
        INPUT_MISSING if a shard cannot be read, or is no shard of this layout.
    """
    return [sample for path in paths for sample in _listed(path)]


def _listed(path: Path) -> list[StoredSample]:
    header, start = read_header(path, _MAGIC, _LAYOUT)
    found = []
    for entry in header["samples"]:
        size = int(entry["size"])
        found.append(StoredSample(path, start, size, tuple(entry["scalars"]), entry["family"], entry["number"]))
        start += size
    return found


def read_sample(stored: StoredSample) -> Sample:
    """Read one sample.

    Raises
    ------
    FileError
        INPUT_MISSING if the file is gone, cut off or damaged.
    """
    data = read_record(stored.path, stored.start, stored.size, _SAMPLE_BYTES)
    try:
        volumes = np.frombuffer(data, np.int8).reshape(len(CHANNELS) + 1, GRID, GRID, GRID)
    except ValueError as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{stored.path} is damaged: {error}; generate it again") from error
    scalars = np.array(stored.scalars, np.float32)
    return Sample(volumes[:-1], volumes[-1], scalars, stored.family, stored.number)
