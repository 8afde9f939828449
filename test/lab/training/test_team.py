"""Two processes train one network; one of them writes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest
import torch

from sparse_recon.cli.main import main
from sparse_recon.lab.training.checkpoints import MODEL_FILE, read_state
from sparse_recon.lab.training.run import METRICS_FILE
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


def test_a_library_of_the_current_folder_is_never_run(tmp_path):
    """The launcher and both members are processes that begin in the folder where the command was called."""
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install .[train]")
    for name in ("torch", "numpy", "accelerate", "struct", "sparse_recon"):
        trap = f"open({str(tmp_path / 'run')!r}, 'a').write(__name__)\nraise SystemExit(9)"
        (tmp_path / f"{name}.py").write_text(trap)
    code = """
import os, sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", sys.argv[1])]
from sparse_recon.lab.training.team import launch
import accelerate
os.environ.pop("PYTHONSAFEPATH")  # it was for this process alone
sys.path.insert(0, "")
sys.exit(launch(2, ["train", "--of-no-such-name"]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), ""]), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1 and "unrecognized arguments: --of-no-such-name" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
