"""Two processes train one network; one of them writes."""

from __future__ import annotations

import csv

import pytest
import torch

from sparse_recon.cli.main import main
from sparse_recon.lab.training.checkpoints import MODEL_FILE, read_state
from sparse_recon.lab.training.loop import METRICS_FILE
from sparse_recon.lab.training.team import Team

SMALL = ["steps=2", "batch_size=2", "gate_step=0", "measure_samples=1", "threads=1", "device=cpu", "precision=fp32"]
NETWORK = ["model.fine_width=8", "model.middle_width=8", "model.width=64", "model.blocks=1"]


def test_one_alone_is_a_team_whose_mean_is_its_own(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    team, gradient = Team("cpu"), torch.tensor([1.0, 2.0])
    team.all_reduce_mean([gradient])
    assert team.is_main_process and team.count == 1 and gradient.tolist() == [1.0, 2.0]


def test_two_devices_see_twice_as_many_samples_and_write_once(data, tmp_path):
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install .[train]")
    arguments = ["train", "--devices", "2", "--data", str(data), "--out", str(tmp_path), "--set", *SMALL, *NETWORK]
    assert main(arguments) == 0
    with (tmp_path / METRICS_FILE).open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2"]
    _, about = read_state(tmp_path / MODEL_FILE)
    assert about["samples"] == 2 * 2 * 2
    assert main(arguments) == 1  # a run is there already: nothing is overwritten
    assert main([*arguments, "--resume"]) == 0
