"""What a method answers, in the form in which all methods are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sparse_recon.types import Bool, CompletedObject, Float32, Provenance, SurfaceHypothesis, TriangleMesh, UInt8


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer of one method to one case; world frame, metres.

    Attributes
    ----------
    surface : best estimate of the surface; None where the answer is points alone.
    points_world : (N, 3) float32, published points; the answer where there is no surface.
    normals_world : (N, 3) float32, outward unit normals of the points; None where a method has none.
    inferred : (N,) bool, which points nobody measured.
    confidence : (N,) float32, claimed probability that a point is within 5 mm; None where a method claims nothing.
    radius90_m : 90 % of the inferred surface is claimed to lie within this distance.
    conservative : surface claimed to cover the object, for collision checking.
    colors : (N, 3) uint8 sRGB of the points.
    hypotheses : what the object may look like instead of `surface`.
    timings_s : seconds by stage.
    """

    surface: TriangleMesh | None
    points_world: Float32
    inferred: Bool
    normals_world: Float32 | None = None
    confidence: Float32 | None = None
    radius90_m: float | None = None
    conservative: TriangleMesh | None = None
    colors: UInt8 | None = None
    hypotheses: tuple[SurfaceHypothesis, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, completed: CompletedObject) -> Prediction:
        """Return what the package publishes of an object."""
        return cls(
            surface=completed.nominal,
            points_world=completed.points_world,
            inferred=np.asarray(completed.provenance == Provenance.INFERRED),
            normals_world=completed.normals_world,
            confidence=completed.confidence,
            radius90_m=completed.quality.radius90_m,
            conservative=completed.conservative,
            colors=completed.colors,
            hypotheses=completed.hypotheses,
            timings_s=completed.quality.timings_s,
        )
