"""Parameter files in both forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparse_recon.config.parameter_file import read_parameter_file
from sparse_recon.errors import ConfigError, ErrorCode, FileError

BOTH = {"seed": 3, "depth": {"near_m": 0.3}}


def written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "seed: 3\ndepth: {near_m: 0.3}\n",
        "/**: {ros__parameters: {seed: 3, depth.near_m: 0.3}}\n",
        "completion_node: {ros__parameters: {seed: 3, depth: {near_m: 0.3}}}\n",
        "/robot/completion_node: {ros__parameters: {seed: 3, depth: {near_m: 0.3}}}\n",
        "robot: {completion_node: {ros__parameters: {seed: 3, depth: {near_m: 0.3}}}}\n",
        "/robot/*: {ros__parameters: {seed: 3, depth: {near_m: 0.3}}}\n",
    ],
)
def test_names_and_values_alone_and_as_ros_reads_them(text: str, tmp_path: Path):
    assert read_parameter_file(written(tmp_path, text)) == BOTH


def test_parameters_of_other_nodes_and_those_of_every_node_are_left_out(tmp_path: Path):
    text = """
/**: {ros__parameters: {use_sim_time: true, seed: 3, qos_overrides: {/tf: {subscription: {depth: 5}}}}}
camera: {ros__parameters: {fps: 30}}
completion_node: {ros__parameters: {depth: {near_m: 0.3}}}
"""
    assert read_parameter_file(written(tmp_path, text)) == BOTH


def test_later_sections_win_value_by_value(tmp_path: Path):
    text = """
/**: {ros__parameters: {depth: {near_m: 0.1, far_m: 2.0}}}
completion_node: {ros__parameters: {depth.near_m: 0.3}}
"""
    assert read_parameter_file(written(tmp_path, text)) == {"depth": {"near_m": 0.3, "far_m": 2.0}}


@pytest.mark.parametrize("text", ["", "/**: {ros__parameters: }\n", "/**: {ros__parameters: {}}\n"])
def test_no_parameters_are_no_error(text: str, tmp_path: Path):
    assert read_parameter_file(written(tmp_path, text)) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camera: {ros__parameters: {fps: 30}}\n", "holds parameters of camera; .* under /\\*\\* or completion_node"),
        ("/**: {ros__parameters: [1, 2]}\n", "names and values under ros__parameters"),
        ("- 1\n", "names and values"),
        ("a: [1\n", "is not YAML"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, words: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=words) as error:
        read_parameter_file(written(tmp_path, text))
    assert error.value.code == ErrorCode.CONFIG_INVALID


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"nothing\.yaml") as error:
        read_parameter_file(tmp_path / "nothing.yaml")
    assert error.value.code == ErrorCode.INPUT_MISSING
