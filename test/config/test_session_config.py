"""Parameters are checked, never repaired."""

from __future__ import annotations

import re

import pytest

from sparse_recon.config.input_config import DepthConfig
from sparse_recon.config.parameters import parameters
from sparse_recon.config.session_config import SessionConfig, load_config
from sparse_recon.errors import ConfigError, ErrorCode
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.simulate.sensor import SensorModel
from sparse_recon.lab.simulate.time_of_flight import TimeOfFlightFaults
from sparse_recon.lab.simulate.triangulation import TriangulationFaults
from sparse_recon.lab.training.config import TrainingConfig
from sparse_recon.ros.node_config import NodeConfig


def test_dotted_and_nested_names_mean_the_same():
    assert load_config({"depth.near_m": 0.3}) == load_config({"depth": {"near_m": 0.3}})


def test_named_values_change_and_others_stay():
    config = load_config({"depth.far_m": 2, "seed": 5})
    assert (config.depth.far_m, config.seed, config.depth.near_m) == (2.0, 5, DepthConfig().near_m)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"depth.near_m": 50.0}, r"depth\.near_m is 50.0 m, accepted is 0.01 to 10 m"),
        ({"depth.near_m": float("nan")}, r"near_m is nan"),
        ({"depth.near": 0.2}, r"unknown parameter depth\.near; depth accepts .*near_m"),
        ({"depht.near_m": 0.2}, r"unknown parameter depht"),
        ({"seed": 1.5}, r"seed must be of type int"),
        ({"seed": True}, r"seed must be of type int"),
        ({"fusion.convex_parts": 1}, r"convex_parts must be of type bool"),
        ({"up_world": [0, 1]}, r"up_world must be three finite numbers"),
        ({"up_world": [0, 0, float("nan")]}, r"up_world must be three finite numbers"),
        ({"depth": 3}, r"depth is a group"),
        ({"assembly.history_s": 2.0}, r"tf_timeout_s \(5 s\) must not be larger than assembly.history_s \(2 s\)"),
        ({"depth.near_m": 2.0, "depth.far_m": 1.0}, r"near_m \(2 m\) must be smaller than depth.far_m \(1 m\)"),
    ],
)
def test_bad_value_is_refused_with_name_and_range(values, words):
    with pytest.raises(ConfigError, match=words) as error:
        load_config(values)
    assert error.value.code == ErrorCode.CONFIG_INVALID


@pytest.mark.parametrize(
    "config", [NodeConfig, TrainingConfig, Protocol, SensorModel, TriangulationFaults, TimeOfFlightFaults]
)
def test_every_text_of_a_parameter_stands_alone(config):
    for parameter in parameters(config):
        text = parameter.text
        assert re.fullmatch(r"[A-Z0-9].{14,}\.", text), parameter.name
        assert "..." not in text, parameter.name
        assert not re.match(r"(Of|The same|And|Or|Its|See|Such) ", text), parameter.name
        assert not re.search(r"\b(latter|former|such an?|likewise|ditto)\b", text), parameter.name


def test_numbers_have_ranges():
    for parameter in parameters(SessionConfig):
        if parameter.kind in ("int", "float"):
            assert parameter.low is not None and parameter.low <= parameter.default <= parameter.high, parameter.name


def test_units_are_in_the_names_of_lengths_angles_and_sizes():
    suffix = {"m": "_m", "deg": "_deg", "s": "_s", "bytes": "_bytes"}
    for parameter in parameters(SessionConfig):
        if parameter.unit in suffix:
            assert parameter.name.endswith(suffix[parameter.unit]), parameter.name
