"""What leaves a run can be used, and says what it is."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.errors import InputError
from sparse_recon.training import ship as ship_module
from sparse_recon.training.calibrate import claims_of
from sparse_recon.training.checkpoints import MODEL_FILE, read_state
from sparse_recon.training.generate import HELD_OUT
from sparse_recon.training.loop import Run
from sparse_recon.training.shards import list_samples, shard_paths
from sparse_recon.training.ship import ship


@pytest.fixture(scope="module")
def run(data, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    Run(config, data, out, resume=False).train()
    return out


def test_claims_are_of_inferred_points_in_metres(run, data):
    entry = list_samples(shard_paths(data / HELD_OUT))[0]
    claims = claims_of(load_weights(run / MODEL_FILE).net, entry, 0, 1, 2)
    assert 100 < len(claims.error_m) == len(claims.claimed_m) == len(claims.by_other)
    assert claims.error_m.min() >= 0 and 1e-4 < np.median(claims.error_m) < 0.05
    assert (claims.claimed_m > 0).all()


def test_shipped_weights_carry_calibration_figures_and_licence(run, data, tmp_path, monkeypatch):
    held_out = list_samples(shard_paths(data / HELD_OUT))
    monkeypatch.setattr(ship_module, "list_samples", lambda paths: held_out * 10)
    about = ship(run, data, tmp_path / "w.safetensors", 1, 1)
    assert about["sha256"] == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    shipped, plain = load_weights(tmp_path / "w.safetensors", about["sha256"]), load_weights(run / MODEL_FILE)
    assert shipped.calibration.tail == about["calibration"]["tail"]
    assert all(torch.equal(a, b) for a, b in zip(shipped.net.parameters(), plain.net.parameters(), strict=True))
    _, kept = read_state(tmp_path / "w.safetensors")
    assert kept["licence"] == "Apache-2.0" and kept["held_out"]["carve_pct"] > 0 and kept["training"]["steps"] == 4


def test_too_few_held_out_samples_ship_nothing(run, data, tmp_path):
    with pytest.raises(InputError):
        ship(run, data, tmp_path / "w.safetensors", 1, 1)
    assert not list(tmp_path.iterdir())
