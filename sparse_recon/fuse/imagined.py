"""A signed distance field from imagined views: they are cameras with a confidence, and fused as cameras are."""

from __future__ import annotations

import numpy as np

from sparse_recon.config import EvidenceConfig
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.fuse.confidence import CORRECT_WITHIN_M
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Completion, Float32, GeneratedView, ObjectFrame, ObjectView, SurfaceField

MIN_CONFIDENCE = 0.05


def imagined_field(
    completion: Completion, object_frame: ObjectFrame, grid: VoxelGrid, config: EvidenceConfig
) -> SurfaceField:
    """Return the field that a completer hands over, or fuse its views into one.

    Views vote: each carves what it sees through and carries surface where it sees it, weighted by confidence.
    """
    if completion.surface is not None:
        return completion.surface
    evidence = Evidence.empty(object_frame, grid, config)
    for view in completion.views:
        evidence.add(_as_observation(view))
    bounds = Bounds.of(evidence)
    tsdf = evidence.tsdf_m()
    sdf = np.where(evidence.weight > 0, tsdf, bounds.lower_m).astype(np.float32)
    with np.errstate(divide="ignore"):
        error = np.where(evidence.weight > 0, 1e-3 / np.sqrt(evidence.weight), 0.5 * bounds.upper_m)
    return SurfaceField(sdf, error.astype(np.float32))


def _as_observation(view: GeneratedView) -> ObjectView:
    """Turn a view's confidence P(|e| < 5 mm) into the depth sigma that a camera of the same reliability would have."""
    confidence: Float32 = np.clip(view.confidence, MIN_CONFIDENCE, 0.999).astype(np.float32)
    sigma = (CORRECT_WITHIN_M / -np.log(1.0 - confidence)).astype(np.float32)
    depth = view.frame.depth_m
    occluder = np.zeros(view.mask.shape, bool) if depth is None else ~view.mask & (depth > 0)
    return ObjectView(view.frame, view.mask, occluder, sigma)
