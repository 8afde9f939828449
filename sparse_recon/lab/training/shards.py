"""Packed samples on disk: one file holds the samples of some objects and is written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.complete.compact.volumes import CHANNELS, GRID, SCALARS
from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.samples import Sample

SUFFIX = ".samples"
_MAGIC = b"SRSAMPLE"
_LAYOUT = {"version": 1, "grid": GRID, "channels": [*CHANNELS, "target"], "scalars": list(SCALARS)}
_SAMPLE_BYTES = (len(CHANNELS) + 1) * GRID**3
_MAX_HEADER_BYTES = 16_000_000


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
    zstd = _zstd()
    entries: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for sample in samples:
        blob = zstd.compress(np.concatenate([sample.volumes, sample.target[None]]).tobytes(), 6)
        scalars = [float(v) for v in sample.scalars]
        entries.append({"size": len(blob), "scalars": scalars, "family": sample.family, "number": sample.number})
        blobs.append(blob)
    header = json.dumps({**_LAYOUT, "samples": entries}).encode()
    partial = path.with_suffix(f".partial{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines([_MAGIC, len(header).to_bytes(8, "little"), header, *blobs])
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FileError(ErrorCode.OUTPUT_UNWRITABLE, f"{path} cannot be written: {error.strerror or error}") from error
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
    try:
        with path.open("rb") as file:
            magic, length = file.read(8), int.from_bytes(file.read(8), "little")
            known = magic == _MAGIC and length <= _MAX_HEADER_BYTES
            header = json.loads(file.read(length)) if known else {}
    except (OSError, ValueError) as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} cannot be read: {error}; generate it again") from error
    if {name: header.get(name) for name in _LAYOUT} != _LAYOUT:
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{path} holds no samples of this version; delete it and generate it again"
        )
    start, found = 16 + length, []
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
    zstd = _zstd()
    try:
        with stored.path.open("rb") as file:
            file.seek(stored.start)
            data = zstd.ZstdDecompressor().decompress(file.read(stored.size), max_length=_SAMPLE_BYTES)
        volumes = np.frombuffer(data, np.int8).reshape(len(CHANNELS) + 1, GRID, GRID, GRID)
    except (OSError, ValueError, zstd.ZstdError) as error:
        raise FileError(ErrorCode.INPUT_MISSING, f"{stored.path} is damaged: {error}; generate it again") from error
    scalars = np.array(stored.scalars, np.float32)
    return Sample(volumes[:-1], volumes[-1], scalars, stored.family, stored.number)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        from backports import zstd
    return zstd
