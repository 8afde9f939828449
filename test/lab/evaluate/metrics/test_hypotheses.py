"""Hypotheses whose distances from each other and from the truth are known."""

from __future__ import annotations

import numpy as np
import pytest
from solids import ball, box, shifted

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.hypotheses import (
    energy_score_m,
    hidden_solid,
    mean_pairwise_chamfer_m,
    outside_all,
    reference_points,
    signed_distances_m,
)
from sparse_recon.lab.evaluate.metrics.mesh_query import MeshQuery
from sparse_recon.lab.evaluate.metrics.surface import Surface

HALF = np.full(2, 0.5)


def surface(mesh) -> Surface:
    return Surface.of_mesh(mesh, 4000, 1)


def test_hidden_solid_is_the_part_behind_what_nobody_saw():
    true = surface(box((0.1, 0.1, 0.1)))
    seen = true.points_world[:, 0] > 0.0
    hidden = hidden_solid(true, true.query, seen, 20_000, 0)
    assert len(hidden) == pytest.approx(10_000, rel=0.05)
    assert hidden[:, 0].max() < 0.01
    assert len(hidden_solid(true, true.query, np.ones(len(seen), bool), 20_000, 0)) == 0


def test_points_outside_all_are_those_that_no_solid_holds():
    points = np.array([[-0.06, 0, 0], [0, 0, 0], [0.06, 0, 0], [0.2, 0, 0]], np.float32)
    left, right = (MeshQuery(shifted(ball(0.05), (x, 0, 0))) for x in (-0.04, 0.04))
    assert outside_all(points, [left]) == 0.5
    assert outside_all(points, [left, right]) == 0.25
    assert outside_all(points, []) == 1.0
    assert np.isnan(outside_all(points[:0], [left]))


def test_pairwise_distance_is_the_mean_over_pairs():
    balls = [surface(ball(r)) for r in (0.04, 0.05, 0.07)]
    assert mean_pairwise_chamfer_m(balls) == pytest.approx((0.01 + 0.02 + 0.03) / 3, abs=2e-4)
    assert np.isnan(mean_pairwise_chamfer_m(balls[:1]))


def test_reference_points_fill_the_box_and_a_tenth_around_it():
    points = reference_points(box((0.1, 0.06, 0.08)), 8000, 0)
    assert np.ptp(points, axis=0) == pytest.approx([0.12, 0.072, 0.096], rel=0.02)
    assert len(points) == pytest.approx(8000, rel=0.1)


def test_signed_distances_are_negative_inside_and_limited():
    points = np.array([[0, 0, 0], [0.045, 0, 0], [0.06, 0, 0], [0.5, 0, 0]], np.float32)
    found = signed_distances_m(MeshQuery(ball(0.05)), points, 0.02)
    np.testing.assert_allclose(found, [-0.02, -0.005, 0.01, 0.02], atol=2e-5)


def test_the_truth_scores_nothing_and_one_draw_its_distance():
    true = np.array([0.01, -0.01, 0.02])
    assert energy_score_m(np.stack([true, true]), HALF, true) == 0.0
    assert energy_score_m((true + 0.003)[None], np.ones(1), true) == pytest.approx(0.003)


def test_draws_on_both_sides_beat_draws_on_one():
    """Off by 3 mm to either side: 3 mm off, 6 mm apart; both on the same side: as far off and not apart."""
    true = np.zeros(4)
    assert energy_score_m(np.array([[0.003] * 4, [-0.003] * 4]), HALF, true) == pytest.approx(0.0)
    assert energy_score_m(np.array([[0.003] * 4, [0.003] * 4]), HALF, true) == pytest.approx(0.003)


def test_who_claims_what_he_believes_scores_best_on_average():
    rng = np.random.default_rng(0)
    truths, narrow, right, wide = (rng.normal(0, s, (4000, 2, 1)) for s in (1.0, 0.2, 1.0, 3.0))
    means = [
        np.mean([energy_score_m(pair, HALF, truth[0]) for pair, truth in zip(draws, truths, strict=True)])
        for draws in (narrow, right, wide)
    ]
    assert means[1] < means[0] - 0.05 and means[1] < means[2] - 0.05


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="weights") as caught:
        energy_score_m(np.zeros((3, 5)), HALF, np.zeros(5))
    assert caught.value.code is ErrorCode.USAGE
