"""Overlap of solids whose volumes are known."""

from __future__ import annotations

import numpy as np
import pytest
from solids import ball, box, flipped, holed, moved, nothing, shifted, together, torus, turn

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.volume import Overlap, Solid, overlap
from sparse_recon.types import TriangleMesh

POINTS = 50_000


def between(predicted: TriangleMesh, true: TriangleMesh, seed: int = 0, count: int = POINTS) -> Overlap:
    return overlap(Solid.of(predicted, "answer"), Solid.of(true, "truth"), count, seed)


@pytest.mark.parametrize(
    ("solid", "volume_m3"),
    [
        (ball(0.05), 4 / 3 * np.pi * 0.05**3),
        (box((0.1, 0.06, 0.08)), 0.1 * 0.06 * 0.08),
        (torus(0.05, 0.015), 2 * np.pi**2 * 0.05 * 0.015**2),
        (moved(box((0.1, 0.06, 0.08)), turn(3)), 0.1 * 0.06 * 0.08),
    ],
    ids=["ball", "box", "torus", "turned box"],
)
def test_volume_of_a_solid_is_known_to_half_a_percent(solid, volume_m3):
    both = between(solid, solid)
    assert both.true_m3 == pytest.approx(volume_m3, rel=0.005)
    assert both.predicted_m3 == both.true_m3
    assert both.iou == 1.0 and both.missed == both.wasted == both.iou_error == 0.0


@pytest.mark.parametrize("ratio", [0.5, 0.8, 0.95])
def test_ball_in_a_ball_overlaps_by_the_cube_of_the_radii(ratio):
    result = between(ball(0.05 * ratio), ball(0.05))
    assert result.iou == pytest.approx(ratio**3, abs=3 * result.iou_error)
    assert result.missed == pytest.approx(1 - ratio**3, abs=3 * result.iou_error) and result.wasted == 0.0
    other = between(ball(0.05), ball(0.05 * ratio))
    assert other.missed == 0.0
    assert other.wasted == pytest.approx(1 / ratio**3 - 1, rel=0.05)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.9])
def test_shifted_boxes_overlap_by_what_they_share(share):
    result = between(shifted(box(), (0.1 * share, 0, 0)), box())
    assert result.iou == pytest.approx((1 - share) / (1 + share), abs=0.01)
    assert result.missed == pytest.approx(share, abs=0.01) and result.wasted == pytest.approx(share, abs=0.01)


def test_solids_apart_do_not_overlap():
    result = between(ball(0.02, (0.2, 0, 0)), ball(0.02))
    assert result.iou == 0.0 and result.missed == 1.0 and result.wasted == pytest.approx(1.0, abs=0.1)


def test_estimates_scatter_less_than_their_standard_error():
    results = [between(ball(0.04), ball(0.05), seed, 10_000) for seed in range(12)]
    assert 0.0 < np.std([r.iou for r in results]) < np.mean([r.iou_error for r in results]) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_moving_everything_changes_no_more_than_sampling(seed):
    T = turn(seed)
    here = between(box(), ball(0.045))
    there = between(moved(box(), T), moved(ball(0.045), T))
    assert there.iou == pytest.approx(here.iou, abs=3 * np.hypot(here.iou_error, there.iou_error))
    assert there.missed == pytest.approx(here.missed, abs=0.01)


def test_two_runs_agree():
    assert between(torus(), ball(), 3, 5000) == between(torus(), ball(), 3, 5000) != between(torus(), ball(), 4, 5000)


def test_winding_and_order_of_faces_do_not_matter():
    order = np.random.default_rng(0).permutation(len(box().faces))
    shuffled = TriangleMesh(box().vertices_world, flipped(box()).faces[order])
    assert between(shuffled, ball()) == between(box(), ball())


def test_closed_in_cavity_is_no_volume():
    hollow = together(ball(0.05), flipped(ball(0.04)))
    result = between(hollow, ball(0.05))
    assert result.missed == pytest.approx(0.8**3, abs=0.01) and result.wasted == 0.0


def test_small_hole_changes_hardly_anything():
    result = between(holed(ball(), (0, 0, 0.05), 0.008), ball())
    assert result.refusal == "" and result.iou > 0.995


@pytest.mark.parametrize("hole_m", [0.04, 0.0707], ids=["large hole", "half a ball"])
def test_open_mesh_has_no_volume_but_a_sentence(hole_m):
    result = between(holed(ball(), (0, 0, 0.05), hole_m), ball())
    assert np.isnan([result.iou, result.iou_error, result.missed, result.wasted, result.predicted_m3]).all()
    assert "answer is not closed" in result.refusal and "open edges" in result.refusal


def test_open_truth_is_named():
    assert "truth is not closed" in between(ball(), holed(ball(), (0, 0, 0.05), 0.07)).refusal


def test_nothing_has_no_volume_but_a_sentence():
    result = between(nothing(), ball())
    assert np.isnan(result.iou) and result.refusal == "answer is empty and has no volume"


def test_sheet_holds_nothing():
    sheet = TriangleMesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32) * 0.1, np.array([[0, 1, 2]], np.int32))
    result = between(sheet, sheet)
    assert np.isnan(result.iou) and result.points < 2 * POINTS


def test_vertices_that_are_not_finite_are_refused():
    broken = ball().vertices_world.copy()
    broken[7] = np.inf
    with pytest.raises(InputError, match="answer: 1 of") as caught:
        Solid.of(TriangleMesh(broken, ball().faces), "answer")
    assert caught.value.code == ErrorCode.MESH_INVALID
