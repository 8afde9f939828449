"""A field fitted to pictures without depth, and the depth and confidence read from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from unittest import mock

import numpy as np
import pytest
import torch
from studio import studio

from sparse_recon.completion import Completion
from sparse_recon.config.model_config import FitConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import CancelledError, ConfigError, ErrorCode, ModelError
from sparse_recon.evidence import Evidence
from sparse_recon.fuse.imagined import _fused, imagined_field, is_cut
from sparse_recon.fuse.mesh import isosurface
from sparse_recon.fuse.radiance import depth as radiance_depth
from sparse_recon.fuse.radiance import fit as radiance_fit
from sparse_recon.fuse.radiance.agreement import (
    NAMES,
    WITH_PICTURES,
    WITHOUT_PICTURES,
    AgreementFeatures,
    confidence_of,
)
from sparse_recon.fuse.radiance.depth import Placed, depth_views
from sparse_recon.fuse.radiance.field import RadianceField
from sparse_recon.fuse.radiance.fit import fit
from sparse_recon.fuse.radiance.pixels import pixels_of
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances
from sparse_recon.types import GeneratedView, SurfaceField

CONFIG = SessionConfig(fit=FitConfig(iterations=100, grid=48, rays=1200, views=8))
SHORT = FitConfig(iterations=4, grid=24, rays=200)


def evidence(cells: int = 48) -> Evidence:
    shown = studio()
    return Evidence.of(shown.observed(), VoxelGrid.cube(cells, shown.object_frame.half_side_m), CONFIG.evidence)


@dataclass
class Imagination:
    """What imagined_field made of the pictures, on the way and at the end."""

    told: list[tuple[int, int]]
    field: RadianceField
    views: tuple[GeneratedView, ...]
    surface: SurfaceField


@lru_cache(maxsize=1)
def imagination() -> Imagination:
    """Imagine once for all tests that look at the result; field and depth views are kept on their way."""
    kept, told = {}, []

    def keeping(module, name):
        made = getattr(module, name)
        return mock.patch.object(module, name, lambda *given, **more: kept.setdefault(name, made(*given, **more)))

    with keeping(radiance_fit, "fit"), keeping(radiance_depth, "depth_views"):
        surface = imagined(on_step=lambda step, steps: told.append((step, steps)))
    return Imagination(told, kept["fit"], kept["depth_views"], surface)


def f_score_2pct(surface) -> float:
    shown = studio()
    vertices, faces = isosurface(surface.sdf_m, evidence().grid)
    found = surface_distances(
        Surface.of_mesh(replace(shown.truth, vertices_world=vertices, faces=faces), 4000, 0),
        Surface.of_mesh(shown.truth, 4000, 0),
    )
    return found.f_score(0.02 * float(np.linalg.norm(shown.shape.size_m)))


def imagined(config=CONFIG, views=None, **more):
    completion = Completion("oracle", 0, views=views or studio().generated())
    return imagined_field(completion, studio().observed(), evidence(), config, **more)


def test_pictures_without_depth_become_geometry_far_beyond_their_outlines():
    surface = imagination().surface
    outlines = imagined(replace(CONFIG, fit=replace(CONFIG.fit, iterations=0)))
    steps = CONFIG.fit.iterations
    assert imagination().told == [(k + 1, steps) for k in range(steps)]
    assert f_score_2pct(surface) > 0.9
    assert f_score_2pct(surface) > f_score_2pct(outlines) + 0.2
    assert not is_cut(surface, studio().object_frame)


def test_depth_is_metric_and_right():
    right, total = 0, 0
    for view in imagination().views:
        _, mask, depth_m = studio().shot(view.frame.intrinsics, view.frame.T_world_cam)
        both = view.mask & mask
        assert (view.mask & mask).sum() > 0.8 * (view.mask | mask).sum()
        right += int((np.abs(view.frame.depth_m - depth_m)[both] < 0.005).sum())
        total += int(both.sum())
    assert right > 0.65 * total


def test_confidence_tells_right_from_wrong():
    confidence, error = [], []
    for view in imagination().views:
        _, _, depth_m = studio().shot(view.frame.intrinsics, view.frame.T_world_cam)
        confidence.append(view.confidence[view.mask])
        error.append(np.nan_to_num(np.abs(view.frame.depth_m - depth_m)[view.mask], nan=0.1))
        assert view.confidence.dtype == np.float32 and (view.confidence[~view.mask] == 0).all()
    confidence, right = np.concatenate(confidence), np.concatenate(error) < 0.005
    sure = confidence > np.median(confidence)
    assert right[sure].mean() > right[~sure].mean() + 0.05
    assert abs(confidence.mean() - right.mean()) < 0.15


def test_confidence_falls_with_every_reason_for_doubt():
    none = AgreementFeatures(*(np.zeros((1, 1), np.float32) for _ in NAMES))
    for with_pictures, coefficients in ((True, WITH_PICTURES), (False, WITHOUT_PICTURES)):
        assert all(c >= 0 for c in coefficients[1:])
        best = float(confidence_of(none, with_pictures)[0, 0])
        worse = AgreementFeatures(*(np.ones((1, 1), np.float32) for _ in NAMES))
        assert 0.0 < float(confidence_of(worse, with_pictures)[0, 0]) < best < 1.0


def with_views(count: int) -> SessionConfig:
    return replace(CONFIG, fit=replace(CONFIG.fit, views=count))


def test_views_of_one_field_do_not_make_each_other_surer():
    with mock.patch.object(radiance_fit, "fit", lambda *given, **more: imagination().field):
        few, many = (imagined(with_views(n), studio().generated()[:4]) for n in (2, 16))
    near = (np.abs(few.sdf_m) < 0.004) & (np.abs(many.sdf_m) < 0.004)
    assert np.median(many.sigma_m[near]) > 0.7 * np.median(few.sigma_m[near])


def test_views_with_depth_are_not_fitted():
    told, made = [], []
    for view in studio().generated():
        _, _, depth_m = studio().shot(view.frame.intrinsics, view.frame.T_world_cam)
        depth_m = np.where(view.mask, depth_m, np.float32(np.nan))
        made.append(replace(view, frame=replace(view.frame, depth_m=depth_m)))
    surface = imagined(views=tuple(made), on_step=lambda step, steps: told.append(step))
    assert not told and f_score_2pct(surface) > 0.9


def test_measured_depth_teaches_the_field():
    pixels = pixels_of(studio().generated()[:1], studio().observed().views, studio().object_frame)
    first, second = pixels.first[1], pixels.first[2]
    assert torch.isnan(pixels.depth[:first]).all()
    seen = pixels.inside[first:second] == 1
    rays, depth = pixels.rays[slice(int(first), int(second))], pixels.depth[first:second]
    points = (rays.origins + depth[:, None] * rays.directions)[seen]
    truth = Surface.of_mesh(studio().truth, 4000, 0)
    off_m, _ = truth.nearest(points.numpy() * studio().object_frame.half_side_m)
    assert off_m.max() < 1e-4


def test_the_same_seed_gives_the_same_field():
    state = torch.get_rng_state()
    one, two, other = (fit(studio().generated(), studio().observed(), evidence(), SHORT, seed) for seed in (1, 1, 2))
    assert torch.equal(one.raw, two.raw) and not torch.equal(one.raw, other.raw)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_thin_is_possible_at_half_the_resolution():
    rod = np.zeros((17, 17, 17), bool)
    rod[7, 9, 2:16] = True
    coarse = radiance_fit._halved(rod)
    assert coarse.shape == (9, 9, 9) and np.argwhere(coarse).tolist() == [[3, 4, z] for z in range(1, 8)]
    assert radiance_fit._halved(~rod).all()


def test_a_fit_that_ends_early_is_as_fine_and_as_empty():
    late = fit(studio().generated(), studio().observed(), evidence(), SHORT, 0, deadline_passed=lambda: True)
    whole = fit(studio().generated(), studio().observed(), evidence(), SHORT, 0)
    assert late.grid == whole.grid == SHORT.grid
    never = whole.raw < -12
    assert never.any() and (late.raw[never] < -12).all()


def test_a_cancel_ends_it():
    def stop() -> None:
        raise CancelledError(ErrorCode.CANCELLED, "cancelled")

    with pytest.raises(CancelledError):
        imagined(checkpoint=stop)


def test_being_late_ends_it_with_what_there_is():
    told, config = [], replace(CONFIG, fit=replace(SHORT, iterations=100, views=0))
    imagined(config, on_step=lambda step, steps: told.append(step), deadline_passed=lambda: len(told) >= 3)
    assert told == [1, 2, 3]


def test_pictures_of_nothing_are_a_failure_of_the_model():
    blank = tuple(replace(view, mask=np.zeros_like(view.mask)) for view in studio().generated())
    with pytest.raises(ModelError, match="masks are empty") as failure:
        imagined(views=blank)
    assert failure.value.code == ErrorCode.MODEL_FAILED


def test_one_blank_picture_among_others_teaches_nothing():
    views = studio().generated()
    blank = replace(views[0], mask=np.zeros_like(views[0].mask))
    assert (fit((blank, *views[1:]), studio().observed(), evidence(), SHORT, 0).raw > 0).any()


def test_outlines_without_common_space_are_a_failure_of_the_model():
    views = studio().generated()
    shifted = []
    for number, view in enumerate(views):
        mask = np.zeros_like(view.mask)
        mask[2:6, (2 if number % 2 else -6) : (6 if number % 2 else -2)] = True
        shifted.append(replace(view, mask=mask))
    with pytest.raises(ModelError, match="do not intersect"):
        imagined(views=tuple(shifted))


def test_no_views_at_all_are_a_failure_of_the_model():
    with pytest.raises(ModelError) as failure:
        imagined_field(Completion("lazy", 0), studio().observed(), evidence(), CONFIG)
    assert failure.value.code == ErrorCode.MODEL_FAILED


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match="CUDA"):
        fit(studio().generated(), studio().observed(), evidence(), replace(SHORT, device="cuda"), 0)


def test_depth_is_no_surer_than_the_pictures_it_comes_from():
    shown = studio()
    unsure = tuple(replace(v, confidence=np.full(v.mask.shape, 0.3, np.float32)) for v in shown.generated()[:2])
    placed = Placed(imagination().field, shown.object_frame.half_side_m, np.zeros(3))
    views = depth_views(placed, shown.object_frame, 0, "oracle", 0, unsure)
    assert len(views) == len(unsure)
    assert max(float(v.confidence.max()) for v in views) == pytest.approx(0.3)
    assert max(float(v.confidence.max()) for v in imagination().views) > 0.6


def test_an_empty_field_is_a_failure_of_the_model():
    field = RadianceField(3, 16)
    with torch.no_grad():
        field.raw.fill_(-30.0)
    with pytest.raises(ModelError, match="empty") as failure:
        depth_views(Placed(field, 0.1, np.zeros(3)), studio().object_frame, 4, "oracle", 0)
    assert failure.value.code == ErrorCode.MODEL_FAILED


def test_nothing_is_imagined_where_no_outline_allows_it():
    """Whatever depth images of the field say: they are of few pixels, and haze stops their rays."""
    fitted, grid = imagination().views, evidence().grid
    empty = grid.centres()[..., 0] > 0.3 * studio().observed().object_frame.half_side_m * 0.5
    free, bounded = (_fused(fitted, evidence(), True, where, lambda: None) for where in (None, empty))
    assert ((free.sdf_m < 0) & empty).any()
    assert (bounded.sdf_m[empty] > 0).all()
    np.testing.assert_array_equal(bounded.sdf_m[~empty], free.sdf_m[~empty])
