"""Topics on which the node publishes, relative to its name. No ROS is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_recon.bags.writer import NODE, OUTPUT_TOPICS


@dataclass(frozen=True)
class OutputTopic:
    """One topic: message type, what it carries, whether late subscribers get the last message, and whether the bag of
    `sparse_recon replay` has it too."""

    msgtype: str
    text: str
    latched: bool = True
    in_bag: bool = False


_IN_BAG = {
    topic.removeprefix(f"{NODE}/"): OutputTopic(msgtype, text, in_bag=True)
    for topic, (msgtype, text) in OUTPUT_TOPICS.items()
}
NODE_TOPICS: dict[str, OutputTopic] = {
    **_IN_BAG,
    "collision_objects": OutputTopic(
        "moveit_msgs/msg/CollisionObject", "One message an object for a planning scene; only where MoveIt is installed."
    ),
    "footprints": OutputTopic(
        "nav_msgs/msg/OccupancyGrid", "Shadows of the objects for 2D navigation: 100 observed, 70 inferred, 0 none."
    ),
    "novel_views": OutputTopic(
        "sensor_msgs/msg/Image",
        "Objects from sides that face away from the cameras, inferred surface in orange; drawn for subscribers.",
    ),
    "preview": OutputTopic(
        "visualization_msgs/msg/Marker", "The model's answer so far, while a completion runs.", latched=False
    ),
}
