"""Fill a folder with shards of samples; any number of processes may do so at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from sparse_recon.training.config import DataConfig
from sparse_recon.training.samples import samples_of
from sparse_recon.training.shards import SUFFIX, write_shard

HELD_OUT = "held_out"
_HELD_OUT_SEED = 1_000_003
# A claim older than this belongs to a process that died.
_STALE_S = 3600.0


def generate(
    folder: Path, config: DataConfig, on_shard: Callable[[int, int], None] = lambda number, count: None
) -> int:
    """Write the shards that are missing, held-out ones first; return how many samples were written.

    A shard's content depends on the seed and its number alone.

    Parameters
    ----------
    on_shard : called with the number and count of samples of each shard written.

    Raises
    ------
    FileError
        OUTPUT_UNWRITABLE.
    """
    import torch

    torch.set_num_threads(1)
    written = 0
    held_out_shards = -(-config.held_out_objects // config.objects_per_shard)
    jobs = [(folder / HELD_OUT, config.seed + _HELD_OUT_SEED, k) for k in range(held_out_shards)]
    jobs += [(folder, config.seed, k) for k in range(config.shards)]
    for place, seed, number in jobs:
        path = place / f"{number:05d}{SUFFIX}"
        if path.exists() or not _claimed(path):
            continue
        first = number * config.objects_per_shard
        objects = range(first, first + config.objects_per_shard)
        count = write_shard(path, chain.from_iterable(samples_of(seed, k, config.samples_per_object) for k in objects))
        path.with_suffix(".claim").unlink(missing_ok=True)
        written += count
        on_shard(number, count)
    return written


def _claimed(path: Path) -> bool:
    """Whether this process may write the shard: no other does."""
    claim = path.with_suffix(".claim")
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        if claim.exists() and time.time() - claim.stat().st_mtime > _STALE_S:
            claim.unlink(missing_ok=True)
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return not path.exists()
