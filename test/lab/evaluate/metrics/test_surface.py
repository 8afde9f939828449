"""Distances between surfaces against solids whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
from solids import ball, box, flipped, moved, nothing, shifted, together, torus, turn

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.surface import Surface, SurfaceDistances, surface_distances
from sparse_recon.types import TriangleMesh

SAMPLES = 20_000
CHORD_M = 1.5e-5  # of the polyhedra that stand for round solids


def between(predicted: TriangleMesh, true: TriangleMesh, count: int = SAMPLES) -> SurfaceDistances:
    return surface_distances(Surface.of_mesh(predicted, count, 1), Surface.of_mesh(true, count, 2))


@pytest.mark.parametrize("apart_m", [0.0003, 0.005, 0.02])
@pytest.mark.parametrize(
    ("inner", "outer"),
    [(ball(0.05), lambda d: ball(0.05 + d)), (torus(0.05, 0.015), lambda d: torus(0.05, 0.015 + d))],
    ids=["balls", "tori"],
)
def test_parallel_surfaces_are_as_far_apart_as_they_were_made(inner, outer, apart_m):
    distances = between(outer(apart_m), inner, 5000)
    assert distances.accuracy_mean_m == pytest.approx(apart_m, abs=CHORD_M)
    assert distances.completeness_mean_m == pytest.approx(apart_m, abs=CHORD_M)
    assert distances.chamfer_m == pytest.approx(apart_m, abs=CHORD_M)
    assert distances.f_score(apart_m + 2 * CHORD_M) == 1.0
    assert distances.f_score(apart_m - 2 * CHORD_M) == 0.0


def test_surface_against_itself_has_no_distance_whatever_the_samples():
    for solid in (ball(), box(), torus()):
        distances = between(solid, solid)
        assert distances.chamfer_m < 1e-8
        assert distances.normal_consistency == pytest.approx(
            1.0, abs=2e-3
        )  # within 20 um of an edge, either face is nearest


def test_box_that_is_longer_at_one_end_is_off_by_what_is_added():
    # The end face moved by d lies d off, four strips of width d lie d / 2 off, all else lies on the true box.
    a, b, c, d = 0.1, 0.06, 0.08, 0.01
    distances = between(box((a + d, b, c), (d / 2, 0, 0)), box((a, b, c)))
    area = 2 * ((a + d) * b + (a + d) * c + b * c)
    exact = (b * c * d + 2 * (b + c) * d * d / 2) / area
    # 20 000 samples leave a standard error of 0.5 % of the spread of 2.6 mm.
    assert distances.accuracy_mean_m == pytest.approx(exact, abs=6e-5)
    assert distances.completeness_mean_m == pytest.approx(
        _mean_from_end(b, c, d) * b * c / (2 * (a * b + a * c + b * c)), abs=6e-5
    )


def _mean_from_end(b: float, c: float, d: float) -> float:
    """Mean distance of the covered end face to the longer box: to its sides or its end, whichever is nearer."""
    y, z = np.meshgrid(np.linspace(0, b, 601), np.linspace(0, c, 601))
    return float(np.minimum.reduce([y, b - y, z, c - z, np.full_like(y, d)]).mean())


def test_precision_and_recall_are_of_their_own_sides():
    half = box((0.05, 0.06, 0.08), (-0.025, 0, 0))  # within the true box, but for the cut in the middle
    distances = between(half, box())
    true_area = 2 * (0.1 * 0.06 + 0.1 * 0.08 + 0.06 * 0.08)
    seen = 0.06 * 0.08 + 2 * 0.05 * 0.06 + 2 * 0.05 * 0.08
    recall, precision = seen / true_area, seen / (seen + 0.06 * 0.08)
    # Strips of 0.1 mm beside the cut belong to both.
    assert distances.f_score(1e-4) == pytest.approx(2 * precision * recall / (precision + recall), abs=0.01)


def test_chamfer_distance_is_the_mean_of_both_sides():
    sheet = TriangleMesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2]], np.int32))
    two = together(sheet, shifted(sheet, (0, 0, 0.02)))
    distances = between(sheet, two)
    assert distances.accuracy_mean_m < 1e-8
    # Half of the true samples lie on the sheet that is not there; how many, scatters by 0.7 %.
    assert distances.completeness_mean_m == pytest.approx(0.01, rel=0.02)
    assert distances.chamfer_m == pytest.approx(0.005, rel=0.02)


def test_normals_of_a_turned_face_agree_by_the_cosine():
    # A wedge: the top of a thin plate is tilted by 30 degrees about its middle line.
    plate = box((0.1, 0.1, 1e-4), subdivisions=0)
    T = np.eye(4)
    angle = np.deg2rad(30.0)
    T[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    distances = between(moved(plate, T), plate)
    assert distances.normal_consistency == pytest.approx(np.cos(angle), abs=0.01)


def test_winding_does_not_matter_to_normals():
    assert between(flipped(ball()), ball(), 5000).normal_consistency > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_moving_everything_changes_nothing(seed):
    T = turn(seed)
    predicted, true = box((0.1, 0.07, 0.08)), torus()
    here, there = between(predicted, true, 5000), between(moved(predicted, T), moved(true, T), 5000)
    # Only vertices round differently: 0.1 um at a metre, which sends single samples to a neighbouring face.
    assert there.chamfer_m == pytest.approx(here.chamfer_m, rel=1e-3)
    assert there.normal_consistency == pytest.approx(here.normal_consistency, abs=1e-3)
    assert there.f_score(0.005) == pytest.approx(here.f_score(0.005), abs=1e-3)


def test_order_of_a_cloud_does_not_matter():
    points = Surface.of_mesh(shifted(ball(), (0.003, 0, 0)), 5000, 3).points_world
    true = Surface.of_mesh(ball(), 5000, 4)
    one = surface_distances(Surface(points), true)
    other = surface_distances(Surface(points[np.random.default_rng(0).permutation(len(points))]), true)
    np.testing.assert_array_equal(np.sort(one.accuracy_m), np.sort(other.accuracy_m))
    np.testing.assert_array_equal(one.completeness_m, other.completeness_m)


def test_order_of_faces_does_not_matter_beyond_sampling():
    solid = shifted(box(), (0.004, 0, 0))
    order = np.random.default_rng(0).permutation(len(solid.faces))
    shuffled = TriangleMesh(solid.vertices_world, solid.faces[order])
    assert between(shuffled, box()).chamfer_m == pytest.approx(between(solid, box()).chamfer_m, abs=4e-5)


def test_same_seed_gives_the_same_bits_and_another_seed_other_samples():
    one, two, other = (Surface.of_mesh(torus(), 1000, seed) for seed in (5, 5, 6))
    assert one.points_world.tobytes() == two.points_world.tobytes()
    assert one.points_world.tobytes() != other.points_world.tobytes()
    assert between(ball(), torus(), 1000).accuracy_m.tobytes() == between(ball(), torus(), 1000).accuracy_m.tobytes()


def test_samples_are_uniform_by_area():
    points = Surface.of_mesh(box((0.1, 0.06, 0.08)), SAMPLES, 0).points_world
    on_end = np.abs(np.abs(points[:, 0]) - 0.05) < 1e-6
    assert on_end.mean() == pytest.approx(2 * 0.06 * 0.08 / 0.0376, abs=0.01)


def test_cloud_is_as_complete_as_it_is_dense():
    true = Surface.of_mesh(ball(), SAMPLES, 0)
    cloud = Surface(Surface.of_mesh(ball(), 500, 1).points_world)
    distances = surface_distances(cloud, true)
    # The nearest of points scattered with density n lies 1 / (2 sqrt n) off on average.
    assert distances.completeness_mean_m == pytest.approx(0.5 / np.sqrt(500 / (4 * np.pi * 0.05**2)), rel=0.05)
    assert distances.accuracy_mean_m < 1e-8
    assert np.isnan(distances.normal_consistency)


def test_cloud_with_normals_has_normal_consistency():
    samples = Surface.of_mesh(ball(), 5000, 1)
    cloud = Surface(samples.points_world, samples.normals_world)
    assert surface_distances(cloud, Surface.of_mesh(ball(), 5000, 2)).normal_consistency > 0.999


def test_parts_split_both_sides_by_the_true_samples():
    true = Surface.of_mesh(box(), SAMPLES, 0)
    upper = true.points_world[:, 2] > 0
    # Only the upper half is 4 mm wider.
    lower_box, upper_box = box((0.1, 0.06, 0.04), (0, 0, -0.02)), box((0.108, 0.068, 0.044), (0, 0, 0.022))
    distances = surface_distances(Surface.of_mesh(upper_box, SAMPLES, 1), true)
    assert distances.part(upper).accuracy_mean_m == pytest.approx(0.004, abs=1e-3)
    below = surface_distances(Surface.of_mesh(lower_box, SAMPLES, 1), true).part(~upper)
    assert below.completeness_mean_m < 1e-8
    parts = distances.part(upper), distances.part(~upper)
    assert sum(len(p.accuracy_m) for p in parts) == sum(len(p.completeness_m) for p in parts) == SAMPLES
    np.testing.assert_array_equal(true.points_world[upper][parts[0].nearest_true][:, 2] > 0, True)


def test_part_of_a_part_is_what_both_keep():
    true = Surface.of_mesh(ball(), 2000, 0)
    distances = surface_distances(Surface.of_mesh(torus(), 2000, 1), true)
    left, upper = true.points_world[:, 0] < 0, true.points_world[:, 2] > 0
    np.testing.assert_array_equal(
        distances.part(left).part(upper[left]).accuracy_m, distances.part(left & upper).accuracy_m
    )


def test_part_of_another_length_is_refused():
    with pytest.raises(InputError, match="one bool per true sample") as caught:
        between(ball(), ball(), 100).part(np.ones(99, bool))
    assert caught.value.code == ErrorCode.USAGE


@pytest.mark.parametrize("predicted_empty", [True, False])
def test_nothing_has_no_distance(predicted_empty):
    pair = [Surface.of_mesh(nothing(), 1000, 0), Surface.of_mesh(ball(), 1000, 0)]
    distances = surface_distances(*(pair if predicted_empty else pair[::-1]))
    values = (distances.chamfer_m, distances.f_score(0.01), distances.normal_consistency)
    assert np.isnan(values).all()


def test_part_without_samples_has_no_distance():
    distances = between(ball(), ball(), 500).part(np.zeros(500, bool))
    assert np.isnan([distances.accuracy_mean_m, distances.completeness_mean_m, distances.f_score(1.0)]).all()


def test_mesh_without_area_has_no_samples():
    line = TriangleMesh(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32), np.array([[0, 1, 2]], np.int32))
    assert len(Surface.of_mesh(line, 100, 0).points_world) == 0


def test_points_that_are_not_finite_are_refused():
    points = np.zeros((5, 3), np.float32)
    points[2, 1] = np.nan
    with pytest.raises(InputError, match="1 of 5 points are not finite") as caught:
        Surface(points)
    assert caught.value.code == ErrorCode.MESH_INVALID


def test_normals_of_another_number_are_refused():
    with pytest.raises(InputError, match="one normal per point") as caught:
        Surface(np.zeros((5, 3), np.float32), np.zeros((4, 3), np.float32))
    assert caught.value.code == ErrorCode.MESH_INVALID
