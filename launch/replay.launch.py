"""Play a recording to `completion_node` in simulated time, with RViz looking on.

ros2 launch sparse_recon replay.launch.py bag:=my_bag
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.substitutions import ExecutableInPackage

PACKAGE = "sparse_recon"
PLAYERS = ("sparse_recon", "rosbag2")
# Arguments of completion.launch.py that are read from the recording where they are empty.
TOPICS = ("image", "depth", "camera_info", "depth_camera_info", "mask")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the node in simulated time, and the player. Those of completion.launch.py hold too."""
    completion = str(Path(__file__).with_name("completion.launch.py"))
    return LaunchDescription(
        [
            *arguments(),
            OpaqueFunction(function=read_topics),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(completion)),
            OpaqueFunction(function=play),
        ]
    )


def arguments() -> list[DeclareLaunchArgument]:
    """Return every argument that is new here or has another default than in completion.launch.py."""
    guessed = "Empty: found in the recording, as `sparse_recon replay` does."
    return [
        DeclareLaunchArgument("bag", description="Recording: a bag folder, or one .mcap or .db3 file."),
        DeclareLaunchArgument("loop", default_value="1", description="How often it is played; 0: for ever."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of playing, as a factor."),
        DeclareLaunchArgument(
            "pause_s", default_value="0.0", description="Seconds between two passes (player sparse_recon only)."
        ),
        DeclareLaunchArgument(
            "wait_s",
            default_value="20.0",
            description="Playing begins at the latest after so many seconds: player sparse_recon begins as soon as all "
            "image topics have a subscriber, rosbag2 always waits so long, before each pass.",
        ),
        DeclareLaunchArgument(
            "player",
            default_value="sparse_recon",
            choices=list(PLAYERS),
            description="Who plays: `sparse_recon play`, or `ros2 bag play` (package ros2bag).",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="true",
            description="true: the player publishes /clock and all nodes follow it; false: they use the wall clock.",
        ),
        DeclareLaunchArgument(
            "stop_at_end",
            default_value="false",
            description="true: everything ends with the recording; false: the last results stay published.",
        ),
        DeclareLaunchArgument("image", default_value="", description=f"Topic of the colour images. {guessed}"),
        DeclareLaunchArgument("depth", default_value="", description=f"Topic of the depth images. {guessed}"),
        DeclareLaunchArgument("camera_info", default_value="", description=f"Topic of the camera info. {guessed}"),
        DeclareLaunchArgument(
            "continuous",
            default_value="true",
            description="true: complete again whenever new views add enough; false: only goals.",
        ),
        DeclareLaunchArgument("rviz", default_value="true", description="true: also start RViz (package rviz2)."),
    ]


def read_topics(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return settings of the topics that no argument names: those of the only camera in the recording."""
    given = context.launch_configurations
    if all(given[name] for name in ("image", "depth", "camera_info")) or given.get("camera_names"):
        return []
    from sparse_recon.bags.reader import Bag
    from sparse_recon.bags.topics import CLOUD, guess_cameras
    from sparse_recon.errors import SparseReconError

    try:
        with Bag(Path(given["bag"])) as bag:
            cameras, types = guess_cameras(bag.types, bag.counts), bag.types
    except SparseReconError as error:
        raise RuntimeError(f"{error.message}; or name them: image:=... depth:=... camera_info:=...") from None
    if len(cameras) > 1:
        raise RuntimeError(
            f"the recording has the cameras {', '.join(camera.name for camera in cameras)}; name one with image:=... "
            "depth:=... camera_info:=..., or several with camera_names:=... and {camera} in the topics"
        )
    found = cameras[0]
    color, image_transport = without_transport(found.color, "compressed")
    depth, depth_transport = without_transport(found.depth, "compressedDepth")
    depth_transport = "cloud" if types[found.depth] == CLOUD else depth_transport
    values = dict(zip(TOPICS, (color, depth, found.info, found.depth_info, found.labels), strict=True))
    values |= {"image_transport": image_transport, "depth_transport": depth_transport}
    chosen = {name: value for name, value in values.items() if value and not given.get(name)}
    text = ", ".join(f"{name}:={value}" for name, value in chosen.items())
    return [LogInfo(msg=f"found in the recording: {text}"), *(SetLaunchConfiguration(*item) for item in chosen.items())]


def without_transport(topic: str, transport: str) -> tuple[str, str]:
    """Return an image topic without the suffix of its transport, and that transport or raw."""
    base = topic.removesuffix(f"/{transport}")
    return base, "raw" if base == topic else transport


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the process that plays the recording."""
    given = context.launch_configurations
    command = rosbag2_command(given) if given["player"] == "rosbag2" else own_command(given)
    return [ExecuteProcess(cmd=command, name="player", output="screen", on_exit=ended)]


def own_command(given: dict[str, str]) -> list[object]:
    """Return the command line of `sparse_recon play`."""
    clock = ["--clock"] if given["use_sim_time"].lower() == "true" else []
    options = {
        "--loop": given["loop"],
        "--rate": given["rate"],
        "--pause-between": given["pause_s"],
        "--wait-for-subscribers": given["wait_s"],
    }
    program = ExecutableInPackage(executable="sparse_recon", package=PACKAGE)
    return [program, "play", given["bag"], *(word for item in options.items() for word in item), *clock]


def rosbag2_command(given: dict[str, str]) -> list[object]:
    """Return the command line of `ros2 bag play`, which plays once or for ever."""
    if given["loop"] not in ("0", "1"):
        raise RuntimeError(f"player:=rosbag2 plays once (loop:=1) or for ever (loop:=0), got loop:={given['loop']}")
    clock = ["--clock", "100"] if given["use_sim_time"].lower() == "true" else []
    loop = ["--loop"] if given["loop"] == "0" else []
    return ["ros2", "bag", "play", given["bag"], "--rate", given["rate"], "--delay", given["wait_s"], *clock, *loop]


def ended(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return what follows when the player ends: nothing, or the end of all."""
    if event.returncode and not context.is_shutdown:
        return [EmitEvent(event=Shutdown(reason=f"the player ended with {event.returncode}"))]
    if context.launch_configurations["stop_at_end"].lower() == "true":
        return [EmitEvent(event=Shutdown(reason="the recording has ended"))]
    return []
