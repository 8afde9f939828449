"""Any value of any type for any parameter is accepted or refused with a sentence."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

import rclpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.parameter import Parameter

from sparse_recon.config.parameters import parameters
from sparse_recon.errors import ConfigError, ErrorCode
from sparse_recon.ros.node_config import NodeConfig, load_node_config
from sparse_recon.ros.node_parameters import NodeParameters

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
NAMES = [parameter.name for parameter in parameters(NodeConfig)]
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=8) | st.sampled_from(["queue", "carve", "map", "1", "nan", "true"])

scalars = st.none() | st.booleans() | INT64 | st.integers(-3, 200) | st.floats() | TEXTS | st.binary(max_size=4)
values = scalars | st.lists(scalars, max_size=4) | st.dictionaries(TEXTS, scalars, max_size=2) | st.just(10**400)
ros_values = st.one_of(
    st.none(),
    *(
        kind
        for one in (st.booleans(), INT64, st.floats(), TEXTS)
        for kind in (one, st.lists(one, min_size=1, max_size=4))
    ),
    st.lists(st.binary(min_size=1, max_size=1), max_size=4),
)


def refused(values: dict[str, object]) -> str:
    """Return why these values are refused, or an empty string."""
    try:
        load_node_config(values)
    except ConfigError as error:
        assert error.code is ErrorCode.CONFIG_INVALID and error.message
        return error.message
    return ""


WRONG = [5, 2.5, True, None, "front", b"ab", [1, 2], ["a", 1], {"a": 1}, 10**400, -(10**5000)]


@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_every_parameter_takes_or_refuses_a_value_of_every_type(value):
    for name in NAMES:
        if (sentence := refused({name: value})) and "." in name and not isinstance(value, dict):
            assert name in sentence


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_endless(value: float):
    assert [parameter.name for parameter in parameters(NodeConfig) if not refused({parameter.name: value})] == []


@settings(SEEDED, max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES) | TEXTS, values, min_size=1, max_size=3))
def test_any_values_make_a_config_or_a_sentence(given_values):
    refused(given_values)


@pytest.fixture(scope="module")
def node():
    """Declare all parameters on a real node; return it with what they make."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("parameters", context=context, enable_rosout=False)
    yield node, NodeParameters(node, lambda parameter: "", lambda config: None)
    node.destroy_node()
    rclpy.shutdown(context=context)


@settings(SEEDED, max_examples=200)
@given(st.dictionaries(st.sampled_from(NAMES), ros_values, min_size=1, max_size=3))
def test_a_node_answers_whatever_it_is_set_to(node, given_values):
    ros, ours = node
    before = ours.config
    result = ros.set_parameters_atomically([Parameter(name, value=value) for name, value in given_values.items()])
    assert result.successful or result.reason
    assert result.successful or ours.config == before
    with suppress(ConfigError):
        assert load_node_config({}, ours.config) == ours.config


@pytest.mark.parametrize("value", [5, 2.5, True, "front"])
@pytest.mark.parametrize("name", ["camera_names", "up_world"])
def test_a_single_value_is_no_list(node, name: str, value):
    result = node[0].set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert name in result.reason and repr(value) in result.reason


@pytest.mark.parametrize("name", ["camera_names", "depth.far_m"])
def test_no_parameter_can_be_removed(node, name: str):
    result = node[0].set_parameters([Parameter(name, value=None)])[0]
    assert not result.successful and name in result.reason
    assert node[0].has_parameter(name)
