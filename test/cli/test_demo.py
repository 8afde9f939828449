"""`demo`, `simulate` and `view` through the command line."""

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from sparse_recon.bags.reader import Bag, FrameReader
from sparse_recon.cli import demo as demo_command
from sparse_recon.cli.main import main
from sparse_recon.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    stale = out / "object_9"
    stale.mkdir()
    for name in ("quality.json", "cloud.ply"):
        (stale / name).write_text("{}")
    assert main(["simulate", str(out / "tabletop_bag"), "--frames", "1", "--objects", "1"]) == EXIT_DONE
    coarse = ["--set", "evidence.grid=32", "--set", "evidence.fine_grid=48"]
    assert main(["demo", "--out", str(out), "--no-ros", *coarse]) == EXIT_DONE
    return out


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_demo_leaves_everything_that_the_readme_promises(demo: Path) -> None:
    assert sorted(p.name for p in demo.iterdir()) == [
        *("completed_bag", "object_0", "object_1", "object_2", "overview.png", "tabletop_bag")
    ]
    for k in range(3):
        files = {str(p.relative_to(demo / f"object_{k}")) for p in (demo / f"object_{k}").rglob("*") if p.is_file()}
        assert {"cloud.ply", "mesh.ply", "mesh.obj", "mesh.glb", "quality.json", "collision/conservative.stl"} <= files


def test_demo_meshes_are_closed_and_objects_are_household_size(demo: Path) -> None:
    for k in range(3):
        mesh = trimesh.load(demo / f"object_{k}" / "mesh.ply")
        assert mesh.is_watertight and mesh.volume > 0
        assert 0.05 < mesh.extents.max() < 0.3


def test_demo_picture_shows_frames_and_three_rows(demo: Path) -> None:
    image = Image.open(demo / "overview.png")
    assert image.width > 1500 and image.height > 1500
    assert np.asarray(image.convert("L")).std() > 20


def test_sample_bag_holds_five_frames_with_poses(demo: Path) -> None:
    with Bag(demo / "tabletop_bag") as bag:
        reader = FrameReader(bag)
        frames = list(reader)
    assert len(frames) == 5 and reader.world_frame == "world"
    assert len({tuple(f.T_world_cam[:3, 3]) for f in frames}) == 5
    assert all(f.depth_m is not None and np.isfinite(f.depth_m).mean() > 0.3 for f in frames)


def test_view_without_a_screen_points_at_the_picture(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (demo / "overview.png").read_bytes()
    assert main(["view", str(demo), "--json"]) == EXIT_DONE
    assert last_json(capsys) == {
        "objects": ["object_0", "object_1", "object_2"],
        "shown": str(demo / "overview.png"),
    }
    assert (demo / "overview.png").read_bytes() == before


def test_view_draws_a_picture_that_is_missing_or_older_than_the_results(demo: Path, tmp_path: Path) -> None:
    place = tmp_path / "object_0"
    place.mkdir()
    for name in ("cloud.ply", "mesh.ply", "quality.json"):
        (place / name).write_bytes((demo / "object_0" / name).read_bytes())
    picture = tmp_path / "overview.png"
    assert main(["view", str(tmp_path)]) == EXIT_DONE
    drawn = picture.read_bytes()
    picture.write_bytes(b"old")
    os.utime(picture, (0, 0))
    assert main(["view", str(tmp_path)]) == EXIT_DONE
    assert picture.read_bytes() == drawn


def test_view_of_a_folder_without_results_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path)]) == EXIT_USAGE
    assert "no quality.json" in capsys.readouterr().err


def test_view_saves_a_rerun_recording_or_says_what_to_install(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "result.rrd"
    code = main(["view", str(demo), "--save", str(recording)])
    if code == EXIT_DONE:
        assert recording.stat().st_size > 100_000
    else:
        assert code == EXIT_FAILED
        assert "pip install rerun-sdk" in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_simulate_writes_what_it_was_asked_for(
    tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / "bag"
    words = ["simulate", str(bag), "--frames", "2", "--objects", "1", "--labels", "--compressed", "--storage", storage]
    assert main([*words, "--seed", "3", "--json"]) == EXIT_DONE
    assert last_json(capsys)["frames"] == 2
    with Bag(bag) as opened:
        frames = list(FrameReader(opened))
    assert [f.labels is not None and 1 in f.labels for f in frames] == [True, True]


@pytest.mark.parametrize(
    "name", ["object_0/notes.txt", "completed_bag/metadata.yaml", "tabletop_bag/metadata.yaml", "object_0/quality.json"]
)
def test_demo_replaces_nothing_but_an_earlier_demo(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / name
    place.parent.mkdir()
    place.write_text("mine")
    (place.parent / "cloud.ply").touch()
    assert main(["demo", "--out", str(tmp_path)]) == EXIT_USAGE
    assert f"holds {place.parent.name}, which no earlier demo wrote" in capsys.readouterr().err
    assert place.read_text() == "mine"


def test_demo_takes_its_seed_from_the_config_too(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seed: 11\n")
    seeds = []
    for words in ([], ["--config", str(tmp_path / "c.yaml")], ["--config", str(tmp_path / "c.yaml"), "--seed", "12"]):
        parser = ArgumentParser()
        demo_command.add_arguments(parser)
        seeds.append(demo_command.config_of_demo(parser.parse_args(words)).seed)
    assert seeds == [7, 11, 12]


def test_demo_into_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", "--out", str(tmp_path / "file")]) == EXIT_FAILED
    assert "cannot be written" in capsys.readouterr().err
