"""Scans are objects like the procedural ones, and the scored ones are not learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from sparse_recon.cli.main import main
from sparse_recon.config.parameter_file import read_parameter_file
from sparse_recon.errors import FileError
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.lab.evaluate.objects import SCORED, UNSCORED
from sparse_recon.lab.training.bake import bake
from sparse_recon.lab.training.scans import FAMILY, LARGEST, SMALLEST, draw_scan, scan_paths, unit_field
from sparse_recon.machine.share import share_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans")
    trimesh.creation.cylinder(radius=0.03, height=0.12).export(path / "can.glb")
    (path / "ycb" / "box").mkdir(parents=True)
    trimesh.creation.box((0.05, 0.1, 0.2)).export(path / "ycb" / "box" / "textured.obj")
    return path


def drawn(folder, name, seeds):
    return [draw_scan(np.random.default_rng(seed), scan_paths([folder], [name])) for seed in range(seeds)]


def test_a_scan_is_drawn_upright_stretched_and_resized(folder):
    made = drawn(folder, "can", 12)
    assert all(SMALLEST * 0.12 <= m.size_m <= LARGEST * 0.12 and m.family == FAMILY for m in made)
    assert len({m.size_m for m in made}) == 12
    shapes = []
    for m in made:
        extent = np.ptp(np.argwhere(bake(m, 64).sdf_m < 0), axis=0)
        assert extent[2] > extent[:2].mean()  # it still stands
        shapes.append(extent[2] / extent[:2].mean())
    assert np.median(shapes) == pytest.approx(2.0, rel=0.25)
    assert np.std(shapes) > 0.1  # no two are alike


def test_distances_are_those_of_the_mesh(folder):
    grid = VoxelGrid.cube(48, 0.9)
    points = torch.from_numpy(grid.centres().reshape(-1, 3))
    field, longest_m = unit_field(scan_paths([folder], ["ycb/box/textured"])[0])
    q = points.abs() - torch.tensor([0.25, 0.5, 1.0])  # half edges, the longest being one
    true = q.clamp(min=0).norm(dim=-1) + q.amax(dim=-1).clamp(max=0)
    assert longest_m == pytest.approx(0.2)
    error = (field(points) - true).abs()
    assert error[true.abs() < 0.03].max() < 0.01  # two thirds of a grid voxel, at edges
    assert error.max() < 0.05


def test_a_hole_of_a_scan_lets_nothing_in(tmp_path):
    whole = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    open_above = whole.triangles_center[:, 2] > 0.0492  # the five faces around the pole
    assert 3 <= open_above.sum() <= 8
    trimesh.Trimesh(whole.vertices, whole.faces[~open_above], process=False).export(tmp_path / "ball.ply")
    field, _ = unit_field(scan_paths([tmp_path], ["ball"])[0])
    below = torch.tensor([[0.0, 0.0, z] for z in np.linspace(-0.9, 0.9, 50)], dtype=torch.float32)
    assert field(below).max() < 0
    assert field(torch.tensor([[0.0, 0.0, 1.3], [1.3, 0.0, 0.0], [0.0, 0.0, -1.3]])).min() > 0.2


def test_a_missing_scan_is_named_and_where_it_was_looked_for(folder, tmp_path):
    with pytest.raises(FileError, match=rf"{tmp_path}.*mug"):
        scan_paths([folder, tmp_path], ["can", "mug"])
    assert scan_paths([tmp_path, folder], ["can"])[0].parent == folder


@pytest.mark.parametrize("name", [SCORED[0], "ycb/003_cracker_box/google_16k/textured", "meshes/android_toy"])
def test_scored_scans_are_refused_whatever_folder_names_them(name, folder, tmp_path, capsys):
    arguments = ["train", "--generate", "--scans", str(folder), "--data", str(tmp_path)]
    assert main([*arguments, "--set", f"data.scans=[{name}]"]) == 2
    assert name in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_samples_of_scans_that_are_not_given_are_refused(folder, tmp_path, capsys):
    """Not left out without a word: the run would learn from made-up objects alone."""
    common = ["train", "--generate", "--data", str(tmp_path)]
    asked = ["--set", "data.scan_shards=2", "data.scans=[can]"]
    assert main([*common, *asked]) == 2
    assert "--scans" in capsys.readouterr().err
    assert main([*common, "--scans", str(folder), "--set", "data.scan_shards=2"]) == 2
    assert "data.scans names none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_configurations_that_ship_learn_from_no_scored_scan():
    products = {name.partition("_")[2] for name in SCORED} | set(SCORED)
    for path in (share_folder("config") / "training").glob("*.yaml"):
        for name in read_parameter_file(path).get("data", {}).get("scans", []):
            assert not products & set(Path(name).parts), name
            assert name in UNSCORED or not name.startswith(("ycb_", "gso_")), name
