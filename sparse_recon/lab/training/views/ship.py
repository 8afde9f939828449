"""From a run on pictures to the weights that others use: half precision, with what is to be known of them."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from sparse_recon.config.parameters import nested
from sparse_recon.lab.training.checkpoints import MODEL_FILE, STATE_FILE, read_state, write_state
from sparse_recon.lab.training.views.systems import config_of, run_of
from sparse_recon.machine.safetensors_file import sha256_of

log = logging.getLogger(__name__)


def measure_views(system: str, run: Path, data: Path, count: int) -> dict[str, float]:
    """Return how the averaged weights of a run do on `count` held-out objects.

    Raises
    ------
    FileError
        If the run or the pictures cannot be read.
    """
    _, state = read_state(run / STATE_FILE)
    config = config_of(system, nested({**state["config"], "measure_samples": count}))
    found = run_of(system, config, data, run, resume=True).validate()
    return {name: round(v, 4) for name, v in found.items() if math.isfinite(v)}


def ship_views(system: str, run: Path, data: Path, path: Path, count: int) -> dict[str, Any]:
    """Write the averaged weights of a run with figures on `count` held-out objects; return what the file says.

    Raises
    ------
    FileError
        If the run or the pictures cannot be read, or the file not be written.
    """
    figures = measure_views(system, run, data, count)
    tensors, about = read_state(run / MODEL_FILE)
    _, state = read_state(run / STATE_FILE)
    about |= {
        "held_out": {**figures, "objects": count},
        "training": {name: state["config"][name] for name in ("seed", "steps", "batch_size", "data")},
        "licence": "Apache-2.0",
    }
    write_state(path, tensors, about)
    sha256 = sha256_of(path)
    log.info("%s: %d bytes, sha256 %s", path, path.stat().st_size, sha256)
    return {**about, "sha256": sha256}
