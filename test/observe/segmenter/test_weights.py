"""Weights of the segmenter: those that ship are whole and find things, others are refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scenes import two_objects

from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.lab.training.segmenter.loop import write_weights
from sparse_recon.machine.safetensors_file import sha256_of
from sparse_recon.machine.share import share_folder
from sparse_recon.observe.segment import SupportPlane
from sparse_recon.observe.segmenter.layout import STRIDE, Widths
from sparse_recon.observe.segmenter.network import SegmenterNet
from sparse_recon.observe.segmenter.weights import WEIGHTS_FILE, WEIGHTS_SHA256, load_segmenter_net, shipped_segmenter

TINY = Widths(4, 4, 4, 4, 4)
TABLE = SupportPlane(np.array([0.0, 0.0, 1.0]), 0.0)


def test_weights_come_back_as_they_were(tmp_path):
    torch.manual_seed(1)
    net = SegmenterNet(TINY).eval()
    write_weights(tmp_path / "w.safetensors", net.state_dict(), TINY, {})
    again = load_segmenter_net(tmp_path / "w.safetensors")
    x = torch.randn(1, 10, 3 * STRIDE, 2 * STRIDE)
    with torch.no_grad():
        assert torch.allclose(again(x), net.half().float()(x), atol=1e-2)
        assert again(x).shape == (1, 4, 3 * STRIDE, 2 * STRIDE)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="weights of the segmenter") as caught:
        load_segmenter_net(tmp_path / "w.safetensors")
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ("{}", "holds no segmenter"),
        (json.dumps({"widths": {**vars(TINY), "half": 100_000}}), "are not supported"),
        (json.dumps({"widths": vars(TINY)}), "it lacks"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, about, says):
    save_file({"other": torch.zeros(3)}, tmp_path / "w.safetensors", {"about": about})
    with pytest.raises(ModelError, match=says) as caught:
        load_segmenter_net(tmp_path / "w.safetensors")
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_INVALID


def test_values_that_are_no_numbers_are_refused(tmp_path):
    net = SegmenterNet(TINY)
    with torch.no_grad():
        net.spread.weight[0, 0] = float("nan")
    write_weights(tmp_path / "w.safetensors", net.state_dict(), TINY, {})
    with pytest.raises(ModelError, match="NaN"):
        load_segmenter_net(tmp_path / "w.safetensors")


def test_the_weights_that_ship_are_those_that_were_measured():
    assert sha256_of(share_folder("models") / WEIGHTS_FILE) == WEIGHTS_SHA256


def test_the_shipped_network_finds_two_things_on_a_table():
    made = two_objects(views=1)
    frame, true = made.frames[0], made.truth[0].labels if hasattr(made, "truth") else None
    found = shipped_segmenter().segment(frame, TABLE)
    assert found.labels.shape == frame.rgb.shape[:2]
    points = found.labels[frame.depth_m > 0]
    assert (points > 0).any()
    assert true is None or np.mean((found.labels > 0) == (true > 0)) > 0.98
