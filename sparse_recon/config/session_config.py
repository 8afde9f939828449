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

    near_m: float = field(default=0.15, metadata=doc("Nearer depth is invalid.", unit="m", low=0.01, high=10.0))
    far_m: float = field(default=3.0, metadata=doc("Farther depth is invalid.", unit="m", low=0.05, high=100.0))
    sigma_base_m: float = field(
        default=0.0012,
        metadata=doc("Depth noise at 0.4 m (1 standard deviation).", unit="m", low=0.0, high=0.1),
    )
    sigma_quadratic: float = field(
        default=0.0019,
        metadata=doc(
            "Growth of depth noise: sigma = base + quadratic * (z - 0.4 m)^2 (Nguyen 2012).",
            unit="1/m",
            high=1.0,
            low=0.0,
        ),
    )
    pose_sigma_m: float = field(
        default=0.001,
        metadata=doc("Camera pose noise, added to the depth noise in quadrature.", unit="m", low=0.0, high=0.1),
    )
    edge_jump_m: float = field(
        default=0.02,
        metadata=doc(
            "Depth edges higher than this have flying pixels between their sides, which are dropped; 0 keeps all.",
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
            "Colour, depth and labels of one frame may be this far apart.", unit="s", low=0.0, high=1.0, live=False
        ),
    )
    tf_timeout_s: float = field(
        default=5.0,
        metadata=doc(
            "A frame waits for its transform and camera info until images newer by this much have come.",
            unit="s",
            low=0.0,
            high=60.0,
            live=False,
        ),
    )
    order_timeout_s: float = field(
        default=0.5,
        metadata=doc(
            "A frame waits this long for an earlier one of another camera.", unit="s", low=0.0, high=10.0, live=False
        ),
    )
    jump_back_s: float = field(
        default=1.0,
        metadata=doc(
            "A stamp this far behind its stream is a jump back in time (a looping bag), not a stray message.",
            unit="s",
            low=0.01,
            high=60.0,
            live=False,
        ),
    )
    queue_size: int = field(
        default=48, metadata=doc("Messages kept per stream, and frames waiting.", low=2, high=1000, live=False)
    )
    max_gap_s: float = field(
        default=1.0,
        metadata=doc(
            "Transforms farther apart than this are not interpolated between.",
            unit="s",
            low=0.01,
            high=60.0,
            live=False,
        ),
    )
    history_s: float = field(
        default=30.0,
        metadata=doc("Transforms older than this are forgotten.", unit="s", low=1.0, high=3600.0, live=False),
    )


@dataclass(frozen=True)
class SegmentConfig(Checked):
    """How objects are found when neither mask nor box is given."""

    plane_tolerance_m: float = field(
        default=0.006,
        metadata=doc("Points this close to the support plane belong to it.", unit="m", low=0.001, high=0.1),
    )
    plane_tilt_deg: float = field(
        default=20.0,
        metadata=doc("A support plane may tilt this much against the up direction.", unit="deg", low=0.0, high=90.0),
    )
    voxel_size_m: float = field(
        default=0.005, metadata=doc("Grid on which points are clustered.", unit="m", low=0.001, high=0.1)
    )
    cluster_gap_m: float = field(
        default=0.015, metadata=doc("Clusters nearer than this are one object.", unit="m", low=0.001, high=0.5)
    )
    min_points: int = field(
        default=120,
        metadata=doc("Fewer depth pixels than this in all frames together are no object.", low=1, high=100000),
    )
    min_size_m: float = field(default=0.01, metadata=doc("Smaller clusters are noise.", unit="m", low=0.001, high=1.0))
    max_size_m: float = field(
        default=0.6,
        metadata=doc("Larger clusters are furniture, and larger requests are refused.", unit="m", low=0.05, high=5.0),
    )
    max_height_m: float = field(
        default=0.6, metadata=doc("Points higher above the support plane are ignored.", unit="m", low=0.05, high=5.0)
    )


@dataclass(frozen=True)
class KeyframeConfig(Checked):
    """Which of many frames are kept and used."""

    max_views: int = field(default=8, metadata=doc("Frames used for one completion.", low=1, high=64))
    min_gain: float = field(
        default=0.01,
        metadata=doc("A further frame must add this share of newly seen surface directions.", low=0.0, high=1.0),
    )
    frame_budget_bytes: int = field(
        default=400_000_000,
        metadata=doc(
            "Memory for stored frames; the least useful one goes first.", unit="bytes", low=4_000_000, high=2**40
        ),
    )
    max_frames: int = field(
        default=64, metadata=doc("Frames stored at most; the least useful one goes first.", low=2, high=1000)
    )
    max_age_s: float = field(
        default=0.0,
        metadata=doc(
            "Frames older than this against the newest one are forgotten; 0 keeps them.",
            unit="s",
            low=0.0,
            high=86400.0,
        ),
    )
    min_move_m: float = field(
        default=0.02,
        metadata=doc(
            "A camera that moved and turned (min_turn_deg) less than this since a stored frame shows nothing new.",
            unit="m",
            low=0.0,
            high=1.0,
        ),
    )
    min_turn_deg: float = field(
        default=3.0, metadata=doc("See min_move_m; 0 in either stores every frame.", unit="deg", low=0.0, high=90.0)
    )
    refresh_s: float = field(
        default=1.0,
        metadata=doc(
            "... unless the stored frame is older than this: what is looked at may have changed.",
            unit="s",
            low=0.0,
            high=3600.0,
        ),
    )


