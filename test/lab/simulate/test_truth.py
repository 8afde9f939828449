"""Distances to the true surface against shapes moved by a known amount."""

import numpy as np
import pytest

from sparse_recon.errors import InputError
from sparse_recon.lab.simulate.scene import surface_samples, tabletop_scene
from sparse_recon.lab.simulate.truth import nearest_object, surface_distance


def test_surface_against_itself_is_as_near_as_the_sampling() -> None:
    can = tabletop_scene(1).objects[0]
    distance = surface_distance(surface_samples(can.mesh_world, 20_000, seed=9), can)
    # 20 000 points on about 0.03 m^2 are 1.2 mm apart; the mean nearest distance is half of that.
    assert distance.chamfer_m < 0.0008


def test_missing_half_shows_from_the_truth_only() -> None:
    can = tabletop_scene(1).objects[0]
    points = surface_samples(can.mesh_world, 20_000, seed=9)
    middle = np.median(points[:, 0])
    half = surface_distance(points[points[:, 0] < middle], can)
    assert half.to_truth_m < 0.001 < 0.005 < half.from_truth_m
    assert half.chamfer_m == pytest.approx((half.to_truth_m + half.from_truth_m) / 2)


def test_nearest_object_is_the_one_that_stands_there() -> None:
    scene = tabletop_scene(3)
    for o in scene.objects:
        assert nearest_object(scene, o.vertices_world.mean(axis=0)) is o


def test_no_points_are_refused() -> None:
    with pytest.raises(InputError, match="no points"):
        surface_distance(np.zeros((0, 3)), tabletop_scene(0, 1).objects[0])
