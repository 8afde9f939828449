"""Batches follow from the step alone."""

from __future__ import annotations

import numpy as np
import torch

from sparse_recon.lab.training.batches import Batches, augmented
from sparse_recon.lab.training.shards import shard_paths


def test_a_step_has_the_same_batch_whenever_it_is_asked_for(data, config):
    one, other = (Batches(config, shard_paths(data)) for _ in range(2))
    in_order = [one.at(step) for step in range(3)]
    jumped = other.at(2)
    assert torch.equal(in_order[2].volumes, jumped.volumes)
    assert torch.equal(in_order[2].target, jumped.target)
    one.close()
    other.close()


def test_mirroring_changes_sides_and_nothing_else(samples):
    flips = [augmented(samples[0], np.random.default_rng(k), turns=False) for k in range(8)]
    kept = [np.array_equal(f.target, samples[0].target) for f in flips]
    mirrored = [np.array_equal(f.target, samples[0].target[:, ::-1]) for f in flips]
    assert all(a or b for a, b in zip(kept, mirrored, strict=True))
    assert any(kept) and any(mirrored)
    assert all(np.array_equal(f.volumes[0] < 0, f.volumes[0] < 0) for f in flips)


def test_turns_keep_what_is_up(samples):
    turned = augmented(samples[0], np.random.default_rng(1), turns=True)
    heights = [np.nonzero((s.target < 0).any(axis=(0, 1)))[0] for s in (turned, samples[0])]
    assert np.array_equal(*heights)
