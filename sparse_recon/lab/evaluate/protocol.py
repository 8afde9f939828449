"""What is measured, and under which conditions: printed with every table, stored with every result."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sparse_recon.config.parameters import Checked, doc, parameters, replaced
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ConfigError

CONDITIONS: dict[str, str] = {
    "clean": "exact depth, poses and masks",
    "mild": "depth with noise of single pixels (disparity noise and steps, ragged edges, flying pixels, holes at "
    "grazing angles and highlights), exact poses and masks",
    "noisy": "depth as a RealSense D4xx gives it (slow errors, smeared outlines, shadows, holes), exact poses and "
    "masks",
    "pose": "noisy, and every camera pose is wrong",
    "mask": "noisy, and every mask is too small or too large",
    "occluded": "noisy, and another object hides part of this one from the first camera",
}


@dataclass(frozen=True)
class Protocol(Checked):
    """The conditions of one evaluation. Results are in metres of the world, never aligned to the truth."""

    views: tuple[int, ...] = field(
        default=(1, 2, 4),
        metadata=doc(
            "Numbers of cameras to evaluate with. Smaller sets are the first cameras of the largest set.",
            low=1,
            high=16,
        ),
    )
    conditions: tuple[str, ...] = field(
        default=("clean", "noisy"), metadata=doc("Input errors to evaluate under.", choices=tuple(CONDITIONS))
    )
    seed: int = field(
        default=0, metadata=doc("Seed of object rotation, cameras, noise and sampled points.", low=0, high=2**31 - 1)
    )
    repeats: int = field(default=1, metadata=doc("Number of seeds per object, counted up from seed.", low=1, high=1000))
    distance_near_m: float = field(
        default=0.4,
        metadata=doc(
            "Smallest distance of a camera from the object's centre. Cameras stay at least 1.2 object diameters away.",
            unit="m",
            low=0.1,
            high=10.0,
        ),
    )
    distance_far_m: float = field(
        default=1.2,
        metadata=doc("Largest distance of a camera from the object's centre.", unit="m", low=0.1, high=10.0),
    )
    elevation_low_deg: float = field(
        default=15.0,
        metadata=doc(
            "Smallest elevation angle of a camera above the object's centre.", unit="deg", low=-89.0, high=89.0
        ),
    )
    elevation_high_deg: float = field(
        default=60.0,
        metadata=doc(
            "Largest elevation angle of a camera above the object's centre.", unit="deg", low=-89.0, high=89.0
        ),
    )
    width_px: int = field(default=640, metadata=doc("Width of an image.", unit="px", low=32, high=4096))
    height_px: int = field(default=480, metadata=doc("Height of an image.", unit="px", low=32, high=4096))
    horizontal_fov_deg: float = field(
        default=55.0, metadata=doc("Horizontal field of view of a camera.", unit="deg", low=5.0, high=150.0)
    )
    pose_error_m: float = field(
        default=0.004,
        metadata=doc(
            "Largest camera translation error under the condition `pose`, drawn uniformly.", unit="m", low=0.0, high=0.5
        ),
    )
    pose_error_deg: float = field(
        default=1.0,
        metadata=doc(
            "Largest camera rotation error under the condition `pose`, drawn uniformly.", unit="deg", low=0.0, high=30.0
        ),
    )
    mask_error_px: int = field(
        default=3,
        metadata=doc("Largest dilation or erosion of a mask under the condition `mask`.", unit="px", low=0, high=20),
    )
    samples: int = field(
        default=20_000, metadata=doc("Number of points sampled on each surface.", low=100, high=1_000_000)
    )
    volume_samples: int = field(
        default=50_000,
        metadata=doc("Number of points sampled in the box around both solids.", low=100, high=10_000_000),
    )
    empty_voxel_m: float = field(
        default=0.003,
        metadata=doc("Edge of the voxels in which surface in free space is counted.", unit="m", low=5e-4, high=0.1),
    )
    empty_tolerance_m: float = field(
        default=0.0066,
        metadata=doc(
            "Smallest distance from the true surface at which predicted surface counts as in free space, "
            "where a camera sees through. 3 standard deviations of the depth noise there are taken if that "
            "is more.",
            unit="m",
            low=0.0,
            high=0.1,
        ),
    )
    visible_tolerance_m: float = field(
        default=0.002,
        metadata=doc(
            "Largest distance between true surface and what a camera truly sees at which the surface counts "
            "as observed.",
            unit="m",
            low=1e-4,
            high=0.1,
        ),
    )
    novel_views: int = field(
        default=2,
        metadata=doc(
            "Number of cameras between the observed ones at which PSNR and SSIM of colour are measured.", low=0, high=16
        ),
    )
    parameters: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Session parameters that differ from the defaults, each as group.name=value. Empty evaluates the defaults."
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("distance_near_m", "distance_far_m"), ("elevation_low_deg", "elevation_high_deg")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(f"{low} ({getattr(self, low):g}) must not be larger than {high}")
        for name in ("views", "conditions"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name} must be different values, at least one; got {list(values)}")

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON holds them."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def of(cls, values: Mapping[str, Any], base: Protocol | None = None) -> Protocol:
        """Return a protocol with some values changed.

        Raises
        ------
        ConfigError
            If a name is unknown, or a value has the wrong type or lies outside its range.
        """
        return typing.cast(Protocol, replaced(base or cls(), values))

    def text(self) -> str:
        """Return the protocol as a paragraph."""
        views = "/".join(map(str, self.views))
        return (
            f"Protocol: one object upright on a table, turned by a seeded angle; {views} of "
            f"{max(self.views)} cameras on a ring ({self.elevation_low_deg:g} to {self.elevation_high_deg:g} deg, "
            f"{self.distance_near_m:g} to {self.distance_far_m:g} m, {self.width_px}x{self.height_px} px, "
            f"{self.horizontal_fov_deg:g} deg), seeds {self.seed} to {self.seed + self.repeats - 1}. "
            f"Alignment: none, metric as published. {self.samples} points on each surface, observed where a camera "
            f"truly sees the true surface to {1e3 * self.visible_tolerance_m:g} mm; volumes by {self.volume_samples} "
            f"points; empty space: voxels of {1e3 * self.empty_voxel_m:g} mm that a camera truly sees through, more "
            f"than {1e3 * self.empty_tolerance_m:g} mm (or 3 sigmas of depth noise) from the true surface. "
            + " ".join(f"`{c}`: {CONDITIONS[c]}." for c in self.conditions)
            + (f" Sessions with {', '.join(self.parameters)}." if self.parameters else "")
        )


def changed_parameters(config: SessionConfig) -> tuple[str, ...]:
    """Return the parameters of a session that are not the defaults, but the model, as `group.name=value`."""
    changed = []
    for p in parameters(SessionConfig):
        value: Any = config
        for part in p.name.split("."):
            value = getattr(value, part)
        if p.name != "model" and value != p.default:
            changed.append(f"{p.name}={json.dumps(_plain(value))}")
    return tuple(changed)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
