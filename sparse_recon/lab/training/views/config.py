"""Parameters of the pictures that view models learn from."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.lab.training.views.cameras import POLICIES


@dataclass(frozen=True)
class ViewDataConfig(Checked):
    """The pictures that are learned from."""

    seed: int = field(default=1, metadata=doc("Seed of objects, materials and cameras.", low=0, high=2**31 - 1))
    cameras: str = field(
        default="sphere", metadata=doc("Where cameras stand, by the model they are for.", choices=tuple(POLICIES))
    )
    side: int = field(default=64, metadata=doc("Number of pixels along an edge of a picture.", low=16, high=512))
    household: int = field(default=300, metadata=doc("Number of made-up household objects.", low=0, high=1_000_000))
    scans: tuple[str, ...] = field(
        default=(),
        metadata=doc("Names of scanned meshes in the folders of scans. Objects that evaluation scores are refused."),
    )
    scan_draws: int = field(
        default=4, metadata=doc("Number of variations of each scan; all but the first are stretched.", low=1, high=1000)
    )
    shapes: tuple[str, ...] = field(
        default=("cc0", "permissive", "abstract"),
        metadata=doc("Names of the files of the pack of shapes. Each part of a shape is given a material."),
    )
    without: tuple[str, ...] = field(
        default=("brick part",), metadata=doc("Categories of the pack of shapes that are left out.")
    )
    shape_draws: int = field(
        default=1, metadata=doc("Number of variations of each shape, with other materials.", low=1, high=1000)
    )
    objects_per_shard: int = field(
        default=32, metadata=doc("Number of objects whose pictures share one file (shard).", low=1, high=1000)
    )
    held_out_every: int = field(
        default=16, metadata=doc("One object in this many is never learned from.", low=2, high=1000)
    )
