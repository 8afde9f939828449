"""The launch files: read as text wherever the tests run, executed up to their processes where launch is installed."""

from __future__ import annotations

import ast
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from edited_bags import as_cloud, edited

from sparse_recon.cli import play, simulate
from sparse_recon.cli.main import main
from sparse_recon.config.parameters import parameters
from sparse_recon.ros.input_topics import INPUT_TOPICS
from sparse_recon.ros.node_config import NodeConfig
from sparse_recon.ros.output_topics import NODE_TOPICS

ROOT = Path(__file__).parents[1]
FILES = {path.name.removesuffix(".launch.py"): path for path in sorted((ROOT / "launch").glob("*.py"))}
TREES = {name: ast.parse(path.read_text(), str(path), feature_version=(3, 10)) for name, path in FILES.items()}
REQUIRED = {("replay", "bag")}  # all other arguments have a default


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def declared(name: str) -> dict[str, ast.Call]:
    return {ast.literal_eval(call.args[0]): call for call in calls(TREES[name], "DeclareLaunchArgument")}


def constant(name: str, variable: str) -> Any:
    for node in TREES[name].body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{name} has no {variable}")


def texts(tree: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def test_there_are_three():
    assert set(FILES) == {"completion", "replay", "demo"}


@pytest.mark.parametrize("name", FILES)
def test_every_argument_has_a_description_and_a_default(name: str):
    assert declared(name)
    for argument, call in declared(name).items():
        description = ast.unparse(keyword(call, "description") or ast.Constant(""))
        assert len(description) > 15 and ("." in description or "guessed" in description), argument
        assert (keyword(call, "default_value") is None) == ((name, argument) in REQUIRED), argument


@pytest.mark.parametrize("name", FILES)
def test_executables_of_this_package_are_installed(name: str):
    tree = TREES[name]
    assert constant(name, "PACKAGE") == "sparse_recon"
    found = [*calls(tree, "Node"), *calls(tree, "ExecutableInPackage")]
    ours = [c for c in found if getattr(keyword(c, "package"), "id", "") == "PACKAGE"]
    assert ours
    installed = re.search(r"install\(PROGRAMS (.*) DESTINATION lib/", (ROOT / "CMakeLists.txt").read_text())
    assert installed is not None
    for call in ours:
        script = f"scripts/{ast.literal_eval(keyword(call, 'executable'))}"
        assert script in installed[1].split()
        assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_named_exist(name: str):
    for call in calls(TREES[name], "PathJoinSubstitution"):
        parts = [ast.literal_eval(part) for part in call.args[0].elts if isinstance(part, ast.Constant)]  # type: ignore[attr-defined]
        assert ROOT.joinpath(*parts).is_file()
    for text in texts(TREES[name]):
        if text.endswith(".launch.py") and " " not in text:
            assert (ROOT / "launch" / text).is_file()


def test_parameters_that_arguments_set_exist():
    names = {*constant("completion", "TEXTS"), *constant("completion", "SWITCHES"), "camera_names"}
    names |= set(constant("completion", "OPTIONAL_INPUTS").values())
    known = {p.name: p.kind for p in parameters(NodeConfig)} | {"use_sim_time": "bool"}  # the latter of every node
    assert names <= set(known)
    assert {known[name] for name in constant("completion", "TEXTS")} == {"str"}
    assert {known[name] for name in constant("completion", "SWITCHES")} == {"bool"}
    assert names - set(declared("completion")) == {"use_mask", "use_detections", "use_detections_3d"}


def test_remapped_names_are_inputs_and_outputs_of_the_node():
    inputs = {*constant("completion", "INPUTS"), *constant("completion", "OPTIONAL_INPUTS")}
    assert inputs == {topic.name for topic in INPUT_TOPICS.values()}
    for topic in INPUT_TOPICS.values():
        assert topic.name in constant("completion", "INPUTS") or (
            constant("completion", "OPTIONAL_INPUTS")[topic.name] == topic.needs
        )
    assert set(constant("completion", "OUTPUTS")) <= set(NODE_TOPICS)


def test_displays_of_rviz_are_remapped_to_the_node():
    shown = set(re.findall(r"Value: (/\S+)", (ROOT / "config" / "rviz" / "completion.rviz").read_text()))
    remapped = {f"/completion_node/{output}" for output in constant("completion", "OUTPUTS")}
    others = {"/completion_node/footprints_updates", "/clicked_point"}
    assert shown == remapped | {constant("completion", "RVIZ_IMAGE")} | others


def test_commands_have_the_options_that_are_passed():
    for name, module in (("replay", play), ("demo", simulate)):
        parser = ArgumentParser()
        module.add_arguments(parser)
        known = {option for action in parser._actions for option in action.option_strings}
        used = {text for text in texts(TREES[name]) if text.startswith("--")}
        rosbag2 = {"--delay"} if name == "replay" else set()
        assert used - rosbag2 <= known and used


def test_simulated_time_is_asked_for_except_with_recordings():
    assert ast.literal_eval(keyword(declared("completion")["use_sim_time"], "default_value")) == ""
    assert ast.literal_eval(keyword(declared("replay")["use_sim_time"], "default_value")) == "true"
    others = [*calls(TREES["replay"], "SetParameter"), *calls(TREES["replay"], "SetUseSimTime")]
    assert not others, "one way only: the argument, which completion.launch.py hands to node and RViz"


def test_collision_objects_are_the_nodes_own_topic():
    assert "collision_objects" in NODE_TOPICS and "collision_objects" in declared("completion")
    assert "~/collision_objects" in texts(TREES["completion"])


# From here on with the real libraries.


@pytest.fixture(scope="module")
def launch() -> Any:
    reason = "launch and launch_ros are not installed; they come with a ROS installation"
    pytest.importorskip("launch.actions", reason=reason)
    return pytest.importorskip("launch_ros.actions", reason=reason)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("launch") / "bag"
    assert main(["simulate", str(path), "--frames", "1", "--objects", "1", "--compressed"]) == 0
    return path


def processes(file: str, /, **given: str) -> list[Any]:
    """Execute a launch file with these arguments up to its processes, which are returned with their command lines."""
    from launch import LaunchContext
    from launch.actions import ExecuteProcess
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import Node

    context = LaunchContext()
    context.launch_configurations.update(given)
    found = []

    def visit(entity: Any) -> None:
        if not isinstance(entity, ExecuteProcess):
            for inner in entity.visit(context) or []:
                visit(inner)
            return
        if isinstance(entity, Node):
            entity._perform_substitutions(context)  # as Node.execute does before it starts the process
            context.extend_locals({"ros_specific_arguments": {"name": "NAME", "ns": "NAMESPACE"}})
        entity.prepare(context)
        found.append(entity)

    visit(PythonLaunchDescriptionSource(str(FILES[file])).get_launch_description(context))
    return found


def command(process: Any) -> str:
    return " ".join(process.process_description.final_cmd)


def values(node: Any) -> dict[str, Any]:
    """Return the parameters that a node is started with, later ones over earlier ones."""
    cmd = node.process_description.final_cmd
    found: dict[str, Any] = {}
    for path in [cmd[k + 1] for k, word in enumerate(cmd) if word == "--params-file"]:
        for section in yaml.full_load(Path(path).read_text()).values():  # launch_ros writes lists as tuples
            found |= section["ros__parameters"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_arguments_are_those_that_launch_finds(name: str, launch: Any):
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    description = PythonLaunchDescriptionSource(str(FILES[name])).get_launch_description(LaunchContext())
    assert set(declared(name)) <= {argument.name for argument in description.get_launch_arguments()}


def test_node_alone_has_the_file_and_the_default_topics(launch: Any):
    (node,) = processes("completion")
    assert node.node_name == "/completion_node"
    assert dict(node.expanded_remapping_rules)["image"] == "/camera/camera/color/image_raw"
    assert values(node) == yaml.safe_load((ROOT / "config" / "tabletop.yaml").read_text())["/**"]["ros__parameters"]
    assert "use_sim_time" not in command(node)


def test_arguments_win_over_the_file(launch: Any):
    config = str(ROOT / "config" / "mobile_base.yaml")
    (node,) = processes("completion", config=config, world_frame="map", continuous="false", mask="/masks")
    found = values(node)
    assert (found["world_frame"], found["continuous"], found["use_mask"]) == ("map", False, True)
    assert found["footprints"]["resolution_m"] == 0.05
    assert dict(node.expanded_remapping_rules)["mask"] == "/masks"


def test_namespace_reaches_node_transforms_and_log_level(launch: Any):
    (node,) = processes("completion", namespace="left", namespaced_tf="true", log_level="debug", name="completer")
    assert "--enclave" not in command(node)
    assert node.node_name == "/left/completer"
    assert dict(node.expanded_remapping_rules)["/tf"] == "tf"
    assert "left.completer:=debug" in command(node)


def test_simulated_time_is_a_parameter_of_the_node(launch: Any):
    (node,) = processes("completion", use_sim_time="true")
    assert values(node)["use_sim_time"] is True
    with pytest.raises(ValueError, match="use_sim_time is true or false"):
        processes("completion", use_sim_time="yes")


def test_collision_objects_go_where_moveit_listens(launch: Any):
    (node,) = processes("completion", collision_objects="/collision_object")
    assert "-r ~/collision_objects:=/collision_object" in command(node)


def test_rviz_has_the_time_of_the_node(launch: Any, monkeypatch: pytest.MonkeyPatch):
    packages = pytest.importorskip("ament_index_python.packages")
    prefix = packages.get_package_prefix
    monkeypatch.setattr(
        packages, "get_package_prefix", lambda name: prefix("sparse_recon" if name == "rviz2" else name)
    )
    monkeypatch.setattr("launch_ros.actions.node.ExecutableInPackage.perform", lambda self, context: "a_program")
    _, rviz = processes("completion", use_sim_time="true", rviz="true", world_frame="map")
    assert values(rviz) == {"use_sim_time": True} and "-f map" in command(rviz)


def test_enclave_is_handed_on(launch: Any):
    (node,) = processes("completion", enclave="/completion_node")
    assert "--enclave /completion_node" in command(node)


def test_several_cameras(launch: Any):
    topics = {name: f"/{{camera}}/{name}" for name in ("image", "depth", "camera_info")}
    (node,) = processes("completion", camera_names="left, right", **topics)
    rules = dict(node.expanded_remapping_rules)
    assert rules["left/image"] == "/left/image" and rules["right/camera_info"] == "/right/camera_info"
    assert len(rules) == 6 and list(values(node)["camera_names"]) == ["left", "right"]
    with pytest.raises(ValueError, match="would be the same for all of left, right"):
        processes("completion", camera_names="left,right")


def test_replay_reads_the_topics_of_the_recording(launch: Any, bag: Path):
    node, player = processes("replay", bag=str(bag), rviz="false", loop="3", rate="0.5")
    rules = dict(node.expanded_remapping_rules)
    assert rules["depth"] == "/camera/aligned_depth_to_color/image_raw"
    assert rules["camera_info"] == "/camera/color/camera_info"
    found = values(node)
    transports = (found["image_transport"], found["depth_transport"])
    assert transports == ("compressed", "compressedDepth") and found["continuous"] is True
    assert found["use_sim_time"] is True
    assert re.search(rf"play {bag} --loop 3 --rate 0.5 .*--clock$", command(player))


def test_replay_tells_the_node_of_a_cloud(launch: Any, tmp_path: Path):
    assert main(["simulate", str(tmp_path / "images"), "--frames", "1", "--objects", "1"]) == 0
    bag = edited(tmp_path / "images", tmp_path / "clouds", as_cloud)
    node, _ = processes("replay", bag=str(bag), rviz="false")
    assert dict(node.expanded_remapping_rules)["depth"] == "/camera/points/xyz"
    assert values(node)["depth_transport"] == "cloud"


def test_replay_by_the_wall_clock(launch: Any, bag: Path):
    node, player = processes("replay", bag=str(bag), rviz="false", use_sim_time="false")
    assert values(node)["use_sim_time"] is False
    assert "--clock" not in command(player)


def test_replay_with_rosbag2(launch: Any, bag: Path):
    _, player = processes("replay", bag=str(bag), rviz="false", loop="0", player="rosbag2", wait_s="3")
    assert command(player) == f"ros2 bag play {bag} --rate 1.0 --delay 3 --clock 100 --loop"
    with pytest.raises(RuntimeError, match="plays once"):
        processes("replay", bag=str(bag), rviz="false", loop="3", player="rosbag2")


def test_replay_says_what_a_recording_lacks(launch: Any, tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"nothing.*image:="):
        processes("replay", bag=str(tmp_path / "nothing"), rviz="false")


def test_demo_simulates_once_and_then_plays_for_ever(launch: Any, bag: Path, tmp_path: Path):
    (simulation,) = processes("demo", bag=str(tmp_path / "bag"), rviz="false")
    assert f"simulate {tmp_path / 'bag'} --seed 7 --frames 30" in command(simulation)
    node, player = processes("demo", bag=str(bag), rviz="false")
    assert values(node)["world_frame"] == "world"
    assert "--loop 0" in command(player) and "--pause-between 30.0" in command(player)
