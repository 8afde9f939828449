"""What leaves a run can be used, and says what it is."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse_recon.complete.compact.network import CompactNet
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.errors import ConfigError, InputError
from sparse_recon.lab.training import ship as ship_module
from sparse_recon.lab.training.calibrate import claims_of
from sparse_recon.lab.training.checkpoints import MODEL_FILE, read_state, write_model
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.loop import Run
from sparse_recon.lab.training.shards import list_samples, shard_paths
from sparse_recon.lab.training.ship import averaged, ship


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


def test_weights_of_related_runs_are_averaged(run, data, config, tmp_path, monkeypatch):
    held_out = list_samples(shard_paths(data / HELD_OUT))
    monkeypatch.setattr(ship_module, "list_samples", lambda paths: held_out * 10)
    tensors, about = read_state(run / MODEL_FILE)
    size = load_weights(run / MODEL_FILE).net.size
    other = tmp_path / "other.safetensors"
    write_model(other, {name: 1.04 * t.float() for name, t in tensors.items()}, size, about)
    ship(run, data, tmp_path / "w.safetensors", 1, 1, [other])
    mean, kept = read_state(tmp_path / "w.safetensors")
    for name, t in tensors.items():
        assert torch.allclose(mean[name].float(), 1.02 * t.float(), rtol=2e-3, atol=1e-6)
    assert kept["averaged_with"] == [hashlib.sha256(other.read_bytes()).hexdigest()]


def test_weights_of_another_size_are_not_averaged(run, data, config, tmp_path):
    other = replace(load_weights(run / MODEL_FILE).net.size, width=128)
    write_model(tmp_path / "other.safetensors", CompactNet(other).state_dict(), other, {})
    with pytest.raises(ConfigError, match="width=128"):
        averaged([run / MODEL_FILE, tmp_path / "other.safetensors"])
