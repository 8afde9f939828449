"""Parameters of what is observed: objects, and the frames that show them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.parameters import Checked, doc


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
