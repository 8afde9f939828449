"""The security policy names what the running node has: all of it, and nothing else."""

from __future__ import annotations

import importlib.util
import time

from policy import POLICY, launched_inputs, read_policy
from rclpy.action import get_action_server_names_and_types_by_node
from rig import MATCH_S

# Parts of an action: the policy names the action alone.
ACTION = "/_action/"


def names(pairs: list[tuple[str, list[str]]]) -> set[str]:
    return {name for name, _ in pairs if ACTION not in name}


def test_policy_is_what_the_node_touches(started):
    remappings = [word for item in launched_inputs().items() for word in ("-r", ":=".join(item))]
    has_tf2 = importlib.util.find_spec("tf2_ros") is not None
    robot = started(transform_source="tf2_ros" if has_tf2 else "tree", arguments=remappings)
    robot.spin_until(lambda: robot.state() == "active", MATCH_S, "activation")
    node, who = robot.node, ("completion_node", "/")

    def graph() -> dict[str, set[str]]:
        """Ask the discovered graph; the names of an action's own topics and services are left out."""
        return {
            "publish": names(node.get_publisher_names_and_types_by_node(*who)),
            "subscribe": names(node.get_subscriber_names_and_types_by_node(*who)),
            "reply": names(node.get_service_names_and_types_by_node(*who)),
            "request": names(node.get_client_names_and_types_by_node(*who)),
            "execute": names(get_action_server_names_and_types_by_node(node, *who)),
        }

    policy = read_policy(POLICY)
    wanted = {word: set(getattr(policy, word)) for word in ("publish", "subscribe", "reply", "request", "execute")}
    if importlib.util.find_spec("moveit_msgs") is None:
        wanted["publish"].remove("/completion_node/collision_objects")
    if not has_tf2:
        wanted["reply"].remove("/tf2_frames")
    until_s = time.monotonic() + MATCH_S
    while (found := graph()) != wanted and time.monotonic() < until_s:
        robot.spin_for(0.1)
    assert found == wanted
