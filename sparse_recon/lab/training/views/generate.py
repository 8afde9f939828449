"""Fill a folder with shards of pictures; any number of processes may do so at once, and go on where one stopped."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sparse_recon.lab.training.generate import HELD_OUT, claimed
from sparse_recon.lab.training.views.cameras import POLICIES
from sparse_recon.lab.training.views.catalogue import Entry, entries
from sparse_recon.lab.training.views.config import ViewDataConfig
from sparse_recon.lab.training.views.raycast import Pictures, pictures
from sparse_recon.lab.training.views.shards import SUFFIX, write_views


def generate_views(
    folder: Path,
    config: ViewDataConfig,
    scans: Sequence[Path] = (),
    pack: Path | None = None,
    on_shard: Callable[[int, int], None] = lambda done, count: None,
) -> int:
    """Write the shards that are missing, held-out objects first; return how many objects were written.

    The pictures of an object depend on the seed and its name alone.

    Parameters
    ----------
    scans, pack : see `entries`.
    on_shard : called with the number of shards done and their count.

    Raises
    ------
    ConfigError
        If objects that evaluation scores are named.
    FileError
        INPUT_MISSING, OUTPUT_UNWRITABLE.
    """
    found = entries(config, scans, pack)
    held_out = [entry for entry in found if entry.held_out(config.held_out_every)]
    learned = [entry for entry in found if not entry.held_out(config.held_out_every)]
    size = config.objects_per_shard
    jobs = [(folder / HELD_OUT, k, held_out[k * size : (k + 1) * size]) for k in range(-(-len(held_out) // size))]
    jobs += [(folder, k, learned[k * size : (k + 1) * size]) for k in range(-(-len(learned) // size))]
    written = 0
    for done, (where, number, objects) in enumerate(jobs):
        path = where / f"{number:05d}{SUFFIX}"
        if not path.exists() and claimed(path):
            written += write_views(path, ((entry.name, taken(entry, config)) for entry in objects))
            path.with_suffix(".claim").unlink(missing_ok=True)
        on_shard(done + 1, len(jobs))
    return written


def taken(entry: Entry, config: ViewDataConfig) -> Pictures:
    """Take the pictures of an object."""
    rng = np.random.default_rng([config.seed, zlib.crc32(entry.name.encode()), entry.draw, 1])
    body, policy = entry.load(config.seed), POLICIES[config.cameras]
    cameras = policy.draw(rng)
    focal = policy.lenses(cameras, float(np.linalg.norm(body.vertices, axis=1).max()), rng)
    return pictures(body, cameras, config.side, rng, focal)
