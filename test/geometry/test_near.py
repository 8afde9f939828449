"""Frames near to what is looked at."""

from dataclasses import replace

import numpy as np
import pytest
from completed import completed_box

from sparse_recon.geometry.near import is_within_reach, moved_mesh, near_origin, put_into_world, put_near
from sparse_recon.types import SurfaceHypothesis

FAR = np.array([99_000.0, -60_000.0, 412.0])


def test_an_origin_is_the_nearest_whole_metre():
    assert near_origin(np.array([99_000.4, -60_000.4, 411.6])).tolist() == FAR.tolist()


@pytest.mark.parametrize(("x_m", "reached"), [(1000.0, True), (-1000.0, True), (1000.1, False), (-1000.1, False)])
def test_a_kilometre_along_any_axis_is_within_reach(x_m: float, reached: bool):
    for axis in range(3):
        point = FAR + x_m * np.eye(3)[axis]
        assert is_within_reach(point, FAR) is reached


def test_an_object_goes_into_the_world_and_comes_back_without_loss():
    obj = replace(completed_box(), hypotheses=(SurfaceHypothesis(completed_box().nominal, 1.0),))
    far = put_into_world(obj, FAR)
    assert far.points_world.dtype == far.nominal.vertices_world.dtype == np.float64
    np.testing.assert_allclose(far.points_world - obj.points_world, np.broadcast_to(FAR, obj.points_world.shape))
    np.testing.assert_array_equal(far.box.T_world_box[:3, 3], obj.box.T_world_box[:3, 3] + FAR)
    back = put_near(far, FAR)
    for a, b in (
        (back.points_world, obj.points_world),
        (back.observed_points_world, obj.observed_points_world),
        (back.nominal.vertices_world, obj.nominal.vertices_world),
        (back.conservative.vertices_world, obj.conservative.vertices_world),
        (back.collision_parts[0].vertices_world, obj.collision_parts[0].vertices_world),
        (back.hypotheses[0].mesh.vertices_world, obj.hypotheses[0].mesh.vertices_world),
    ):
        np.testing.assert_array_equal(a.astype(np.float32), b)
    assert far.origin_world.tolist() == FAR.tolist() and not back.origin_world.any()


def test_what_moves_by_nothing_stays_as_it_is():
    obj = completed_box()
    assert moved_mesh(obj.nominal, np.zeros(3)) is obj.nominal
    assert put_into_world(obj, np.zeros(3)).points_world is obj.points_world
