"""From a run to the weights that others use: calibrated, half precision, with what is to be known of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.errors import ConfigError
from sparse_recon.lab.training.calibrate import calibrate, claims_of
from sparse_recon.lab.training.checkpoints import MODEL_FILE, STATE_FILE, read_state, write_model
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.measure import measure, summary
from sparse_recon.lab.training.shards import list_samples, shard_paths
from sparse_recon.machine.safetensors_file import sha256_of

log = logging.getLogger(__name__)


def ship(run: Path, data: Path, path: Path, steps: int, samples: int, others: Sequence[Path] = ()) -> dict[str, Any]:
    """Calibrate the averaged weights of a run on held-out samples and write them; return what the file says of itself.

    Parameters
    ----------
    steps, samples : of the sampler with which the weights will be used: claims are calibrated for these.
    others : weights of related runs, which are averaged with those of this run (Wortsman et al. 2022).

    Raises
    ------
    FileError
        If the run or the samples cannot be read, or the file not be written.
    ModelError
        If other weights cannot be used.
    ConfigError
        If they are of another architecture.
    """
    net = averaged([run / MODEL_FILE, *others])
    held_out = list_samples(shard_paths(data / HELD_OUT))
    claims = [claims_of(net, entry, number, steps, samples) for number, entry in enumerate(held_out)]
    calibration = calibrate(claims)
    _, about = read_state(run / MODEL_FILE)
    _, state = read_state(run / STATE_FILE)
    measured = summary(measure(net, held_out[::2], steps=steps))
    figures = {name: round(v, 4) if math.isfinite(v) else None for name, v in measured.items()}  # JSON has no NaN
    about |= {
        "calibration": {name: round(value, 4) for name, value in asdict(calibration).items()},
        "calibrated_with": {"steps": steps, "samples": samples, "held_out_samples": len(held_out)},
        "held_out": figures,
        "training": {name: state["config"][name] for name in ("seed", "steps", "batch_size", "data")},
        "averaged_with": [sha256_of(other) for other in others],
        "licence": "Apache-2.0",
    }
    write_model(path, net.state_dict(), net.size, about)
    sha256 = sha256_of(path)
    log.info("%s: %d bytes, sha256 %s", path, path.stat().st_size, sha256)
    return {**about, "sha256": sha256}


def averaged(paths: Sequence[Path]) -> CompactNet:
    """Return a network with the mean of the weights of runs that began from the same ones.

    Raises
    ------
    ModelError
        If a file cannot be used.
    ConfigError
        If their architectures differ.
    """
    nets = [load_weights(path).net for path in paths]
    for path, net in zip(paths, nets, strict=True):
        if net.size != nets[0].size:
            raise ConfigError(
                f"{path} holds weights of {net.size}, {paths[0]} of {nets[0].size}: only networks of the same "
                "architecture can be averaged"
            )
    states = [net.state_dict() for net in nets]
    nets[0].load_state_dict({name: torch.stack([s[name] for s in states]).mean(dim=0) for name in states[0]})
    return nets[0]
