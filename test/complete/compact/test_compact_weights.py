"""Weights of the default model: those that ship, and files that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_compact import network, weights_file

from sparse_recon.complete.compact import completer
from sparse_recon.complete.compact.calibration import Calibration
from sparse_recon.complete.compact.completer import CompactCompleter
from sparse_recon.complete.compact.conditioning import INPUTS
from sparse_recon.complete.compact.parameter_names import file_name, parameter_name
from sparse_recon.complete.compact.patches import PATCH_VOXELS
from sparse_recon.complete.compact.shipped import NANO_FILE, NANO_SHA256, WEIGHTS_FILE, WEIGHTS_SHA256
from sparse_recon.complete.compact.weights import load_weights
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.machine.share import share_folder


@pytest.mark.parametrize("value", [0.0, -1.0, "much", float("inf")])
def test_calibration_that_is_none_is_refused(tmp_path, value):
    refused(weights_file(tmp_path / "w.safetensors", about={"calibration": {"tail": value}}))


def refused(path, code=ErrorCode.MODEL_WEIGHTS_INVALID) -> str:
    with pytest.raises(ModelError) as caught:
        load_weights(path)
    assert caught.value.code == code and str(path) in caught.value.message
    return caught.value.message


def test_weights_come_back_as_they_were_saved(tmp_path):
    net = network(5)
    loaded = load_weights(weights_file(tmp_path / "w.safetensors", net)).net.state_dict()
    assert all(torch.equal(loaded[name], t.half().float()) for name, t in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "sha256", "most_bytes"), [(WEIGHTS_FILE, WEIGHTS_SHA256, 25e6), (NANO_FILE, NANO_SHA256, 4e6)]
)
def test_shipped_weights_are_whole_small_and_calibrated(name, sha256, most_bytes):
    path = share_folder("models") / name
    assert path.stat().st_size <= most_bytes
    calibration = load_weights(path, sha256).calibration
    assert calibration != Calibration() and 0.3 < calibration.hidden_by_self < 3


@pytest.mark.parametrize(
    ("name", "outputs"), [(WEIGHTS_FILE, [0.46760, 0.57636, 0.57055]), (NANO_FILE, [-0.08154, 0.08329, 0.00461])]
)
def test_shipped_weights_give_the_same_outputs_as_ever(name, outputs):
    # Values of the version in which the modules still had the names of the file; rounding differs between processors.
    net = load_weights(share_folder("models") / name).net
    generator = torch.Generator().manual_seed(7)
    volume = torch.randn((1, 32, 32, 32, PATCH_VOXELS * net.size.inputs), generator=generator)
    features = torch.randn((1, 8), generator=generator)
    with torch.no_grad():
        found = net(volume, torch.tensor([0.7]), features).flatten()[:3]
    np.testing.assert_allclose(found.numpy(), outputs, atol=1e-4)


def test_files_keep_the_names_of_parameters_of_the_first_release():
    names = list(network().state_dict())
    assert [parameter_name(file_name(name)) for name in names] == names
    assert len({file_name(name) for name in names}) == len(names)
    with safe_open(share_folder("models") / NANO_FILE, framework="pt") as file:
        assert set(file.keys()) == {
            file_name(name) for name in load_weights(share_folder("models") / NANO_FILE).net.state_dict()
        }


def test_shipped_weights_of_another_hash_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(completer, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="sha256"):
        CompactCompleter().load(SessionConfig(), lambda share, text: None)


def test_missing_weights(tmp_path):
    assert "carve" in refused(tmp_path / "none.safetensors", ErrorCode.MODEL_WEIGHTS_MISSING)


def test_weights_of_another_size(tmp_path):
    assert "shape" in refused(weights_file(tmp_path / "w.safetensors", width=64))


def test_weights_of_another_version(tmp_path):
    assert "not supported by this version" in refused(weights_file(tmp_path / "w.safetensors", inputs=INPUTS + 1))


def test_architecture_that_would_fill_memory(tmp_path):
    assert "not supported by this version" in refused(weights_file(tmp_path / "w.safetensors", width=10**9))


def test_weights_that_do_not_say_what_they_are(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert "architecture" in refused(tmp_path / "w.safetensors")


def test_weights_that_are_no_numbers(tmp_path):
    net = network()
    net.out.bias[3] = torch.nan
    assert "NaN" in refused(weights_file(tmp_path / "w.safetensors", net))


def test_cut_off_weights(tmp_path):
    path = weights_file(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path)
