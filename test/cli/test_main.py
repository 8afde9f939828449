"""The command line: what every command promises."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from sparse_recon.cli.arguments import add_config_arguments, config_of
from sparse_recon.cli.main import COMMANDS, main
from sparse_recon.errors import ConfigError


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"sparse_recon {command}" in text and "exit codes" in text


def test_without_a_command_the_list_is_shown(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and all(command in captured.err for command in COMMANDS)


def test_unknown_command_is_bad_usage(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["replai"])
    assert ended.value.code == 2
    assert "Did you mean replay?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["replay", "b", "--out", "o", "--max-frames", "-3"],
            "--max-frames: takes a whole number of at least 0, got '-3'",
        ),
        (["simulate", "b", "--frames", "0"], "--frames: takes a whole number of at least 1"),
        (["simulate", "b", "--objects", "two"], "--objects: takes a whole number of at least 1"),
    ],
)
def test_counts_are_checked_by_the_parser(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["replay", "b", "--json"], "--out"),
        (["simulate", "b", "--frames", "x", "--json"], "--frames"),
        (["demo", "--nonsense", "--json"], "--nonsense"),
        (["replai", "--json"], "Did you mean replay?"),
    ],
)
def test_usage_errors_are_one_json_object_too(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["exit_code"], report["error"]["name"]) == (2, "USAGE")
    assert word in report["error"]["message"] and word in captured.err


WRITERS = (
    ["replay", "b", "--out"],
    ["complete", "f", "--out"],
    ["demo", "--out"],
    ["simulate"],
    ["bag-from-frames", "f"],
    ["evaluate", "--out"],
    ["train", "--out"],
    ["view", "d", "--save"],
    ["weights", "convert", "c"],
)


@pytest.mark.parametrize("words", WRITERS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("path", "word"), [("~nobody-of-this-name/x", "home"), ("f" * 300, "shorten"), ("a\0b", "NUL"), ("", "empty")]
)
def test_an_output_that_cannot_be_is_bad_usage(
    words: list[str], path: str, word: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*words, path, "--json"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert (ended.value.code, error["name"]) == (2, "USAGE")
    assert word in error["message"] and len(error["message"]) < 600
    assert list(tmp_path.iterdir()) == []


def test_a_home_in_an_output_is_that_home(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["simulate", "~/bag", "--frames", "1", "--objects", "1"]) == 0
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


def test_json_without_a_command_is_an_error(capsys: pytest.CaptureFixture[str]):
    assert main(["--json"]) == 2
    assert "replay" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("2E-2", 0.02), (".5e-1", 0.05), ("0.004", 0.004)])
def test_numbers_with_an_exponent_are_numbers(text: str, value: float, tmp_path):
    (tmp_path / "c.yaml").write_text(f"depth: {{sigma_base_m: {text}}}\n")
    parser = ArgumentParser()
    add_config_arguments(parser, "")
    for words in (["--set", f"depth.sigma_base_m={text}"], ["--config", str(tmp_path / "c.yaml")]):
        assert config_of(parser.parse_args(words)).depth.sigma_base_m == value


def test_input_of_the_other_command_is_pointed_out(tmp_path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "0.color.png").touch()
    assert main(["replay", str(tmp_path / "frames"), "--out", str(tmp_path / "out")]) == 1
    assert f"sparse_recon complete {tmp_path / 'frames'}" in capsys.readouterr().err
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "a.mcap").touch()
    assert main(["complete", str(tmp_path / "bag"), "--out", str(tmp_path / "out")]) == 2
    assert f"sparse_recon replay {tmp_path / 'bag'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_parameters_are_listed_with_unit_and_range(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["replay", "--help-parameters"])
    assert ended.value.code == 0
    assert "depth.near_m = 0.15 m [0.01 .. 10]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--set", "fusion.max_faces=none"], "max_faces"),
        (["--set", "fusion.max_facez=5"], "max_facez"),
        (["--set", "fusion"], "GROUP.NAME=VALUE"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--seed", "-1"], "seed"),
        (["--model", "magic"], "accepted are carve"),
        (["--up", "nan", "0", "0"], "finite"),
        (["--max-objects", "0"], "max_objects"),
        (["--deadline-s", "-1"], "deadline_s"),
        (["--box-frame", "base_link"], "give --box too"),
        (["--topics", "colour=/a"], "ROLE=TOPIC"),
        (["--topics", "depth=/a"], "names no colour topic"),
        (["--box", "0", "0", "0", "1", "1", "-1"], "positive numbers in metres"),
        (["--box", "0", "0", "0", "1", "1", "1", "--label", "3"], "not both"),
        (["--box", "0", "0", "0", "1", "1", "1", "--box-quat-xyzw", "0", "0", "0", "0"], "quaternion"),
    ],
)
def test_bad_arguments_are_explained_before_anything_is_read(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["replay", "no_such_bag", "--out", "no_such_folder", "--json", *arguments]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert word in error["message"] and word in captured.err


def test_config_of_a_node_is_checked_whole_and_its_session_part_taken(tmp_path):
    parser = ArgumentParser()
    add_config_arguments(parser, "")
    path = tmp_path / "c.yaml"
    path.write_text("/**: {ros__parameters: {use_sim_time: true, continuous: true, seed: 3}}\n")
    assert config_of(parser.parse_args(["--config", str(path)])).seed == 3
    path.write_text("/**: {ros__parameters: {continous: true}}\n")
    with pytest.raises(ConfigError, match="unknown parameter continous"):
        config_of(parser.parse_args(["--config", str(path)]))


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [1\n", "depth: 3\n"])
def test_broken_config_files_are_explained(text: str, tmp_path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "c.yaml").write_text(text)
    assert main(["replay", "no_such_bag", "--out", "o", "--config", str(tmp_path / "c.yaml"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["name"] == "CONFIG_INVALID"


def test_command_list_needs_no_heavy_library():
    heavy = ("cv2", "torch", "open3d", "rclpy", "rosbags", "scipy")
    code = f"import sparse_recon.cli.main, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m sparse_recon.cli.main doctor --json | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stdout == "{" and "Traceback" not in result.stderr
