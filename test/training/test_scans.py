"""Scans are objects like the procedural ones, and the scored ones are not learned from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from sparse_recon.cli.main import main
from sparse_recon.errors import FileError
from sparse_recon.evaluate.objects import SCORED, UNSCORED
from sparse_recon.parameter_file import read_parameter_file
from sparse_recon.resources import share_folder
from sparse_recon.training.bake import bake
from sparse_recon.training.scans import FAMILY, LARGEST, SMALLEST, draw_scan, scan_paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans")
    trimesh.creation.cylinder(radius=0.03, height=0.12).export(path / "can.glb")
    return path


def test_a_scan_is_drawn_upright_stretched_and_resized(folder):
    drawn = [draw_scan(np.random.default_rng(k), scan_paths(folder, ["can"])) for k in range(6)]
    assert all(SMALLEST * 0.12 <= made.size_m <= LARGEST * 0.12 and made.family == FAMILY for made in drawn)
    baked = bake(drawn[0], 64)
    extent = np.ptp(np.argwhere(baked.sdf_m < 0), axis=0)
    assert extent.argmax() == 2  # it still stands
    assert extent[2] / extent[:2].mean() == pytest.approx(2.0, rel=0.35)  # three deviations of two stretches


def test_distances_are_those_of_the_mesh(folder):
    made = draw_scan(np.random.default_rng(0), scan_paths(folder, ["can"]))
    values = made.field(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]))
    assert values[0] < 0 < values[1] < values[2]  # narrow: farther from its side than from its top


def test_a_missing_scan_is_named(folder):
    with pytest.raises(FileError, match=r"mug\.glb"):
        scan_paths(folder, ["can", "mug"])


def test_scored_scans_are_refused(folder, tmp_path, capsys):
    arguments = ["train", "--generate", "--scans", str(folder), "--data", str(tmp_path)]
    assert main([*arguments, "--set", f"data.scans=[{SCORED[0]}]"]) == 2
    assert SCORED[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_configurations_that_ship_learn_from_no_scored_scan():
    for path in (share_folder("config") / "training").glob("*.yaml"):
        assert set(read_parameter_file(path).get("data", {}).get("scans", [])) <= set(UNSCORED)
