"""Parameters of the node: those of a session, and those that only a node has. No ROS is needed to read this."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sparse_recon.config.parameters import Checked, doc, nested, replaced
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ConfigError, clipped, quoted
from sparse_recon.messages.footprints import FootprintConfig

_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAMESPACE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


@dataclass(frozen=True)
class DetectionsConfig(Checked):
    """How long a detector is believed."""

    timeout_s: float = field(
        default=1.0,
        metadata=doc(
            "Time for which a box of detections_3d is kept after the detector last reported it. 0 drops a box as soon "
            "as a message without it arrives.",
            unit="s",
            low=0.0,
            high=3600.0,
        ),
    )


@dataclass(frozen=True)
class ResultsConfig(Checked):
    """How long, how many, and in how many bytes, results of goals are kept for clients that ask late."""

    keep_s: float = field(
        default=900.0,
        metadata=doc(
            "Time for which the result of a goal can be asked for after its end, by the node's clock. Read when the "
            "node starts.",
            unit="s",
            low=1.0,
            high=86400.0,
            live=False,
        ),
    )
    max_bytes: int = field(
        default=256 * 2**20,
        metadata=doc(
            "Largest memory for the geometry of kept results, those of goals with with_geometry. Above it the oldest "
            "ones lose their geometry and say so; the newest never does.",
            unit="bytes",
            low=0,
            high=2**40,
        ),
    )
    max_goals: int = field(
        default=10_000,
        metadata=doc(
            "Largest number of goals that wait, run, or whose result is kept: some kilobytes each. Further ones are "
            "not accepted until results have expired.",
            low=1,
            high=100_000,
        ),
    )


@dataclass(frozen=True)
class NodeConfig(SessionConfig):
    """All parameters of `completion_node`."""

    autostart: bool = field(
        default=True,
        metadata=doc(
            "Whether the node configures and activates itself at start. false leaves both to lifecycle calls.",
            live=False,
        ),
    )
    camera_names: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Names of the cameras. Each has input topics NAME/image, NAME/depth and so on. Empty means one "
            "camera with the topics image, depth and so on.",
            live=False,
        ),
    )
    image_transport: str = field(
        default="raw",
        metadata=doc(
            "Transport of colour images. raw subscribes to image; compressed subscribes to image/compressed.",
            choices=("raw", "compressed"),
            live=False,
        ),
    )
    depth_transport: str = field(
        default="raw",
        metadata=doc(
            "How depth comes. raw subscribes to images on depth; compressedDepth to those on depth/compressedDepth; "
            "cloud to organised point clouds on depth, of the size of colour.",
            choices=("raw", "compressedDepth", "cloud"),
            live=False,
        ),
    )
    use_depth: bool = field(
        default=True,
        metadata=doc("Whether a frame needs a depth image. false uses colour and masks alone.", live=False),
    )
    depth_camera_info: bool = field(
        default=False,
        metadata=doc(
            "Whether depth has a camera info of its own, on topic depth_camera_info. false takes the camera "
            "info of colour for depth.",
            live=False,
        ),
    )
    use_mask: bool = field(
        default=False,
        metadata=doc("Whether a frame needs a label image on topic mask, whose values name the objects.", live=False),
    )
    use_detections: bool = field(
        default=False,
        metadata=doc(
            "Whether a frame needs 2D boxes on topic detections (vision_msgs/Detection2DArray), which name "
            "the objects.",
            live=False,
        ),
    )
    use_detections_3d: bool = field(
        default=False,
        metadata=doc(
            "Whether 3D boxes on topic detections_3d (vision_msgs/Detection3DArray) name the objects.", live=False
        ),
    )
    transform_source: str = field(
        default="tree",
        metadata=doc(
            "Source of interpolated transforms. tree is the transform tree of this package, as in replay; "
            "tf2_ros is the buffer of tf2_ros, which interpolates over gaps of any length.",
            choices=("tree", "tf2_ros"),
            live=False,
        ),
    )
    transform_namespaces: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Namespaces, such as /robot1, whose topics tf and tf_static are read beside /tf and /tf_static, as "
            "one tree.",
            live=False,
        ),
    )
    continuous: bool = field(
        default=False,
        metadata=doc("Whether all objects are completed again without a request whenever enough new views have come."),
    )
    continuous_period_s: float = field(
        default=2.0,
        metadata=doc(
            "Shortest time from the end of one pass of continuous completion to the start of the next, by a clock that "
            "runs also while /clock stands still.",
            unit="s",
            low=0.0,
            high=3600.0,
        ),
    )
    continuous_new_views: int = field(
        default=1,
        metadata=doc(
            "Number of frames from new camera poses that start a pass of continuous completion. 0 lets any "
            "stored frame start one.",
            low=0,
            high=64,
        ),
    )
    goal_policy: str = field(
        default="queue",
        metadata=doc(
            "What happens to a new goal while another one runs. queue: it waits. preempt: it cancels the "
            "running goal. reject: it is refused.",
            choices=("queue", "preempt", "reject"),
        ),
    )
    max_waiting_goals: int = field(
        default=8, metadata=doc("Largest number of waiting goals. Further goals end with code BUSY.", low=0, high=1000)
    )
    memory_budget_bytes: int = field(
        default=2_000_000_000,
        metadata=doc(
            "Largest resident memory of the process. Above it the least useful frames are dropped; if that "
            "is not enough, requests are refused.",
            unit="bytes",
            low=300_000_000,
            high=2**40,
        ),
    )
    save_folder: str = field(
        default="",
        metadata=doc(
            "Folder into which save_objects writes when the request names none: begins with / or ~. Empty makes the "
            "request name one."
        ),
    )
    diagnostics_period_s: float = field(
        default=1.0, metadata=doc("Time between two diagnostics messages.", unit="s", low=0.1, high=60.0)
    )
    watchdog_s: float = field(
        default=3.0,
        metadata=doc(
            "Time without messages after which an input is reported as missing.", unit="s", low=0.5, high=60.0
        ),
    )
    collision_faces: int = field(
        default=500,
        metadata=doc(
            "Largest number of triangles of an object on ~/collision_objects: a coarser mesh that contains the "
            "conservative one or its convex parts, 12 triangles a part at least. 0 publishes them as they are.",
            low=0,
            high=1_000_000,
            live=False,
        ),
    )
    detections: DetectionsConfig = field(default_factory=DetectionsConfig)
    results: ResultsConfig = field(default_factory=ResultsConfig)
    footprints: FootprintConfig = field(default_factory=FootprintConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.camera_names:
            if not _CAMERA_NAME.fullmatch(name):
                raise ConfigError(
                    f"camera_names holds {quoted(name)}; a name must start with a letter and have only letters, "
                    "digits and _"
                )
        if len(set(self.camera_names)) != len(self.camera_names):
            raise ConfigError(f"camera_names must differ from each other, got {clipped(', '.join(self.camera_names))}")
        for name in self.transform_namespaces:
            if not _NAMESPACE.fullmatch(name):
                raise ConfigError(
                    f"transform_namespaces holds {quoted(name)}; a namespace is a slash and a name, or several, as "
                    "/robot1"
                )
        if len(set(self.transform_namespaces)) != len(self.transform_namespaces):
            raise ConfigError("transform_namespaces must differ from each other")
        if self.use_mask + self.use_detections + self.use_detections_3d > 1:
            raise ConfigError(
                "use_mask, use_detections and use_detections_3d all name the objects; set only one of them"
            )

        if not (self.use_depth or self.use_mask or self.use_detections):
            raise ConfigError(
                "use_depth, use_mask and use_detections are all false, so no object can be found; set one of them"
            )

    @property
    def session(self) -> SessionConfig:
        """The parameters that decide a completion, and no others."""
        return SessionConfig(**{f.name: getattr(self, f.name) for f in fields(SessionConfig)})


def load_node_config(values: Mapping[str, Any], base: NodeConfig | None = None) -> NodeConfig:
    """Make a config from nested or dotted values, as YAML files and ROS parameters give them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value has the wrong type or lies outside its range. Nothing is repaired.
    """
    return typing.cast(NodeConfig, replaced(base or NodeConfig(), nested(values)))
