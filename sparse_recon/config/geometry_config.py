"""Parameters of geometry: what views prove, how they are brought together, what is made of both."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.config.parameters import Checked, doc


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
    hypothesis_faces: int = field(
        default=3000,
        metadata=doc(
            "Largest triangle count of each published hypothesis. Hypotheses that cannot be told in so many are left "
            "out, and a warning says so.",
            low=100,
            high=100_000,
        ),
    )
    pose_error_m: float = field(
        default=0.0,
        metadata=doc(
            "Distance by which wrong camera poses may put an object off, by which the conservative collision mesh is "
            "grown on all sides, into free space too. 0 trusts the poses.",
            unit="m",
            low=0.0,
            high=0.05,
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
