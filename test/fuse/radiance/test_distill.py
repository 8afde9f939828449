"""Score distillation: its terms as published, and an oracle that it must believe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from studio import OracleScore, studio

from sparse_recon.completion import Completion
from sparse_recon.config.model_config import DistillConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import CancelledError, ErrorCode, ModelError
from sparse_recon.evidence import Evidence
from sparse_recon.fuse.imagined import imagined_field
from sparse_recon.fuse.mesh import isosurface, without_small_components
from sparse_recon.fuse.radiance.distill import Distillation, distil
from sparse_recon.fuse.radiance.terms import (
    emptiness,
    input_view_loss,
    score_gradient,
    score_loss,
    smoothness,
    weights_at,
)
from sparse_recon.fuse.radiance.viewpoints import random_viewpoints, towards_origin
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.lab.evaluate.metrics.surface import Surface, surface_distances

# Weights for pictures of colours; `benchmarks/distillation.py` says why.
COLORS = DistillConfig(
    iterations=60,
    learning_rate=0.15,
    grid=32,
    view_weight=2500.0,
    near_view_weight=10.0,
    smooth_weight=10.0,
    emptiness_weight=300.0,
    emptiness_growth=2.0,
    solidity_weight=600.0,
)
SHORT = replace(COLORS, iterations=4, grid=16)


def test_weights_are_the_published_ones():
    first, last = (weights_at(iteration, DistillConfig()) for iteration in (0, 9999))
    table = {"score": 1.0, "view": 1e4, "view_smoothness": 1e3, "near_view": 1e4, "emptiness": 0.0, "solidity": 0.0}
    assert first == {**table, "smoothness": 0.0}
    assert last == {**table, "smoothness": 1e4}
    assert DistillConfig().learning_rate == 0.05 and DistillConfig().grid == 100


def test_depth_counts_from_half_time_on():
    config = replace(SHORT, iterations=10)
    counts = [weights_at(iteration, config)["smoothness"] > 0 for iteration in range(10)]
    assert counts == [False] * 5 + [True] * 5
    values = [Distillation(OracleScore(studio()), config, 0).iterate(iteration) for iteration in (4, 5)]
    assert ["smoothness" in value for value in values] == [False, True]


def test_the_gradient_of_the_score_is_what_is_published():
    """On a constant field the rendered picture gets exactly -(D - y) / sigma."""
    score = OracleScore(studio())
    distillation = Distillation(score, SHORT, 0)
    with torch.no_grad():
        distillation.field.features.fill_(0.3)
    picture, _ = distillation.picture(score.T_obj_input)
    picture.retain_grad()
    denoised = torch.rand(picture.shape, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.7])
    score_loss(picture, denoised, sigma).backward()
    expected = -(denoised - picture.detach()) / 0.7
    assert (picture.grad - expected).abs().max() < 1e-6
    assert torch.equal(picture.grad, score_gradient(picture, denoised, sigma))
    assert distillation.field.raw.grad.abs().max() > 0


def test_what_is_empty_is_skipped_from_every_tenth_iteration_on():
    score = OracleScore(studio())
    distillation = Distillation(score, replace(SHORT, iterations=12), 0)
    with torch.no_grad():
        distillation.field.raw.fill_(-30.0)
        distillation.field.raw[0, 0, 6:10, 6:10, 6:10] = 5.0

    def share_looked_at() -> float:
        _, rendered = distillation.picture(score.T_obj_input)
        return len(rendered.weights) / (len(rendered.opacity) * rendered.max_samples)

    whole = share_looked_at()
    distillation.iterate(0)
    assert share_looked_at() < 0.25 * whole  # the box around six of sixteen voxels an edge, or less of it
    with torch.no_grad():
        distillation.field.raw.fill_(-3.0)
    for iteration in (1, 2):
        distillation.iterate(iteration)
        assert share_looked_at() < 0.25 * whole
    distillation.iterate(10)
    assert share_looked_at() == whole


def test_smoothness_is_the_mean_of_differences_both_ways():
    ramp = torch.arange(5.0)[:, None].expand(5, 5) * 2
    assert float(smoothness(ramp)) == pytest.approx(1.0)


def test_the_input_view_counts_as_published():
    """Mean square in [-1, 1] of what the decoder says, not clamped, times 10,000."""

    class Glaring(OracleScore):
        def decoded(self, pictures):
            return 3.0 * pictures - 1.0

    score = Glaring(studio())
    distillation = Distillation(score, replace(SHORT, view_weight=1e4, smooth_weight=0.0), 0)
    value = distillation.iterate(0)["view"]

    fresh = Distillation(score, SHORT, 0)
    picture, _ = fresh.picture(score.T_obj_input)
    decoded = (2.0 * score.decoded(picture)[0] - 1.0).detach().double()
    image = 2.0 * score.conditioning_image.double() - 1.0
    assert float(decoded.max()) > 1.0 or float(decoded.min()) < -1.0
    assert value == pytest.approx(1e4 * float((decoded - image).square().mean()), rel=1e-5)

    far = torch.full((3, 4, 4), 5.0, requires_grad=True)
    input_view_loss(far, torch.ones(3, 4, 4)).backward()
    assert far.grad is not None and bool((far.grad > 0).all())  # learns where a clamp would be flat


def test_emptiness_prefers_one_sample_to_fog():
    class Seen:
        opacity, max_samples = torch.ones(1), 10

    solid, fog = Seen(), Seen()
    solid.weights, fog.weights = torch.tensor([1.0]), torch.full((10,), 0.1)
    assert float(emptiness(solid, 10.0)) == pytest.approx(np.log(11.0) / 10)
    assert float(emptiness(solid, 10.0)) < float(emptiness(fog, 10.0))


def test_every_term_that_counts_is_told():
    values = Distillation(OracleScore(studio()), SHORT, 0).iterate(3)
    assert set(values) == {"score", "view", "view_smoothness", "near_view", "smoothness", "emptiness", "solidity"}
    without = replace(SHORT, near_view_weight=0.0, view_weight=0.0, smooth_weight=0.0, solidity_weight=0.0)
    assert set(Distillation(OracleScore(studio()), without, 0).iterate(3)) == {"score", "emptiness"}


def test_cameras_stand_where_the_score_wants_them():
    eyes = random_viewpoints(500, (1.8, 2.2), (-0.5, 2.2), torch.Generator().manual_seed(0))
    distance = np.linalg.norm(eyes, axis=1)
    assert len(eyes) == 500 and distance.min() > 1.8 and distance.max() < 2.2
    assert eyes[:, 2].min() > -0.5 and eyes[:, 2].max() > 1.5
    forward = towards_origin(eyes)[:, :3, 2]
    assert np.allclose(forward, -eyes / distance[:, None])


def test_the_same_seed_gives_the_same_field():
    state = torch.get_rng_state()
    one, two, other = (distil(OracleScore(studio()), SHORT, seed) for seed in (3, 3, 4))
    assert torch.equal(one.raw, two.raw) and torch.equal(one.features, two.features)
    assert not torch.equal(one.raw, other.raw)
    assert torch.equal(torch.get_rng_state(), state)


def test_steps_are_told_and_a_cancel_ends_it():
    told = []
    distil(OracleScore(studio()), SHORT, 0, lambda step, steps: told.append((step, steps)))
    assert told == [(n, 4) for n in range(1, 5)]

    def stop() -> None:
        raise CancelledError(ErrorCode.CANCELLED, "cancelled")

    with pytest.raises(CancelledError):
        distil(OracleScore(studio()), SHORT, 0, checkpoint=stop)


def test_being_late_ends_it_with_what_there_is():
    told = []
    field = distil(
        OracleScore(studio()), SHORT, 0, lambda step, steps: told.append(step), deadline_passed=lambda: len(told) >= 2
    )
    assert told == [1, 2] and field.channels == 3


def test_a_score_of_nan_is_a_failure_of_the_model():
    class Broken(OracleScore):
        def denoised(self, noisy, sigma, T_obj_cam):
            return noisy * float("nan")

    with pytest.raises(ModelError, match="not finite") as failure:
        distil(Broken(studio()), SHORT, 0)
    assert failure.value.code == ErrorCode.MODEL_FAILED


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"background": torch.ones(3, 5, 5)}, "background"),
        ({"sigmas": np.array([])}, "sigmas"),
        ({"radius": (2.0, 1.0)}, "radius"),
        ({"height": (3.0, 4.0)}, "height"),
        ({"unit_m": 0.0}, "unit_m"),
    ],
)
def test_a_score_that_contradicts_itself_is_refused(change, word):
    score = OracleScore(studio())
    for name, value in change.items():
        setattr(score, name, value)
    with pytest.raises(ModelError, match=word):
        distil(score, SHORT, 0)


def test_latents_are_rendered_as_they_are():
    class Latents(OracleScore):
        def __init__(self, shown):
            super().__init__(shown)
            self.channels, self.background = 4, torch.full((4, self.size, self.size), -1.5)

        def denoised(self, noisy, sigma, T_obj_cam):
            return noisy - noisy.mean()

        def decoded(self, pictures):
            return torch.sigmoid(pictures[:, :3])

    distillation = Distillation(Latents(studio()), SHORT, 0)
    distillation.iterate(0)
    picture, _ = distillation.picture(distillation.score.T_obj_input)
    assert picture.shape == (1, 4, 24, 24) and float(picture.detach().min()) < -0.5


def test_an_oracle_is_distilled_into_the_object():
    shown, told = studio(), []
    config = replace(SessionConfig(), distill=COLORS)
    observed = shown.observed()
    grid = VoxelGrid.cube(48, shown.object_frame.half_side_m)
    surface = imagined_field(
        Completion("oracle", 0, score=OracleScore(shown)),
        observed,
        Evidence.of(observed, grid, config.evidence),
        config,
        lambda step, steps: told.append(step),
    )
    assert told[-1] == COLORS.iterations
    vertices, faces = without_small_components(*isosurface(surface.sdf_m, grid), 0.02)  # as fusion does
    found = surface_distances(
        Surface.of_mesh(replace(shown.truth, vertices_world=vertices, faces=faces), 4000, 0),
        Surface.of_mesh(shown.truth, 4000, 0),
    )
    # A pixel and a voxel of the field are 13 mm there, 4 % of the diagonal 11 mm; what does not learn has under 0.35.
    diagonal_m = float(np.linalg.norm(shown.shape.size_m))
    assert found.f_score(0.04 * diagonal_m) > 0.65
