"""`sparse_recon evaluate` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh

from sparse_recon.cli.main import main

# As small as it gets: one tiny image of one object.
SMALL = ["--protocol", "width_px=160", "--protocol", "height_px=120", "--protocol", "distance_far_m=0.5"]
ONE = ["--made-up", "1", "--views", "1", "--conditions", "noisy", "--jobs", "1", *SMALL]


def evaluate(*arguments: str) -> int:
    return main(["evaluate", *arguments])


def error_of(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return dict(json.loads(capsys.readouterr().out)["error"])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "out"
    assert evaluate(*ONE, "--methods", "observed", "carve", "--out", str(folder)) == 0
    return folder


def test_results_tables_and_pictures_are_written(out: Path):
    assert {"results.json", "table.md", "sheet.png", "scores.jsonl"} <= {p.name for p in out.iterdir()}
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "Alignment: none" in table and "| carve" in table and "| observed" in table
    assert all(p.stat().st_size > 5000 for p in out.glob("*.png"))


def test_the_same_command_again_measures_nothing_and_says_the_same(out: Path, capsys: pytest.CaptureFixture[str]):
    before = (out / "scores.jsonl").read_text(encoding="utf-8").count("chamfer_mm")
    assert evaluate(*ONE, "--methods", "observed", "carve", "--out", str(out), "--no-pictures", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["scores"], summary["refused"]) == (2, 0)
    assert (out / "scores.jsonl").read_text(encoding="utf-8").count("chamfer_mm") == before
    assert summary["fingerprint"][:16] in (out / "table.md").read_text(encoding="utf-8")


def test_results_compared_with_themselves_are_the_same(out: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate("--compare", str(out), str(out / "results.json")) == 0
    assert "no number has changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "name", "word"),
    [
        (["--methods", "magic"], "USAGE", "carved_hull"),
        (["--conditions", "rainy"], "CONFIG_INVALID", "rainy"),
        (["--views", "0"], "CONFIG_INVALID", "views"),
        (["--protocol", "samples"], "USAGE", "NAME=VALUE"),
        (["--protocol", "smaples=3"], "CONFIG_INVALID", "smaples"),
        (["--objects", "nowhere"], "INPUT_MISSING", "nowhere"),
        (["--only", "cup"], "USAGE", "--objects"),
        (["--compare", "nowhere", "nowhere"], "INPUT_MISSING", "nowhere"),
        (["--set", "fusion.max_faces=-1"], "CONFIG_INVALID", "max_faces"),
        (["--against", "nowhere.json"], "INPUT_MISSING", "nowhere.json"),
        (["--derive", "new.json", "--repeats", "2"], "USAGE", "--repeats 3"),
        (["--sheet", "magic"], "USAGE", "carved_hull"),
        (["--grasp", "--derive", "new.json"], "USAGE", "--grasp"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    arguments: list[str], name: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert evaluate(*arguments, "--out", str(tmp_path / "out"), "--json") != 0
    error = error_of(capsys)
    assert error["name"] == name and word in str(error["message"])
    assert not (tmp_path / "out").exists()


def test_a_mesh_in_millimetres_is_refused_with_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "meshes").mkdir()
    trimesh.creation.box((80, 60, 100)).export(tmp_path / "meshes" / "box.ply")
    arguments = ["--objects", str(tmp_path / "meshes"), "--out", str(tmp_path / "out"), "--json"]
    assert evaluate(*arguments) != 0
    error = error_of(capsys)
    assert error["name"] == "MESH_INVALID" and "--units mm" in str(error["message"])


def test_protocol_is_listed_with_units_and_ranges(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        evaluate("--help-protocol")
    assert ended.value.code == 0
    assert "distance_near_m = 0.4 m [0.1 .. 10]" in capsys.readouterr().out
