"""The files of config/: parameters that the node accepts, displays that show what it publishes, the security policy."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy import POLICY, launched_inputs, read_policy

from sparse_recon.cli.arguments import add_config_arguments, config_of
from sparse_recon.config.parameter_file import parse_yaml, read_parameter_file
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.ros.node_config import NodeConfig, load_node_config
from sparse_recon.ros.output_topics import NODE_TOPICS

ROOT = Path(__file__).parents[1]
YAMLS = sorted((ROOT / "config").glob("*.yaml"))
RVIZ = sorted((ROOT / "config" / "rviz").glob("*.rviz"))
CAMERA = "/camera/color/image_raw"
# Classes of RViz that show a topic, with the message type of each; the others need none.
DISPLAYS = {
    "PointCloud2": "sensor_msgs/msg/PointCloud2",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "Marker": "visualization_msgs/msg/Marker",
    "Map": "nav_msgs/msg/OccupancyGrid",
    "Image": "sensor_msgs/msg/Image",
}
WITHOUT_TOPIC = {"Grid", "TF"}


def by_name(path: Path) -> str:
    return path.name


def test_there_is_a_file_for_each_use():
    assert [path.stem for path in YAMLS] == ["mobile_base", "shelf", "tabletop"]
    assert RVIZ and POLICY.is_file()


@pytest.mark.parametrize("path", YAMLS, ids=by_name)
def test_parameters_are_those_of_the_node(path: Path):
    config = load_node_config(read_parameter_file(path))
    assert config != NodeConfig()


@pytest.mark.parametrize("path", YAMLS, ids=by_name)
def test_parameter_file_is_one_that_ros_reads_for_a_node_of_any_name(path: Path):
    document = yaml.safe_load(path.read_text())
    assert list(document) == ["/**"] and list(document["/**"]) == ["ros__parameters"]
    assert document == parse_yaml(path.read_text()), "a number that YAML 1.1 of ROS takes for text"


@pytest.mark.parametrize("path", YAMLS, ids=by_name)
def test_no_value_repeats_its_default(path: Path):
    stated = {"model", "up_world"}  # worth saying although they are the default

    def repeated(values: dict[str, Any], default: Any) -> list[str]:
        found = []
        for name, value in values.items():
            of_default = getattr(default, name)
            if isinstance(value, dict):
                found += repeated(value, of_default)
            elif value == of_default and name not in stated:
                found.append(name)
        return found

    assert repeated(read_parameter_file(path), NodeConfig()) == []


@pytest.mark.parametrize("path", YAMLS, ids=by_name)
def test_same_file_serves_node_and_replay(path: Path):
    parser = ArgumentParser()
    add_config_arguments(parser, "")
    config = config_of(parser.parse_args(["--config", str(path)]))
    assert type(config) is SessionConfig
    assert config == load_node_config(read_parameter_file(path)).session


def displays(path: Path) -> list[dict[str, Any]]:
    found = yaml.safe_load(path.read_text())["Visualization Manager"]["Displays"]
    assert found
    return list(found)


@pytest.mark.parametrize("path", RVIZ, ids=by_name)
def test_fixed_frame_is_set(path: Path):
    frame = yaml.safe_load(path.read_text())["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame and not frame.startswith("/")


@pytest.mark.parametrize("path", RVIZ, ids=by_name)
def test_every_display_shows_a_topic_of_the_node_or_the_camera(path: Path):
    shown = set()
    for display in displays(path):
        package, name = display["Class"].split("/")
        assert package == "rviz_default_plugins" and display["Name"]
        if name in WITHOUT_TOPIC:
            continue
        topic = display["Topic"]["Value"]
        if topic != CAMERA:
            output = topic.removeprefix("/completion_node/")
            assert NODE_TOPICS[output].msgtype == DISPLAYS[name], topic
            shown.add(output)
    assert shown == {"cloud", "observed_cloud", "markers", "preview", "footprints", "novel_views"}


@pytest.mark.parametrize("path", RVIZ, ids=by_name)
def test_quality_of_service_matches_the_publishers(path: Path):
    for display in displays(path):
        if "Topic" not in display:
            continue
        topic, qos = display["Topic"]["Value"], display["Topic"]
        camera = topic == CAMERA
        latched = not camera and NODE_TOPICS[topic.removeprefix("/completion_node/")].latched
        assert qos["Reliability Policy"] == ("Best Effort" if camera else "Reliable"), topic
        assert qos["Durability Policy"] == ("Transient Local" if latched else "Volatile"), topic
        assert qos["History Policy"] == "Keep Last" and qos["Depth"] >= 1, topic


@pytest.mark.parametrize("path", RVIZ, ids=by_name)
def test_cloud_is_shown_in_its_colours_by_confidence_and_by_provenance(path: Path):
    clouds = [d for d in displays(path) if d.get("Topic", {}).get("Value") == "/completion_node/cloud"]
    looks = {d.get("Channel Name", d["Color Transformer"]): d for d in clouds}
    assert set(looks) == {"RGB8", "confidence", "provenance"}
    ranges = {name: (d["Min Intensity"], d["Max Intensity"]) for name, d in looks.items() if name != "RGB8"}
    assert ranges == {"confidence": (0, 1), "provenance": (1, 2)}
    assert not any(d["Autocompute Intensity Bounds"] for name, d in looks.items() if name != "RGB8")


def test_policy_allows_the_outputs_and_the_names_of_the_interface():
    policy = read_policy(POLICY)
    assert (policy.namespace, policy.node) == ("/", "completion_node")
    assert {f"/completion_node/{name}" for name in NODE_TOPICS} < policy.publish
    assert policy.execute == {"/completion_node/complete"}
    own = {f"/completion_node/{name}" for name in ("get_objects", "reset", "save_objects", "set_region")}
    assert own < policy.reply


def test_policy_allows_the_inputs_of_the_launch_file_and_nothing_else():
    assert read_policy(POLICY).subscribe == {*launched_inputs().values(), "/tf", "/tf_static"}


def test_policy_lets_the_node_ask_nobody():
    policy = read_policy(POLICY)
    assert policy.request == policy.call == frozenset()
    names = policy.publish | policy.subscribe | policy.reply | policy.execute
    assert not [name for name in names if "*" in name or "?" in name]
