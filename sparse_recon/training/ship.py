"""From a run to the weights that others use: calibrated, half precision, with what is to be known of them."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.training.calibrate import calibrate, claims_of
from sparse_recon.training.checkpoints import MODEL_FILE, STATE_FILE, read_state, write_state
from sparse_recon.training.generate import HELD_OUT
from sparse_recon.training.measure import measure, summary
from sparse_recon.training.shards import list_samples, shard_paths

log = logging.getLogger(__name__)


def ship(run: Path, data: Path, path: Path, steps: int, samples: int) -> dict[str, Any]:
    """Calibrate the averaged weights of a run on held-out samples and write them; return what the file says of itself.

    Parameters
    ----------
    steps, samples : of the sampler with which the weights will be used: claims are calibrated for these.

    Raises
    ------
    FileError
        If the run or the samples cannot be read, or the file not be written.
    """
    net = load_weights(run / MODEL_FILE).net
    held_out = list_samples(shard_paths(data / HELD_OUT))
    claims = [claims_of(net, entry, number, steps, samples) for number, entry in enumerate(held_out)]
    calibration = calibrate(claims)
    tensors, about = read_state(run / MODEL_FILE)
    _, state = read_state(run / STATE_FILE)
    figures = {name: round(value, 4) for name, value in summary(measure(net, held_out[::2], steps=steps)).items()}
    about |= {
        "calibration": {name: round(value, 4) for name, value in asdict(calibration).items()},
        "calibrated_with": {"steps": steps, "samples": samples, "held_out_samples": len(held_out)},
        "held_out": figures,
        "training": {name: state["config"][name] for name in ("seed", "steps", "batch_size", "data")},
        "licence": "Apache-2.0",
    }
    write_state(path, tensors, about)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    log.info("%s: %d bytes, sha256 %s", path, path.stat().st_size, sha256)
    return {**about, "sha256": sha256}
