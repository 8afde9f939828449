"""Parameters, once: the groups from which ROS descriptors, command help and the tables of docs/ are made."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparse_recon.config.model_config import CarveConfig, CompactConfig, DistillConfig, FitConfig, Zero123Config
from sparse_recon.config.parameters import Checked, doc, nested, replaced
from sparse_recon.errors import ConfigError


@dataclass(frozen=True)
class DepthConfig(Checked):
    """How depth images are read."""

    unit_m: float = field(
        default=0.0,
        metadata=doc(
            "Metres a count of depth images. 0 goes by the encoding (REP 118): 16UC1 is millimetres, 32FC1 metres. "
            "Sensors of 0.25 mm a count need 0.00025, of 0.1 mm 0.0001, float millimetres 0.001.",
            unit="m",
            low=0.0,
            high=1.0,
            live=False,
        ),
    )
    near_m: float = field(
        default=0.15,
        metadata=doc("Smallest valid depth. Pixels nearer to the camera are ignored.", unit="m", low=0.01, high=10.0),
    )
    far_m: float = field(
        default=3.0,
        metadata=doc(
            "Largest valid depth. Pixels farther from the camera are ignored.", unit="m", low=0.05, high=100.0
        ),
    )
    sigma_base_m: float = field(
        default=0.0012,
        metadata=doc("Standard deviation of the depth noise at a depth of 0.4 m.", unit="m", low=0.0, high=0.1),
    )
    sigma_quadratic: float = field(
        default=0.0019,
        metadata=doc(
            "Quadratic growth of the depth noise: sigma = depth.sigma_base_m + depth.sigma_quadratic * (z - "
            "0.4 m)^2 (Nguyen 2012).",
            unit="1/m",
            high=1.0,
            low=0.0,
        ),
    )
    sensor: str = field(
        default="auto",
        metadata=doc(
            "Kind of the depth camera. Errors that are alike over many pixels are measured on the support plane and "
            "make confidence smaller; they grow with the square of the depth for `stereo` and `structured` and stay "
            "the same for `tof`. Where no support plane is in view, figures that are usual for the kind count. "
            "`auto`: as for stereo, but nothing counts where no plane is in view.",
            choices=("auto", "stereo", "structured", "tof"),
        ),
    )
    pose_sigma_m: float = field(
        default=0.001,
        metadata=doc(
            "Standard deviation of the camera position, added to the depth noise in quadrature.",
            unit="m",
            low=0.0,
            high=0.1,
        ),
    )
    edge_jump_m: float = field(
        default=0.02,
        metadata=doc(
            "Smallest depth step between neighbouring pixels that counts as an edge. Flying pixels between "
            "the two sides of an edge are dropped; 0 keeps all pixels.",
            unit="m",
            low=0.0,
            high=1.0,
        ),
    )


@dataclass(frozen=True)
class AssemblyConfig(Checked):
    """How messages become frames, and how long one waits for another."""

    stamp_tolerance_s: float = field(
        default=0.02,
        metadata=doc(
            "Largest difference between the stamps of the colour, depth and label images that are matched to "
            "one frame.",
            unit="s",
            low=0.0,
            high=1.0,
            live=False,
        ),
    )
    tf_timeout_s: float = field(
        default=5.0,
        metadata=doc(
            "How long a frame waits for its transform and camera info, measured in stamps: it is rejected "
            "when an image newer by more than this has come.",
            unit="s",
            low=0.0,
            high=60.0,
            live=False,
        ),
    )
    order_timeout_s: float = field(
        default=0.5,
        metadata=doc(
            "How long a frame waits for an earlier frame of another camera, measured in stamps, so that "
            "frames are used in stamp order.",
            unit="s",
            low=0.0,
            high=10.0,
            live=False,
        ),
    )
    jump_back_s: float = field(
        default=1.0,
        metadata=doc(
            "Largest step back in time that is taken for a late message. An image older than the newest of "
            "its stream by up to this much is rejected. An image older by more, or all moving transforms of a "
            "camera together, restart the input, as when a recording loops: stored frames, waiting images and "
            "moving transforms are discarded. A transform of one link older by more is ignored.",
            unit="s",
            low=0.01,
            high=60.0,
            live=False,
        ),
    )
    max_ahead_s: float = field(
        default=10.0,
        metadata=doc(
            "Largest lead of a stamp over what all other messages say the time is. A transform or image that is "
            "further ahead is left out, unless others, or the next ones of its kind, follow it there.",
            unit="s",
            low=1.0,
            high=3600.0,
            live=False,
        ),
    )
    depth_is_registered: bool = field(
        default=False,
        metadata=doc(
            "Whether depth images are registered to colour whatever frame they name. false goes by the transforms: "
            "depth from elsewhere than colour needs a camera info of its own, and without one it is refused.",
            live=False,
        ),
    )
    queue_size: int = field(
        default=48,
        metadata=doc(
            "Largest number of messages kept per stream, and of matched frames that wait for a transform or "
            "camera info.",
            low=2,
            high=1000,
            live=False,
        ),
    )
    max_gap_s: float = field(
        default=1.0,
        metadata=doc(
            "Largest time between two transforms that are interpolated whatever lies between them. A larger gap "
            "is bridged only where the link moved by less than 0.1 m and 0.1 rad over it and usually is as slow, as "
            "localisation every few seconds; a frame whose stamp falls into another one is rejected.",
            unit="s",
            low=0.01,
            high=60.0,
            live=False,
        ),
    )
    history_s: float = field(
        default=30.0,
        metadata=doc(
            "How long transforms are kept, measured back from the newest one.",
            unit="s",
            low=1.0,
            high=3600.0,
            live=False,
        ),
    )


@dataclass(frozen=True)
class SegmentConfig(Checked):
    """How objects are found when neither mask nor box is given."""

    instances: str = field(
        default="network",
        metadata=doc(
            "What tells things apart that stand on the support plane. `network`: a small network looks at colour and "
            "depth of each frame, and gaps between points decide only where it says nothing. `clusters`: gaps alone.",
            choices=("network", "clusters"),
        ),
    )
    plane_tolerance_m: float = field(
        default=0.006,
        metadata=doc(
            "Largest distance from the support plane at which a point still belongs to the plane.",
            unit="m",
            low=0.001,
            high=0.1,
        ),
    )
    plane_tilt_deg: float = field(
        default=20.0,
        metadata=doc(
            "Largest angle between the normal of a support plane and the up direction.", unit="deg", low=0.0, high=90.0
        ),
    )
    voxel_size_m: float = field(
        default=0.005,
        metadata=doc("Edge of the voxels on which points are clustered into objects.", unit="m", low=0.001, high=0.1),
    )
    cluster_gap_m: float = field(
        default=0.015,
        metadata=doc(
            "Largest gap between two clusters of points that are merged into one object.", unit="m", low=0.001, high=0.5
        ),
    )
    min_points: int = field(
        default=120,
        metadata=doc(
            "Smallest number of depth pixels of an object, in all frames together. Clusters with fewer are ignored.",
            low=1,
            high=100000,
        ),
    )
    min_size_m: float = field(
        default=0.01,
        metadata=doc(
            "Smallest extent of an object. Smaller clusters are ignored as noise.", unit="m", low=0.001, high=1.0
        ),
    )
    max_size_m: float = field(
        default=0.6,
        metadata=doc(
            "Largest extent of an object. What is larger is divided, or told as furniture and not listed, and requests "
            "for larger objects are refused.",
            unit="m",
            low=0.05,
            high=5.0,
        ),
    )
    min_score: float = field(
        default=0.6,
        metadata=doc(
            "Smallest probability of being an object, as opposed to a bump, a wall or noise, with which something is "
            "listed. What a label image or a box names is listed without.",
            low=0.0,
            high=1.0,
        ),
    )
    max_height_m: float = field(
        default=0.6,
        metadata=doc(
            "Largest height above the support plane. Points higher up are ignored.", unit="m", low=0.05, high=5.0
        ),
    )


@dataclass(frozen=True)
class KeyframeConfig(Checked):
    """Which of many frames are kept and used."""

    max_views: int = field(default=8, metadata=doc("Largest number of frames used for one completion.", low=1, high=64))
    min_gain: float = field(
        default=0.01,
        metadata=doc(
            "Smallest gain for which one more frame is used: the share of newly seen surface plus up to 0.25 "
            "for a new view direction, both weighted by image sharpness.",
            low=0.0,
            high=1.0,
        ),
    )
    frame_budget_bytes: int = field(
        default=400_000_000,
        metadata=doc(
            "Largest memory for the images of stored frames. Above it the least useful frame is dropped first.",
            unit="bytes",
            low=4_000_000,
            high=2**40,
        ),
    )
    max_frames: int = field(
        default=64,
        metadata=doc(
            "Largest number of stored frames. Above it the least useful frame is dropped first.", low=2, high=1000
        ),
    )
    max_age_s: float = field(
        default=0.0,
        metadata=doc(
            "Largest age of a stored frame relative to the newest one. Older frames are dropped; 0 keeps "
            "frames of any age.",
            unit="s",
            low=0.0,
            high=86400.0,
        ),
    )
    min_move_m: float = field(
        default=0.02,
        metadata=doc(
            "Smallest translation of a camera that counts as a new pose. A frame is not stored if a stored "
            "frame of the same camera, younger than keyframes.refresh_s, differs by less than this and by "
            "less than keyframes.min_turn_deg. 0 stores every frame.",
            unit="m",
            low=0.0,
            high=1.0,
        ),
    )
    min_turn_deg: float = field(
        default=3.0,
        metadata=doc(
            "Smallest rotation of a camera that counts as a new pose. A frame is not stored if a stored "
            "frame of the same camera, younger than keyframes.refresh_s, differs by less than this and by "
            "less than keyframes.min_move_m. 0 stores every frame.",
            unit="deg",
            low=0.0,
            high=90.0,
        ),
    )
    refresh_s: float = field(
        default=1.0,
        metadata=doc(
            "Age from which a stored frame no longer keeps out a newer frame from the same camera pose, as "
            "the scene may have changed.",
            unit="s",
            low=0.0,
            high=3600.0,
        ),
    )


@dataclass(frozen=True)
class EvidenceConfig(Checked):
    """What the chosen views prove about space."""

    grid: int = field(
        default=64,
        metadata=doc("Number of voxels along the edge of the cube in which an object is completed.", low=32, high=160),
    )
    fine_voxel_m: float = field(
        default=0.0015,
        metadata=doc(
            "Target voxel edge of the final surface. Exceeded for objects that would need more than "
            "evidence.fine_grid voxels along an edge.",
            unit="m",
            low=0.0005,
            high=0.05,
        ),
    )
    fine_grid: int = field(
        default=144,
        metadata=doc("Largest number of voxels along the edge of the grid of the final surface.", low=48, high=180),
    )
    cube_margin: float = field(
        default=1.25,
        metadata=doc("Edge of the completion cube divided by the extent of the observed points.", low=1.05, high=3.0),
    )
    slack_sigma: float = field(
        default=1.5,
        metadata=doc(
            "Distance between the measured surface and the free space in front of it, in standard deviations "
            "of the depth noise. evidence.slack_voxels is added.",
            low=0.0,
            high=5.0,
        ),
    )
    slack_voxels: float = field(
        default=0.5,
        metadata=doc(
            "Distance between the measured surface and the free space in front of it, in voxels. "
            "evidence.slack_sigma is added.",
            low=0.0,
            high=3.0,
        ),
    )
    truncation_voxels: float = field(
        default=3.0,
        metadata=doc(
            "Truncation distance of the signed distance measured by cameras (TSDF), in voxels.", low=1.5, high=10.0
        ),
    )
    check_views: bool = field(
        default=True,
        metadata=doc(
            "Whether requests are refused (VIEWS_DISAGREE) where the views do not belong together, because poses, "
            "axes, units or calibration are wrong. false goes on, with a warning in each result."
        ),
    )
    soft_conflict: float = field(
        default=0.04,
        metadata=doc(
            "Largest share of measured points that may lie in free space of another view. Above it, free "
            "space is trusted less: its border is moved towards the cameras until most contradictions "
            "vanish.",
            low=0.0,
            high=1.0,
        ),
    )


@dataclass(frozen=True)
class RegistrationConfig(Checked):
    """How views that nearly fit are brought together before they are fused."""

    enabled: bool = field(
        default=True,
        metadata=doc(
            "Whether views of an object whose camera poses are slightly off are moved to where their depth fits. What "
            "was moved is said in the warnings of the result; poses that are right to within the noise are kept."
        ),
    )
    max_shift_m: float = field(
        default=0.015,
        metadata=doc(
            "Largest distance, at the object, by which a view may be moved against the others. A view that is farther "
            "off contradicts them and stays as it is.",
            unit="m",
            low=0.001,
            high=0.1,
        ),
    )
    max_turn_deg: float = field(
        default=1.5,
        metadata=doc("Largest angle by which a view may be turned against the others.", unit="deg", low=0.1, high=10.0),
    )


@dataclass(frozen=True)
class FusionConfig(Checked):
    """From evidence and imagination to one surface."""

    max_faces: int = field(
        default=20_000,
        metadata=doc(
            "Target triangle count. Exceeded where decimation would push the surface into observed free space.",
            low=100,
            high=2_000_000,
        ),
    )
    simplify_tolerance_m: float = field(
        default=0.0003,
        metadata=doc(
            "Largest displacement of the surface by decimation, unless fusion.max_faces asks for fewer triangles.",
            unit="m",
            low=0.0,
            high=0.01,
        ),
    )
    point_spacing_m: float = field(
        default=0.002,
        metadata=doc(
            "Mean distance between neighbouring points of the published point cloud.", unit="m", low=0.0003, high=0.1
        ),
    )
    max_points: int = field(
        default=60_000,
        metadata=doc("Largest number of points in the point cloud of one object.", low=100, high=5_000_000),
    )
    min_component: float = field(
        default=0.02,
        metadata=doc(
            "Smallest volume of a connected component, as a share of the mesh's volume. Smaller components "
            "are removed.",
            low=0.0,
            high=1.0,
        ),
    )
    conservative_quantile: float = field(
        default=0.9,
        metadata=doc(
            "Probability with which the conservative collision mesh contains the true surface.", low=0.5, high=0.999
        ),
    )
    conservative_max_m: float = field(
        default=0.02,
        metadata=doc(
            "Largest distance by which the conservative collision mesh is grown.", unit="m", low=0.0, high=0.2
        ),
    )
    convex_parts: bool = field(
        default=False,
        metadata=doc("Whether the conservative collision mesh is also decomposed into convex parts (CoACD)."),
    )
    convex_concavity: float = field(
        default=0.08,
        metadata=doc(
            "Largest concavity of a convex part (CoACD threshold). Smaller values give more parts.", low=0.01, high=1.0
        ),
    )


@dataclass(frozen=True)
class RobotConfig(Checked):
    """What of the images is the robot itself."""

    description: str = field(
        default="",
        metadata=doc(
            "URDF of the robot, as a file or as text (robot_description): pixels on the boxes around its collision "
            "geometries are taken out of depth and label images. Empty takes nothing out.",
            live=False,
        ),
    )
    padding_m: float = field(
        default=0.02,
        metadata=doc("By how much these boxes grow on each side.", unit="m", low=0.0, high=0.2, live=False),
    )
    left_in: tuple[str, ...] = field(
        default=(),
        metadata=doc("Links that stay in the images, such as a table that is part of the description.", live=False),
    )
    label: int = field(
        default=0,
        metadata=doc(
            "Value of the robot in label images; its pixels are taken out too. 0 means that it has none.",
            low=0,
            high=2**31 - 1,
            live=False,
        ),
    )


@dataclass(frozen=True)
class SessionConfig(Checked):
    """All parameters of a completion session."""

    world_frame: str = field(
        default="",
        metadata=doc(
            "Name of the frame in which objects are completed. Empty takes the root of the transform tree.", live=False
        ),
    )
    up_world: tuple[float, float, float] = field(
        default=(0.0, 0.0, 1.0),
        metadata=doc(
            "Up direction in the world frame; +z by REP 103. 0 0 0 finds it from the support plane and the images."
        ),
    )
    model: str = field(default="compact", metadata=doc("Name of the completion model.", live=False))
    seed: int = field(default=0, metadata=doc("Seed of all random numbers of a session.", low=0, high=2**31 - 1))
    max_objects: int = field(
        default=16,
        metadata=doc(
            "Largest number of objects completed in one request that names none, and of those that the node publishes.",
            low=1,
            high=256,
        ),
    )
    depth: DepthConfig = field(default_factory=DepthConfig)
    assembly: AssemblyConfig = field(default_factory=AssemblyConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    keyframes: KeyframeConfig = field(default_factory=KeyframeConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    carve: CarveConfig = field(default_factory=CarveConfig)
    compact: CompactConfig = field(default_factory=CompactConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    zero123: Zero123Config = field(default_factory=Zero123Config)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth.near_m >= self.depth.far_m:
            raise ConfigError(
                f"depth.near_m ({self.depth.near_m:g} m) must be smaller than depth.far_m ({self.depth.far_m:g} m); "
                "lower the one or raise the other"
            )
        if self.assembly.tf_timeout_s > self.assembly.history_s:
            raise ConfigError(
                f"assembly.tf_timeout_s ({self.assembly.tf_timeout_s:g} s) must not be larger than "
                f"assembly.history_s ({self.assembly.history_s:g} s); lower the one or raise the other"
            )
        if self.segment.min_size_m >= self.segment.max_size_m:
            raise ConfigError(
                f"segment.min_size_m ({self.segment.min_size_m:g} m) must be smaller than "
                f"segment.max_size_m ({self.segment.max_size_m:g} m); lower the one or raise the other"
            )


def load_config(values: Mapping[str, Any], base: SessionConfig | None = None) -> SessionConfig:
    """Make a config from nested or dotted values, as YAML files and ROS parameters give them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value has the wrong type or lies outside its range. Nothing is repaired.
    """
    return typing.cast(SessionConfig, replaced(base or SessionConfig(), nested(values)))
