"""See it work without a robot: simulate a recording of a tabletop, play it for ever, complete what stands on the table.

ros2 launch sparse_recon demo.launch.py
"""

from __future__ import annotations

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
)
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.substitutions import ExecutableInPackage

PACKAGE = "sparse_recon"


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the simulation where it is needed; replay.launch.py follows with its own arguments."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=simulate_if_missing)])


def arguments() -> list[DeclareLaunchArgument]:
    """Return every argument that is new here or has another default than in replay.launch.py."""
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return [
        DeclareLaunchArgument(
            "bag",
            default_value=str(home / PACKAGE / "tabletop_bag"),
            description="Recording to play; simulated where there is none.",
        ),
        DeclareLaunchArgument("seed", default_value="7", description="Seed of the simulated scene and camera."),
        DeclareLaunchArgument("frames", default_value="30", description="RGB-D frames to simulate, two a second."),
        DeclareLaunchArgument("loop", default_value="0", description="How often it is played; 0: for ever."),
        DeclareLaunchArgument(
            "pause_s",
            default_value="30.0",
            description="Seconds between two passes: the next one clears the objects, and slow machines need them.",
        ),
        DeclareLaunchArgument(
            "world_frame", default_value="world", description="Frame in which objects are completed."
        ),
    ]


def simulate_if_missing(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return what writes the recording and then plays it, or only the latter where the recording is there."""
    given = context.launch_configurations
    bag = Path(given["bag"]).expanduser()
    replay = str(Path(__file__).with_name("replay.launch.py"))
    playing = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(replay), launch_arguments={"bag": str(bag)}.items()
    )
    if bag.exists():
        return [LogInfo(msg=f"playing {bag}; remove it to have it simulated again"), playing]

    def simulated(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if event.returncode:
            return [EmitEvent(event=Shutdown(reason=f"the simulation ended with {event.returncode}"))]
        return [playing]

    bag.parent.mkdir(parents=True, exist_ok=True)
    program = ExecutableInPackage(executable="sparse_recon", package=PACKAGE)
    command = [program, "simulate", str(bag), "--seed", given["seed"], "--frames", given["frames"]]
    return [
        LogInfo(msg=f"simulating a recording of {given['frames']} frames: {bag}"),
        ExecuteProcess(cmd=command, name="simulation", output="screen", on_exit=simulated),
    ]
