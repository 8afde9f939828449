"""A signed distance field from imagined views: they are cameras with a confidence, and fused as cameras are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparse_recon.config import EvidenceConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.evidence.volume import UNIT_SIGMA_M
from sparse_recon.fuse.confidence import CORRECT_WITHIN_M
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Completion, Float32, GeneratedView, ObjectFrame, ObjectView, SurfaceField

MIN_CONFIDENCE = 0.05
# Of a side of the cube; 12 voxels of 64 x 64. Less is noise that the border cuts.
CUT_SHARE = 0.003


def imagined_field(
    completion: Completion, object_frame: ObjectFrame, grid: VoxelGrid, config: EvidenceConfig
) -> SurfaceField:
    """Return the field that a completer hands over, or fuse its views into one.

    Each view carves what it sees through; where several see surface it is their mean, weighted by confidence. What no
    view sees into counts as solid.

    Raises
    ------
    ModelError
        If there is neither a field nor a view.
    """
    if completion.surface is not None:
        return completion.surface
    if not completion.views:
        raise ModelError(
            ErrorCode.MODEL_FAILED, f"{completion.model} handed over neither a field nor a view; a retry will not help"
        )
    evidence = Evidence.empty(object_frame, grid, config)
    for view in completion.views:
        evidence.add(_as_observation(view, object_frame))
    bounds = Bounds.of(evidence)
    tsdf = evidence.tsdf_m()
    sdf = np.where(evidence.weight > 0, tsdf, bounds.lower_m).astype(np.float32)
    with np.errstate(divide="ignore"):
        error = np.where(evidence.weight > 0, UNIT_SIGMA_M / np.sqrt(evidence.weight), 0.5 * bounds.upper_m)
    return SurfaceField(sdf, error.astype(np.float32))


def is_cut(surface: SurfaceField, object_frame: ObjectFrame) -> bool:
    """Return whether an imagined solid ends at the border of its cube, but for what it stands on.

    The outermost voxels are empty by definition, so that the surface is closed: the next ones tell.
    """
    inside = surface.sdf_m < 0
    n = len(inside)
    sides = [inside[1], inside[-2], inside[:, 1], inside[:, -2], inside[:, :, -2]]
    if object_frame.support_z_m is None:
        sides.append(inside[:, :, 1])
    return max(int(side.sum()) for side in sides) > CUT_SHARE * n * n


def _as_observation(view: GeneratedView, object_frame: ObjectFrame) -> ObjectView:
    """Turn a view's confidence P(|e| < 5 mm) into the depth sigma that a camera of the same reliability would have.

    Nothing but the object is imagined: a background without depth is seen through to the end of the cube.
    """
    confidence: Float32 = np.clip(view.confidence, MIN_CONFIDENCE, 0.999).astype(np.float32)
    sigma = (CORRECT_WITHIN_M / -np.log(1.0 - confidence)).astype(np.float32)
    frame = view.frame
    if frame.depth_m is None:
        return ObjectView(frame, view.mask, np.zeros(view.mask.shape, bool), sigma)
    to_centre = frame.T_world_cam[:3, 3] - object_frame.T_world_obj[:3, 3]
    far_m = np.float32(np.linalg.norm(to_centre) + np.sqrt(3.0) * object_frame.half_side_m)
    valid = frame.depth_m > 0
    depth_m = np.where(view.mask | valid, frame.depth_m, far_m)
    return ObjectView(replace(frame, depth_m=depth_m), view.mask, ~view.mask & valid, sigma)
