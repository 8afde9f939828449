"""Fill a folder with shards of samples; any number of processes may do so at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sparse_recon.lab.training.config import DataConfig
from sparse_recon.lab.training.objects import ProceduralObject, draw_object
from sparse_recon.lab.training.pack import PackedShape
from sparse_recon.lab.training.samples import samples_of
from sparse_recon.lab.training.scans import draw_scan, draw_shape
from sparse_recon.lab.training.shards import SUFFIX, write_shard

HELD_OUT = "held_out"
_HELD_OUT_SEED, _SCAN_SEED, _SHAPE_SEED = 1_000_003, 2_000_003, 3_000_017
SCAN_PREFIX, SHAPE_PREFIX = "scan", "shape"
# A claim older than this belongs to a process that died.
_STALE_S = 3600.0


def generate(
    folder: Path,
    config: DataConfig,
    on_shard: Callable[[int, int], None] = lambda number, count: None,
    scans: Sequence[Path] = (),
    shapes: Sequence[PackedShape] = (),
) -> int:
    """Write the shards that are missing, held-out ones first; return how many samples were written.

    A shard's content depends on the seed and its number alone.

    Parameters
    ----------
    on_shard : called with the number and count of samples of each shard written.
    scans : meshes of `config.scans`.
    shapes : of a pack; those that are held out become the held-out objects beside procedural ones.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE.
    """
    from sparse_recon.machine.processor import torch_threads

    with torch_threads(1):
        return _generate(config, on_shard, _jobs(folder, config, scans, shapes))


def shard_count(config: DataConfig, scans: Sequence[Path] = (), shapes: Sequence[PackedShape] = ()) -> int:
    """Return how many shards `generate` makes in an empty folder."""
    return len(_jobs(Path(), config, scans, shapes))


def _jobs(folder: Path, config: DataConfig, scans: Sequence[Path], shapes: Sequence[PackedShape]) -> list[_Job]:
    """Return the shards in the order in which they are made: those of all origins by turns."""
    origins: list[tuple[str, int, Draw, int]] = [("", config.seed, draw_object, config.shards)]
    held_out: list[tuple[str, int, Draw, int]] = [
        ("", config.seed + _HELD_OUT_SEED, draw_object, -(-config.held_out_objects // config.objects_per_shard))
    ]
    if scans:
        origins.append((SCAN_PREFIX, config.seed + _SCAN_SEED, partial(draw_scan, paths=scans), config.scan_shards))
    for rows, seed, kept_out in ((origins, _SHAPE_SEED, False), (held_out, _SHAPE_SEED + _HELD_OUT_SEED, True)):
        chosen = [s for s in shapes if s.held_out(config.held_out_every) == kept_out]
        count = -(-config.held_out_shapes // config.objects_per_shard) if kept_out else config.shape_shards
        if chosen:
            rows.append((SHAPE_PREFIX, config.seed + seed, partial(draw_shape, shapes=chosen), count))
    jobs = [_Job(folder / HELD_OUT, prefix, seed, draw, k) for prefix, seed, draw, n in held_out for k in range(n)]
    learned = [
        ((k + 0.5) / n, _Job(folder, prefix, seed, draw, k)) for prefix, seed, draw, n in origins for k in range(n)
    ]
    return jobs + [job for _, job in sorted(learned, key=lambda row: row[0])]


def _generate(config: DataConfig, on_shard: Callable[[int, int], None], jobs: Sequence[_Job]) -> int:
    written = 0
    for job in jobs:
        path = job.folder / f"{job.prefix}{job.number:05d}{SUFFIX}"
        if path.exists() or not claimed(path):
            continue
        first = job.number * config.objects_per_shard
        objects = (
            samples_of(
                job.seed, k, config.samples_per_object, job.draw, noise=config.noise, real_cameras=config.real_cameras
            )
            for k in range(first, first + config.objects_per_shard)
        )
        count = write_shard(path, chain.from_iterable(objects))
        path.with_suffix(".claim").unlink(missing_ok=True)
        written += count
        on_shard(job.number, count)
    return written


Draw = Callable[[np.random.Generator], ProceduralObject]


class _Job(NamedTuple):
    folder: Path
    prefix: str
    seed: int
    draw: Draw
    number: int


def claimed(path: Path) -> bool:
    """Whether this process may write the shard, because no other does; the claim is the file with suffix `.claim`."""
    claim = path.with_suffix(".claim")
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        if claim.exists() and time.time() - claim.stat().st_mtime > _STALE_S:
            claim.unlink(missing_ok=True)
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return not path.exists()
