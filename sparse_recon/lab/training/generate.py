"""Fill a folder with shards of samples; any number of processes may do so at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from sparse_recon.lab.training.config import DataConfig
from sparse_recon.lab.training.samples import samples_of
from sparse_recon.lab.training.shards import SUFFIX, write_shard

HELD_OUT = "held_out"
_HELD_OUT_SEED, _SCAN_SEED = 1_000_003, 2_000_003
SCAN_PREFIX = "scan"
# A claim older than this belongs to a process that died.
_STALE_S = 3600.0


def generate(
    folder: Path,
    config: DataConfig,
    on_shard: Callable[[int, int], None] = lambda number, count: None,
    scans: Sequence[Path] = (),
) -> int:
    """Write the shards that are missing, held-out ones first, then scans; return how many samples were written.

    A shard's content depends on the seed and its number alone.

    Parameters
    ----------
    on_shard : called with the number and count of samples of each shard written.
    scans : meshes of `config.scans`.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE.
    """
    from sparse_recon.machine.processor import torch_threads

    with torch_threads(1):
        return _generate(folder, config, on_shard, scans)


def _generate(folder: Path, config: DataConfig, on_shard: Callable[[int, int], None], scans: Sequence[Path]) -> int:
    written = 0
    held_out_shards = -(-config.held_out_objects // config.objects_per_shard)
    jobs = [_Job(folder / HELD_OUT, "", config.seed + _HELD_OUT_SEED, k) for k in range(held_out_shards)]
    if scans:
        jobs += [_Job(folder, SCAN_PREFIX, config.seed + _SCAN_SEED, k) for k in range(config.scan_shards)]
    jobs += [_Job(folder, "", config.seed, k) for k in range(config.shards)]
    for job in jobs:
        path = job.folder / f"{job.prefix}{job.number:05d}{SUFFIX}"
        if path.exists() or not claimed(path):
            continue
        first = job.number * config.objects_per_shard
        meshes = scans if job.prefix else ()
        objects = (
            samples_of(
                job.seed, k, config.samples_per_object, meshes, noise=config.noise, real_cameras=config.real_cameras
            )
            for k in range(first, first + config.objects_per_shard)
        )
        count = write_shard(path, chain.from_iterable(objects))
        path.with_suffix(".claim").unlink(missing_ok=True)
        written += count
        on_shard(job.number, count)
    return written


class _Job(NamedTuple):
    folder: Path
    prefix: str
    seed: int
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
