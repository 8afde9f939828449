"""What is each part of the default model worth? Measured on held-out samples of `sparse_recon train --generate`.

    python benchmarks/ablations.py --data out/training/data [--weights FILE] [--count 24] [--json FILE]

- steps and samples: Chamfer distance, its share of carve's, spread of the samples, error claimed over error made, and
  seconds.
- how much of the answer is that of carve (`flow.PRIOR_SHARE`).
- evidence: one channel at a time is withheld from the network (which was trained with it), bounds and measured surface
  stay; then the bounds are left out, then the answer of carve is left out.

Chamfer distances are between grid crossings of both surfaces, in % of the true diagonal, with measured surface put over
the imagined one as fusion does; means over the samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse_recon.complete.compact import flow
from sparse_recon.complete.compact.conditioning import Conditioning
from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.shipped import WEIGHTS_FILE
from sparse_recon.complete.compact.volumes import CHANNELS
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.lab.training import measure as measuring
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.measure import measure, summary
from sparse_recon.lab.training.samples import Sample
from sparse_recon.lab.training.shards import StoredSample, list_samples, read_sample, shard_paths
from sparse_recon.machine.share import share_folder

STEPS_SAMPLES = ((1, 1), (1, 4), (1, 8), (2, 1), (2, 4), (4, 1), (4, 4), (8, 1), (8, 4))

PRIOR_SHARES = (0.0, 0.2, 0.3, 0.5, 0.7)


def row(found: Sequence[Any], seconds: float) -> dict[str, float]:
    """Return the figures of one variant."""
    means = summary(found)
    names = ("carve_pct", "model_pct", "occupancy_pct", "model_pct_1", "model_pct_2", "model_pct_more", "model_iou")
    return {**{name: means[name] for name in names}, "error_ratio": means["error_ratio"], "seconds": seconds}


def measured(net: CompactNet, stored: Sequence[StoredSample], **how: Any) -> dict[str, float]:
    """Measure one way of asking."""
    started = time.perf_counter()
    found = measure(net, stored, **how)
    return row(found, (time.perf_counter() - started) / len(stored))


def with_reader(change: Callable[[Sample], Sample], then: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure with samples changed before the network gets them; the comparison sees them as they are."""
    whole = measuring.conditioning

    def changed(volumes: torch.Tensor, scalars: torch.Tensor, has_prior: torch.Tensor, *more: Any) -> Conditioning:
        poorer = change(Sample(volumes[0].numpy().copy(), volumes[0, 0].numpy(), scalars[0].numpy(), "", 0))
        seen = whole(torch.from_numpy(poorer.volumes)[None].expand_as(volumes), scalars, has_prior, *more)
        return replace(whole(volumes, scalars, has_prior, *more), channels=seen.channels)

    measuring.conditioning = changed  # type: ignore[assignment]
    try:
        return then()
    finally:
        measuring.conditioning = whole


def without(name: str) -> Callable[[Sample], Sample]:
    """Return what withholds one channel."""

    def change(sample: Sample) -> Sample:
        sample.volumes[CHANNELS.index(name)] = 0
        return sample

    return change


def without_bounds(then: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure with x0 free to go anywhere."""
    clipped, flow.clip_to_bounds = flow.clip_to_bounds, lambda x0, condition: x0.clamp(-1, 1)  # type: ignore[assignment]
    measuring.clip_to_bounds = flow.clip_to_bounds
    try:
        return then()
    finally:
        flow.clip_to_bounds = measuring.clip_to_bounds = clipped


def std_of(net: CompactNet, stored: Sequence[StoredSample], steps: int) -> float:
    """Return the mean deviation of four samples near the imagined surface, in voxels."""
    found = []
    for number, entry in enumerate(stored):
        held = read_sample(entry)
        one = measuring.predict(net, held, number, steps=steps, samples=1)
        four = measuring.predict(net, held, number, steps=steps, samples=4)
        near = np.abs(four.raw_voxels) < 1
        found.append(float(np.abs(four.raw_voxels - one.raw_voxels)[near].mean()))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=share_folder("models") / WEIGHTS_FILE)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    net = load_weights(args.weights).net
    stored = list_samples(shard_paths(args.data / HELD_OUT))
    stored = stored[:: max(1, len(stored) // args.count)][: args.count]

    report: dict[str, dict[str, float]] = {}
    for steps, samples in STEPS_SAMPLES:
        report[f"{steps} steps, {samples} samples"] = measured(net, stored, steps=steps, samples=samples)
    for steps in (1, 4):
        report[f"{steps} steps, 4 samples"]["spread_voxels"] = std_of(net, stored, steps)
    for share in PRIOR_SHARES:
        report[f"{share:.0%} of carve's answer"] = measured(net, stored, prior_share=share)
    for name in CHANNELS:
        report[f"without {name}"] = with_reader(without(name), lambda: measured(net, stored))
    report["without bounds"] = without_bounds(lambda: measured(net, stored))
    report["without the answer of carve"] = measured(net, stored, with_prior=False)
    for name, figures in report.items():
        print(f"{name:28}", "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
