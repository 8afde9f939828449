"""Parameters, once: the groups from which ROS descriptors, command help and the tables of docs/ are made."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from sparse_recon.config.geometry_config import EvidenceConfig, FusionConfig, RegistrationConfig
from sparse_recon.config.input_config import AssemblyConfig, DepthConfig, RobotConfig
from sparse_recon.config.model_config import CarveConfig, CompactConfig, DistillConfig, FitConfig
from sparse_recon.config.models import MODELS, named
from sparse_recon.config.observation_config import KeyframeConfig, SegmentConfig
from sparse_recon.config.parameters import Checked, doc, nested, replaced
from sparse_recon.errors import ConfigError

T = TypeVar("T")
Group = TypeVar("Group", bound=Checked)


def _with_models(cls: type[T]) -> type[T]:
    """Add a group of parameters for each model that has none yet."""
    for record in MODELS:
        if record.name not in cls.__annotations__:
            parameters = named(record.parameters)
            cls.__annotations__[record.name] = parameters
            setattr(cls, record.name, field(default_factory=parameters))
    return cls


@dataclass(frozen=True)
@_with_models
class SessionConfig(Checked):
    """All parameters of a completion session; `config.models` adds a group for each published model."""

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

    def of(self, kind: type[Group]) -> Group:
        """Return the group of parameters of a class, such as a model's.

        Raises
        ------
        TypeError
            If no group is of that class.
        """
        for f in fields(self):
            if isinstance(group := getattr(self, f.name), kind):
                return group
        raise TypeError(f"a session has no parameters of type {kind.__name__}")


def load_config(values: Mapping[str, Any], base: SessionConfig | None = None) -> SessionConfig:
    """Make a config from nested or dotted values, as YAML files and ROS parameters give them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value has the wrong type or lies outside its range. Nothing is repaired.
    """
    return typing.cast(SessionConfig, replaced(base or SessionConfig(), nested(values)))