@dataclass(frozen=True)
class EvidenceConfig(Checked):
    """What the chosen views prove about space."""

    grid: int = field(default=64, metadata=doc("Voxels along the edge of the completion cube.", low=32, high=160))
    fine_voxel_m: float = field(
        default=0.0015,
        metadata=doc(
            "Wished voxel edge of the final surface; grows for objects that do not fit fine_grid.",
            unit="m",
            low=0.0005,
            high=0.05,
        ),
    )
    fine_grid: int = field(
        default=144, metadata=doc("Most voxels along the edge of the final surface.", low=48, high=180)
    )
    cube_margin: float = field(
        default=1.25, metadata=doc("Edge of the cube over the extent of the observed object.", low=1.05, high=3.0)
    )
    slack_sigma: float = field(
        default=1.5, metadata=doc("Free space ends this many depth sigmas before the seen surface.", low=0.0, high=5.0)
    )
    slack_voxels: float = field(default=0.5, metadata=doc("... and this many voxels before it.", low=0.0, high=3.0))
    truncation_voxels: float = field(
        default=3.0, metadata=doc("Truncation of the observed signed distance.", low=1.5, high=10.0)
    )
    soft_conflict: float = field(
        default=0.04,
        metadata=doc(
            "Share of observed surface seen empty by another view above which bounds turn soft.", low=0.0, high=1.0
        ),
    )


@dataclass(frozen=True)
class FusionConfig(Checked):
    """From evidence and imagination to one surface."""

    max_faces: int = field(
        default=20_000,
        metadata=doc(
            "Wished most triangles of a mesh; more where fewer would enter seen-empty space.", low=100, high=2_000_000
        ),
    )
    simplify_tolerance_m: float = field(
        default=0.0003, metadata=doc("Largest shift of the surface by decimation.", unit="m", low=0.0, high=0.01)
    )
    point_spacing_m: float = field(
        default=0.002, metadata=doc("Mean distance between published points.", unit="m", low=0.0003, high=0.1)
    )
    max_points: int = field(
        default=60_000, metadata=doc("Published points of one object at most.", low=100, high=5_000_000)
    )
    min_component: float = field(
        default=0.02, metadata=doc("Loose parts below this share of the volume are dropped.", low=0.0, high=1.0)
    )
    conservative_quantile: float = field(
        default=0.9,
        metadata=doc("The collision mesh covers the true surface with this probability.", low=0.5, high=0.999),
    )
    conservative_max_m: float = field(
        default=0.02, metadata=doc("The collision mesh grows at most this much.", unit="m", low=0.0, high=0.2)
    )
    convex_parts: bool = field(
        default=False, metadata=doc("Also decompose the collision mesh into convex parts (CoACD).")
    )
    convex_concavity: float = field(
        default=0.08, metadata=doc("Concavity that a convex part may keep (CoACD threshold).", low=0.01, high=1.0)
    )


@dataclass(frozen=True)
class SessionConfig(Checked):
    """All parameters of a completion session."""

    world_frame: str = field(
        default="",
        metadata=doc("Frame in which objects are completed; empty: the root of the transform tree.", live=False),
    )
    up_world: tuple[float, float, float] = field(
        default=(0.0, 0.0, 1.0),
        metadata=doc(
            "Up direction in the world frame (REP 103: +z); 0 0 0: found from the support plane and the images."
        ),
    )
    model: str = field(default="compact", metadata=doc("Name of the completer.", live=False))
    seed: int = field(default=0, metadata=doc("Seed of everything random.", low=0, high=2**31 - 1))
    max_objects: int = field(
        default=16, metadata=doc("Objects completed per pass when nothing is named.", low=1, high=256)
    )
    depth: DepthConfig = field(default_factory=DepthConfig)
    assembly: AssemblyConfig = field(default_factory=AssemblyConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    keyframes: KeyframeConfig = field(default_factory=KeyframeConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
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
                f"depth.near_m ({self.depth.near_m:g} m) must be smaller than depth.far_m ({self.depth.far_m:g} m)"
            )
        if self.assembly.tf_timeout_s > self.assembly.history_s:
            raise ConfigError(
                f"assembly.tf_timeout_s ({self.assembly.tf_timeout_s:g} s) must not be larger than "
                f"assembly.history_s ({self.assembly.history_s:g} s)"
            )
        if self.segment.min_size_m >= self.segment.max_size_m:
            raise ConfigError(
                f"segment.min_size_m ({self.segment.min_size_m:g} m) must be smaller than "
                f"segment.max_size_m ({self.segment.max_size_m:g} m)"
            )


def load_config(values: Mapping[str, Any], base: SessionConfig | None = None) -> SessionConfig:
    """Make a config from nested or dotted values, as YAML files and ROS parameters give them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value has the wrong type or lies outside its range. Nothing is repaired.
    """
    return typing.cast(SessionConfig, replaced(base or SessionConfig(), nested(values)))
