"""How well a segmenter tells things apart in views of clutter that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sparse_recon.lab.training.segmenter.loop import inputs_of
from sparse_recon.lab.training.segmenter.samples import ClutterSamples
from sparse_recon.observe.segmenter.decoding import decoded
from sparse_recon.observe.segmenter.network import SegmenterNet

MIN_PIXELS = 80  # of a thing that has to be found
MERGED_SHARE, PHANTOM_SHARE = 0.3, 0.3


def measured(net: SegmenterNet, shards: Sequence[Path], views: int, seed: int = 7) -> dict[str, float]:
    """Return shares of things found with IoU above 0.5 and 0.75, and of answers that hold two things, or none."""
    samples = ClutterSamples(shards, seed, crop=None)
    chosen = range(0, len(samples), max(1, len(samples) // views))
    iou: list[float] = []
    answers = merged = phantoms = 0
    for number in chosen:
        sample = samples[number]
        batch = {name: t[None] for name, t in sample.items()}
        with torch.inference_mode():
            found = decoded(net(inputs_of(batch))[0].numpy()).labels
        true = sample["labels"].numpy()
        overlap = np.zeros((int(true.max()) + 1, int(found.max()) + 1))
        np.add.at(overlap, (true.ravel(), found.ravel()), 1)
        area, size = overlap.sum(axis=1), overlap.sum(axis=0)
        counted = np.nonzero(area[1:] >= MIN_PIXELS)[0] + 1
        union = area[:, None] + size[None] - overlap
        iou += [float((overlap / np.maximum(union, 1))[t, 1:].max(initial=0.0)) for t in counted]
        for answer in range(1, len(size)):
            answers += 1
            phantoms += bool(overlap[1:, answer].sum() < PHANTOM_SHARE * size[answer])
            merged += bool((overlap[counted, answer] > MERGED_SHARE * area[counted]).sum() > 1)
    return {
        "things": float(len(iou)),
        "found_pct": 100 * float(np.mean(np.array(iou) > 0.5)),
        "well_found_pct": 100 * float(np.mean(np.array(iou) > 0.75)),
        "merged_pct": 100 * merged / max(answers, 1),
        "phantom_pct": 100 * phantoms / max(answers, 1),
    }
