"""Every method answers; the baselines do what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from sparse_recon.complete.registry import COMPLETERS, PUBLISHED
from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.cases import Case, make_case
from sparse_recon.lab.evaluate.methods import Contestant, check_methods, method_names, ready_methods
from sparse_recon.lab.evaluate.objects import procedural_objects
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.simulate.scene import surface_samples

PROTOCOL = Protocol(views=(4,), width_px=320, height_px=240, novel_views=0, distance_far_m=0.6)
BOX = procedural_objects(3)[2]  # convex


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(BOX, "clean", 0, PROTOCOL)


@pytest.fixture(scope="module")
def one(case: Case) -> dict[str, Prediction]:
    contestant = Contestant()
    return {name: contestant.predict(name, case.seen_from(1)) for name in ready_methods()}


@pytest.fixture(scope="module")
def four(case: Case) -> dict[str, Prediction]:
    contestant = Contestant()
    return {name: contestant.predict(name, case) for name in ("hull", "carved_hull", "tsdf", "poisson", "mirror")}


def to_truth_m(points: np.ndarray, case: Case) -> np.ndarray:
    return cKDTree(surface_samples(case.truth, 100_000)).query(points)[0]


def from_truth_m(prediction: Prediction, case: Case) -> np.ndarray:
    return cKDTree(prediction.points_world).query(surface_samples(case.truth, 5_000))[0]


def test_all_answer_in_the_common_form(one: dict[str, Prediction]):
    for name, answer in one.items():
        assert len(answer.points_world) == len(answer.inferred) > 100, name
        assert np.isfinite(answer.points_world).all(), name
        assert answer.normals_world is not None and np.allclose(
            np.linalg.norm(answer.normals_world, axis=1), 1.0, atol=1e-3
        ), name
        assert (answer.surface is None) == (name == "observed")
        assert (answer.confidence is not None) == (name in COMPLETERS)


def test_models_whose_weights_are_elsewhere_are_measured_by_name_only():
    assert set(method_names()) - set(ready_methods()) == set(PUBLISHED) >= {"sparsefusion", "syncdreamer", "zero123"}
    check_methods(sorted(PUBLISHED))


def test_observed_points_lie_on_the_truth_and_claim_nothing_else(one: dict[str, Prediction], case: Case):
    assert np.quantile(to_truth_m(one["observed"].points_world, case), 0.95) < 0.002
    assert not one["observed"].inferred.any()
    assert from_truth_m(one["observed"], case).max() > 0.02


def test_hull_of_a_convex_object_seen_from_all_around_is_the_object(four: dict[str, Prediction], case: Case):
    assert np.quantile(to_truth_m(four["hull"].points_world, case), 0.9) < 0.004


def test_carved_hull_holds_all_of_the_object(four: dict[str, Prediction], case: Case):
    surface = four["carved_hull"].surface
    assert surface is not None and surface.watertight
    low, high = surface.vertices_world.min(axis=0), surface.vertices_world.max(axis=0)
    inside = (case.truth.vertices_world > low - 0.002) & (case.truth.vertices_world < high + 0.002)
    assert inside.all()


@pytest.mark.parametrize("name", ["tsdf", "poisson"])
def test_reconstructions_follow_what_was_measured(four: dict[str, Prediction], case: Case, name: str):
    answer = four[name]
    assert np.quantile(to_truth_m(answer.points_world[~answer.inferred], case), 0.9) < 0.004


def test_mirror_puts_surface_where_nobody_looked(one: dict[str, Prediction], case: Case):
    assert from_truth_m(one["mirror"], case).mean() < from_truth_m(one["observed"], case).mean()
    assert one["mirror"].inferred.mean() > 0.1


def test_poisson_stays_near_what_was_measured(one: dict[str, Prediction]):
    measured, answer = one["observed"].points_world, one["poisson"].points_world
    assert (answer > measured.min(axis=0) - 0.006).all() and (answer < measured.max(axis=0) + 0.006).all()


def test_cameras_all_around_leave_nothing_to_mirror(four: dict[str, Prediction]):
    assert np.array_equal(four["mirror"].points_world, four["poisson"].points_world)


def test_truth_is_the_truth(one: dict[str, Prediction], case: Case):
    assert one["truth"].surface is case.truth and one["truth"].conservative is case.truth
    assert to_truth_m(one["truth"].points_world, case).max() < 0.003


def test_answers_are_the_same_again(one: dict[str, Prediction], case: Case):
    again = Contestant()
    for name in ("tsdf", "poisson", "mirror", "carve"):
        answer = again.predict(name, case.seen_from(1))
        assert np.array_equal(answer.points_world, one[name].points_world), name


def test_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="carved_hull") as caught:
        check_methods(["carve", "magic"])
    assert caught.value.code == ErrorCode.USAGE
