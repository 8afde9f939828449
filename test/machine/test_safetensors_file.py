"""Weights are read exactly as they are expected, and a file that lies costs nothing."""

from __future__ import annotations

import hashlib
import json
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.machine.safetensors_file import read_weights

SHAPES = {"conv.weight": (4, 3, 3), "conv.bias": (4,)}


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.fixture
def path(tmp_path, tensors):
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def refused(path, shapes=SHAPES, sha256="", code=ErrorCode.MODEL_WEIGHTS_INVALID) -> str:
    with pytest.raises(ModelError) as caught:
        read_weights(path, shapes, sha256)
    assert caught.value.code == code and str(path) in caught.value.message
    return caught.value.message


def claim(path, header: dict, header_bytes: int | None = None, body: bytes = b"") -> None:
    text = json.dumps(header).encode()
    path.write_bytes((header_bytes or len(text)).to_bytes(8, "little") + text + body)


def test_tensors_come_back_as_they_were_saved(path, tensors):
    read = read_weights(path, SHAPES, hashlib.sha256(path.read_bytes()).hexdigest().upper())
    assert read.keys() == tensors.keys()
    assert all(np.array_equal(read[name], tensors[name]) for name in tensors)


def test_missing_file(tmp_path):
    message = refused(tmp_path / "none.safetensors", code=ErrorCode.MODEL_WEIGHTS_MISSING)
    assert "no weights" in message


def test_folder_in_place_of_a_file_is_no_file(tmp_path):
    refused(tmp_path, code=ErrorCode.MODEL_WEIGHTS_MISSING)


def test_another_hash(path):
    assert "0" * 64 in refused(path, sha256="0" * 64)


def test_one_changed_byte_changes_the_hash(path):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert sha256 in refused(path, sha256=sha256)


@pytest.mark.parametrize("size", [0, 5, 8, 40, -1])
def test_file_that_was_cut_off(path, size):
    path.write_bytes(path.read_bytes()[:size])
    refused(path)


def test_pickle_is_no_safetensors_file(path):
    import pickle

    path.write_bytes(pickle.dumps({"conv.bias": [0.0] * 100}))
    assert "safetensors" in refused(path)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({**SHAPES, "head.weight": (2,)}, "lacks head.weight"),
        ({"conv.bias": (4,)}, "holds conv.weight"),
        ({**SHAPES, "conv.bias": (5,)}, r"conv.bias has shape (4,), expected is (5,)"),
        ({**SHAPES, "conv.bias": (4, 1)}, r"conv.bias has shape (4,), expected is (4, 1)"),
    ],
)
def test_other_names_and_shapes_are_told(path, shapes, words):
    assert words in refused(path, shapes)


def test_type_that_numpy_lacks_is_told(tmp_path):
    path = tmp_path / "model.safetensors"
    claim(path, {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, body=bytes(4))
    assert "BF16" in refused(path, {"w": (2,)})


@pytest.mark.parametrize("header_bytes", [1 << 62, 1 << 40, (1 << 64) - 1])
def test_header_that_claims_terabytes_costs_nothing(tmp_path, header_bytes):
    path = tmp_path / "model.safetensors"
    claim(path, {}, header_bytes=header_bytes)
    read_weights_is_refused_cheaply(path, SHAPES)


@pytest.mark.parametrize("edge", [1 << 20, 1 << 31])
def test_tensor_that_claims_terabytes_costs_nothing(tmp_path, edge):
    path = tmp_path / "model.safetensors"
    nbytes = 4 * edge * edge
    claim(path, {"w": {"dtype": "F32", "shape": [edge, edge], "data_offsets": [0, nbytes]}}, body=bytes(64))
    read_weights_is_refused_cheaply(path, {"w": (edge, edge)})


def read_weights_is_refused_cheaply(path, shapes) -> None:
    refused(path, shapes)  # imports what is needed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        refused(path, shapes)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB


def test_unreadable_file_is_told():
    path = Path("/proc/self/mem")  # address 0 can never be read
    assert "cannot be read" in refused(path)
