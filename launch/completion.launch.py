"""Start `completion_node` beside a robot's camera and transforms.

ros2 launch sparse_recon completion.launch.py image:=/camera/color/image_raw depth:=/camera/depth/image_raw ...
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PACKAGE = "sparse_recon"

# Arguments that are remapped inputs of the node; those of the second table also switch the named parameter on.
INPUTS = ("image", "depth", "camera_info")
OPTIONAL_INPUTS = {
    "depth_camera_info": "depth_camera_info",
    "mask": "use_mask",
    "detections": "use_detections",
    "detections_3d": "use_detections_3d",
}
# Arguments that are parameters of the same name: text, or true and false.
TEXTS = ("world_frame", "model", "image_transport", "depth_transport")
SWITCHES = ("autostart", "continuous", "use_sim_time")
OUTPUTS = ("cloud", "observed_cloud", "markers", "footprints", "novel_views", "preview")
RVIZ_IMAGE = "/camera/color/image_raw"  # what the display of the camera image subscribes to before remapping


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node; RViz beside it where it is asked for."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])


def arguments() -> list[DeclareLaunchArgument]:
    """Return every argument with its default; an empty one leaves the matter to the configuration file."""
    share = FindPackageShare(PACKAGE)
    return [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its outputs."),
        DeclareLaunchArgument("name", default_value="completion_node", description="Name of the node."),
        DeclareLaunchArgument(
            "config",
            default_value=PathJoinSubstitution([share, "config", "tabletop.yaml"]),
            description="YAML file of parameters; tabletop, shelf and mobile_base come with the package.",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="/camera/camera/color/image_raw",
            description="Topic of the colour images (the default is that of realsense2_camera), without the suffix "
            "of a transport. With camera_names, {camera} in a topic stands for the name of each camera.",
        ),
        DeclareLaunchArgument(
            "depth",
            default_value="/camera/camera/aligned_depth_to_color/image_raw",
            description="Topic of the depth images, registered to colour, without the suffix of a transport; of an "
            "organised point cloud with depth_transport:=cloud.",
        ),
        DeclareLaunchArgument(
            "camera_info",
            default_value="/camera/camera/color/camera_info",
            description="Topic of the camera info of the colour images.",
        ),
        DeclareLaunchArgument(
            "depth_camera_info",
            default_value="",
            description="Topic of a camera info of depth alone; sets parameter depth_camera_info.",
        ),
        DeclareLaunchArgument(
            "mask",
            default_value="",
            description="Topic of label images whose values name the objects; sets parameter use_mask.",
        ),
        DeclareLaunchArgument(
            "detections",
            default_value="",
            description="Topic of vision_msgs/Detection2DArray; sets parameter use_detections.",
        ),
        DeclareLaunchArgument(
            "detections_3d",
            default_value="",
            description="Topic of vision_msgs/Detection3DArray; sets parameter use_detections_3d.",
        ),
        DeclareLaunchArgument(
            "camera_names",
            default_value="",
            description="Names of several cameras, separated by commas; name them here and not in the file, so that "
            "their topics are remapped. Empty: one camera.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            description="raw, or compressed: colour is read from <image>/compressed. Empty: as in the file.",
        ),
        DeclareLaunchArgument(
            "depth_transport",
            default_value="",
            description="raw; compressedDepth: depth is read from <depth>/compressedDepth; cloud: from an organised "
            "point cloud on <depth>. Empty: as in the file.",
        ),
        DeclareLaunchArgument(
            "world_frame",
            default_value="",
            description="Frame in which objects are completed. Empty: as in the file.",
        ),
        DeclareLaunchArgument("model", default_value="", description="Name of the completer. Empty: as in the file."),
        DeclareLaunchArgument(
            "continuous",
            default_value="",
            description="true: complete again whenever new views add enough; false: only goals. Empty: as in the file.",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="",
            description="true: the node configures and activates itself; false: lifecycle calls do. Empty: as in the "
            "file, where true is the default.",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            description="true: node and RViz take the time from /clock, for recordings and simulators. Empty: as in "
            "the file, where false is the default.",
        ),
        DeclareLaunchArgument(
            "collision_objects",
            default_value="",
            description="Topic of moveit_msgs/CollisionObject; MoveIt listens on /collision_object. Empty: "
            "collision_objects below the node's name.",
        ),
        DeclareLaunchArgument(
            "namespaced_tf",
            default_value="false",
            description="true: transforms are on tf and tf_static in the namespace, as where several robots share a "
            "network; false: on /tf and /tf_static.",
        ),
        DeclareLaunchArgument(
            "enclave",
            default_value="",
            description="Enclave of the node in the keystore, such as /completion_node, where security is on "
            "(docs/security.md). Empty: none.",
        ),
        DeclareLaunchArgument(
            "log_level", default_value="info", description="Log level of the node: debug, info, warn, error or fatal."
        ),
        DeclareLaunchArgument(
            "respawn", default_value="false", description="true: start the node again when its process ends."
        ),
        DeclareLaunchArgument(
            "respawn_delay_s", default_value="2.0", description="Seconds before it is started again."
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="true: also start RViz (package rviz2)."),
        DeclareLaunchArgument(
            "rviz_config",
            default_value=PathJoinSubstitution([share, "config", "rviz", "completion.rviz"]),
            description="Displays of RViz.",
        ),
        DeclareLaunchArgument(
            "fixed_frame",
            default_value="",
            description="Fixed frame of RViz. Empty: world_frame or, where that is empty too, as in rviz_config.",
        ),
    ]


def start(context: LaunchContext) -> list[Node | LogInfo]:
    """Return the processes that the values of the arguments ask for."""
    values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments()}
    values["namespace"] = absolute(values["namespace"], context.launch_configurations.get("ros_namespace", ""))
    transforms = [("/tf", "tf"), ("/tf_static", "tf_static")] if truth("namespaced_tf", values) else []
    logger = f"{values['namespace']}/{values['name']}".strip("/").replace("/", ".")
    enclave = ["--enclave", values["enclave"]] if values["enclave"] else []
    node = Node(
        package=PACKAGE,
        executable="completion_node",
        name=values["name"],
        namespace=values["namespace"],
        parameters=[values["config"], parameters(values)],
        remappings=[*inputs(values), *collision_objects(values), *transforms],
        ros_arguments=["--log-level", f"{logger}:={values['log_level']}", *enclave],
        output="screen",
        respawn=truth("respawn", values),
        respawn_delay=float(values["respawn_delay_s"]),
    )
    return [node, *(rviz(values, transforms) if truth("rviz", values) else [])]


def parameters(values: dict[str, str]) -> dict[str, object]:
    """Return the parameters that arguments set above those of the file."""
    chosen: dict[str, object] = {name: values[name] for name in TEXTS if values[name]}
    chosen |= {name: truth(name, values) for name in SWITCHES if values[name]}
    chosen |= {parameter: True for name, parameter in OPTIONAL_INPUTS.items() if values[name]}
    if cameras(values):
        chosen["camera_names"] = cameras(values)
    return chosen


def inputs(values: dict[str, str]) -> list[tuple[str, str]]:
    """Return what each input of the node, or of each camera, is remapped to."""
    topics = {name: values[name] for name in (*INPUTS, *OPTIONAL_INPUTS) if values[name]}
    if not cameras(values):
        return list(topics.items())
    for name, topic in topics.items():
        if "{camera}" not in topic and len(cameras(values)) > 1:
            raise ValueError(
                f"{name}:={topic} would be the same for all of {', '.join(cameras(values))}; "
                f"write {{camera}} where the camera's name stands, such as {name}:=/{{camera}}/{name}"
            )
    return [
        (f"{camera}/{name}", topic.replace("{camera}", camera))
        for camera in cameras(values)
        for name, topic in topics.items()
    ]


def collision_objects(values: dict[str, str]) -> list[tuple[str, str]]:
    """Return what the collision objects are remapped to, if anything."""
    return [("~/collision_objects", values["collision_objects"])] if values["collision_objects"] else []


def rviz(values: dict[str, str], transforms: list[tuple[str, str]]) -> list[Node | LogInfo]:
    """Return RViz looking at this node, whatever its name and namespace; a sentence where RViz is not installed."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz:=true was asked for but package rviz2 is not installed (apt: ros-$ROS_DISTRO-rviz2)")]
    frame = values["fixed_frame"] or values["world_frame"]
    time = [{"use_sim_time": truth("use_sim_time", values)}] if values["use_sim_time"] else []
    prefix = f"{values['namespace'].rstrip('/')}/{values['name']}"
    image = values["image"].replace("{camera}", cameras(values)[0]) if cameras(values) else values["image"]
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name=f"{values['name']}_rviz",
            namespace=values["namespace"],
            arguments=["-d", values["rviz_config"], *(["-f", frame] if frame else [])],
            parameters=time,
            remappings=[
                *((f"/completion_node/{output}", f"{prefix}/{output}") for output in OUTPUTS),
                (RVIZ_IMAGE, image),
                *transforms,
            ],
        )
    ]


def cameras(values: dict[str, str]) -> list[str]:
    """Return the names of the cameras; none where there is one without a name."""
    return [name.strip() for name in values["camera_names"].split(",") if name.strip()]


def absolute(namespace: str, pushed: str) -> str:
    """Return a namespace below the one that an including launch file pushed."""
    parts = namespace.split("/") if namespace.startswith("/") else [*pushed.split("/"), *namespace.split("/")]
    return "/" + "/".join(filter(None, parts))


def truth(name: str, values: dict[str, str]) -> bool:
    """Return whether an argument is true."""
    if values[name].lower() not in ("true", "false"):
        raise ValueError(f"{name} is true or false, got {values[name]!r}")
    return values[name].lower() == "true"
