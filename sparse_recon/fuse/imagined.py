"""A signed distance field from imagined views: they are cameras with a confidence, and fused as cameras are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sparse_recon.completion import Completion
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.evidence.volume import UNIT_SIGMA_M
from sparse_recon.fuse.confidence import CORRECT_WITHIN_M
from sparse_recon.types import Bool, Float32, GeneratedView, ObjectFrame, ObjectView, ObjectViews, SurfaceField

MIN_CONFIDENCE = 0.05
# Of a side of the cube; 12 voxels of 64 x 64. Less is noise that the border cuts.
CUT_SHARE = 0.003
# As large as `evidence.slack_sigma` can be.
FAR_SIGMA = np.float32(5.0)

OnStep = Callable[[int, int], None]


def imagined_field(
    completion: Completion,
    views: ObjectViews,
    evidence: Evidence,
    config: SessionConfig,
    on_step: OnStep = lambda step, steps: None,
    checkpoint: Callable[[], None] = lambda: None,
    deadline_passed: Callable[[], bool] = lambda: False,
) -> SurfaceField:
    """Return the field that a completer hands over, or make one, on the grid of `evidence`, of its views or score.

    Each view carves what it sees through; where several see surface it is their mean, weighted by confidence. What no
    view sees into counts as solid. Views without depth get it from a radiance field that is fitted to them and to the
    observed `views` (`fit`), and what their outlines do not allow is empty; with `fit.iterations` 0 they carve with
    their outlines alone. A score or a target is distilled into such a field first (`distill`).

    Parameters
    ----------
    on_step : called with the steps of a fit or distillation done and wanted; it may raise.
    checkpoint : called at least every 0.3 s but for what a score itself takes; it may raise to cancel.
    deadline_passed : asked after each step; True ends a fit or distillation with what it has.

    Raises
    ------
    ModelError
        MODEL_FAILED if there is neither a field nor a view nor a score, or what there is does not make a field.
    ConfigError
        If `fit.device` is not there.
    """
    if completion.surface is not None:
        return completion.surface
    empty = None
    if completion.score is not None or completion.target is not None:
        made, read = _distilled(completion, views, config, on_step, checkpoint, deadline_passed), True
    elif not completion.views:
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            f"{completion.model} returned neither a surface field, nor a view, nor a score, nor a target; this "
            "is a bug of the model, report it",
        )
    else:
        without_depth = any(view.frame.depth_m is None for view in completion.views)
        made, read = completion.views, without_depth and config.fit.iterations > 0
        if read:
            made, empty = _fitted(completion, views, evidence, config, on_step, checkpoint, deadline_passed)
    return _fused(made, evidence, read, empty, checkpoint)


def _fused(
    views: Sequence[GeneratedView],
    observed: Evidence,
    of_one_field: bool,
    empty: Bool | None,
    checkpoint: Callable[[], None],
) -> SurfaceField:
    """Fuse views on the grid of `observed`.

    Views `of_one_field` are wrong together: more of them make nothing surer.

    Parameters
    ----------
    empty : (X, Y, Z) where nothing can be, also where fused depth has a surface; None: not known.
    """
    evidence = Evidence.empty(observed.object_frame, observed.grid, observed.config)
    count = np.zeros(evidence.grid.shape, np.float32)
    for view in views:
        checkpoint()
        before = evidence.weight.copy()
        evidence.add(_as_observation(view, evidence.object_frame))
        count += evidence.weight > before
    bounds = Bounds.of(evidence, checkpoint)
    tsdf = evidence.tsdf_m()
    sdf = np.where(evidence.weight > 0, tsdf, bounds.lower_m).astype(np.float32)
    if empty is not None:
        sdf[empty] = np.maximum(sdf[empty], 0.5 * evidence.grid.voxel_m)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = evidence.weight / count if of_one_field else evidence.weight
        error = np.where(evidence.weight > 0, UNIT_SIGMA_M / np.sqrt(weight), 0.5 * bounds.upper_m)
    return SurfaceField(sdf, error.astype(np.float32))


def _fitted(
    completion: Completion,
    views: ObjectViews,
    evidence: Evidence,
    config: SessionConfig,
    on_step: OnStep,
    checkpoint: Callable[[], None],
    deadline_passed: Callable[[], bool],
) -> tuple[tuple[GeneratedView, ...], Bool]:
    """Return depth views of a field fitted to pictures without depth, beside the views that have depth as they are.

    Also which voxels of `evidence` (X, Y, Z) outlines and free space leave empty.
    """
    from sparse_recon.fuse.radiance.depth import Placed, depth_views
    from sparse_recon.fuse.radiance.fit import fit
    from sparse_recon.fuse.radiance.visual_hull import visual_hull

    field = fit(completion.views, views, evidence, config.fit, completion.seed, on_step, checkpoint, deadline_passed)
    read = depth_views(
        Placed(field, views.object_frame.half_side_m, np.zeros(3)),
        views.object_frame,
        config.fit.views,
        completion.model,
        completion.seed,
        completion.views,
        checkpoint,
    )
    empty = ~visual_hull(completion.views, views.object_frame, evidence, evidence.grid, checkpoint)
    return (*read, *(view for view in completion.views if view.frame.depth_m is not None)), empty


def _distilled(
    completion: Completion,
    views: ObjectViews,
    config: SessionConfig,
    on_step: OnStep,
    checkpoint: Callable[[], None],
    deadline_passed: Callable[[], bool],
) -> tuple[GeneratedView, ...]:
    """Return depth views of a field distilled from a score or towards a target."""
    from sparse_recon.fuse.radiance.depth import Placed, depth_views
    from sparse_recon.fuse.radiance.distill import distil
    from sparse_recon.fuse.radiance.distill_target import distil_target

    if completion.score is not None:
        unit_m = completion.score.unit_m
        field = distil(completion.score, config.distill, completion.seed, on_step, checkpoint, deadline_passed)
    else:
        assert completion.target is not None
        unit_m = completion.target.unit_m
        field = distil_target(completion.target, completion.seed, on_step, checkpoint, deadline_passed)
    return depth_views(
        Placed(field, unit_m, completion.centre_obj),
        views.object_frame,
        config.distill.views,
        completion.model,
        completion.seed,
        checkpoint=checkpoint,
    )


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
    # What a view says of nothing is as sure as what it says of the object, and its slack must not reach into the cube.
    usual_m = np.median(sigma[view.mask]) if view.mask.any() else np.float32(0.0)
    sigma = np.where(view.mask | valid, sigma, usual_m)
    depth_m = np.where(view.mask | valid, frame.depth_m, far_m + FAR_SIGMA * usual_m)
    return ObjectView(replace(frame, depth_m=depth_m), view.mask, ~view.mask & valid, sigma)
