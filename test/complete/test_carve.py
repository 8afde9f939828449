"""The completer without weights on shapes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.complete.carve import carve
from sparse_recon.complete.carve.hull import hull_sdf
from sparse_recon.complete.carve.symmetry import SeenSpace, find_axis, find_level_mirror, find_mirror
from sparse_recon.complete.registry import COMPLETERS, create
from sparse_recon.config.model_config import CarveConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import ObjectFrame

GRID = VoxelGrid.cube(64, 0.1)


def box_surface(size, count=4000, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(-0.5, 0.5, (count, 3))
    axis = rng.integers(0, 3, count)
    p[np.arange(count), axis] = rng.choice([-0.5, 0.5], count)
    return (p * size).astype(np.float32)


def test_hull_of_a_box_is_the_box():
    sdf = hull_sdf(box_surface((0.1, 0.06, 0.08)), None, GRID)
    q = np.abs(GRID.centres()) - np.array([0.05, 0.03, 0.04])
    inside = np.minimum(q.max(axis=-1), 0.0)
    where = inside < 0
    assert np.abs(sdf[where] - inside[where]).max() < 0.003  # corners are rounded by the thinning
    assert (sdf[q.max(axis=-1) > 0.003] > 0).all()


def test_extrusion_fills_down_to_the_support():
    lid = box_surface((0.1, 0.06, 0.0)) + np.float32([0, 0, 0.04])
    sdf = hull_sdf(lid, -0.04, GRID)
    assert sdf[GRID.nearest(np.array([[0.0, 0.0, -0.035]]))] < 0
    assert sdf[GRID.nearest(np.array([[0.0, 0.0, -0.05]]))] > 0


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.random.default_rng(0).random((50, 3)) * (0.05, 0.05, 0)])
def test_degenerate_points_still_have_a_thin_hull(points):
    sdf = hull_sdf(points.astype(np.float32), None, GRID)
    assert (sdf < 0).any() and np.isfinite(sdf).all()


def seen_space(points, empty):
    """Space of measured points in which `empty(p)` tells what was seen to be empty."""
    from scipy.spatial import cKDTree

    centres = GRID.centres().reshape(-1, 3)
    distance = cKDTree(points).query(centres)[0].reshape(GRID.shape).astype(np.float32)
    margin = np.where(empty(centres), 0.01, -0.01).reshape(GRID.shape).astype(np.float32)
    return SeenSpace(GRID, margin, distance, points.astype(np.float32))


def half_cylinder(centre, radius=0.04, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    angle, z = rng.uniform(-np.pi / 2, np.pi / 2, 1500), rng.uniform(-0.05, 0.05, 1500)
    r = radius + rng.normal(0, noise, 1500)
    return np.stack([centre[0] + r * np.cos(angle), centre[1] + r * np.sin(angle), z], axis=1)


@pytest.mark.parametrize("noise_m", [0.0, 0.001])
def test_axis_of_a_half_seen_cylinder_is_found(noise_m):
    points = half_cylinder((-0.01, 0.015), noise=noise_m)
    axis = find_axis(seen_space(points, lambda p: p[:, 0] > 0.04), CarveConfig())
    assert axis is not None
    np.testing.assert_allclose(axis.centre_xy_m, (-0.01, 0.015), atol=0.002)


def test_axis_whose_other_side_was_seen_empty_is_refused():
    points = half_cylinder((0.0, 0.0))
    assert find_axis(seen_space(points, lambda p: p[:, 0] < 0), CarveConfig()) is None


def test_a_box_has_no_axis_of_revolution():
    corner = box_surface((0.1, 0.06, 0.08))
    corner = corner[(corner[:, 0] > 0.049) | (corner[:, 1] > 0.029)]
    assert find_axis(seen_space(corner, lambda p: p[:, 0] > 0.05), CarveConfig()) is None


def test_mirror_of_an_l_shaped_view_is_found():
    points = box_surface((0.1, 0.06, 0.08))
    seen = points[(points[:, 0] > 0.0499) | (points[:, 2] > 0.0399)]  # front and top
    mirror = find_mirror(seen_space(seen, lambda p: (p[:, 2] > 0.045) | (np.abs(p[:, 1]) > 0.035)), CarveConfig())
    assert mirror is not None and mirror.support > 0.8
    assert abs(mirror.normal_obj @ np.array([0, 1, 0])) > 0.98 and abs(mirror.offset_m) < 0.006


def test_a_single_flat_face_proves_no_mirror_along_itself():
    face = box_surface((0.0, 0.06, 0.08))
    mirror = find_mirror(seen_space(face, lambda p: p[:, 0] > 0.005), CarveConfig())
    assert mirror is None or abs(mirror.normal_obj[0]) < 0.9


def test_level_mirror_is_refused_where_it_would_fill_seen_emptiness():
    cone = half_cylinder((0, 0))
    cone[:, :2] *= ((0.05 - cone[:, 2]) / 0.1)[:, None]  # point up
    empty = lambda p: np.hypot(p[:, 0], p[:, 1]) > 0.04 * (0.055 - p[:, 2]) / 0.1 + 0.004  # noqa: E731
    assert find_level_mirror(seen_space(cone, empty), -0.05, CarveConfig()) is None
    tube = half_cylinder((0, 0))
    empty = lambda p: np.hypot(p[:, 0], p[:, 1]) > 0.044  # noqa: E731
    assert find_level_mirror(seen_space(tube, empty), -0.05, CarveConfig()) is not None


def test_every_registered_completer_can_be_made():
    for name in COMPLETERS:
        assert create(name).name == name


def test_unknown_completer_lists_those_there_are():
    with pytest.raises(ModelError, match="carve") as caught:
        create("nonsense")
    assert caught.value.code == ErrorCode.MODEL_UNKNOWN


def test_steps_are_reported_and_a_raised_stop_comes_through():
    evidence = Evidence.empty(ObjectFrame(np.eye(4), 0.1, -0.04), GRID, SessionConfig().evidence)
    evidence.points_obj.append(box_surface((0.1, 0.06, 0.08)))
    evidence.point_sigma_m.append(np.full(4000, 0.001, np.float32))
    steps = []

    def stop(step, of, field):
        steps.append((step, of, field is not None))
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carve(evidence, Bounds.of(evidence), CarveConfig(), np.random.default_rng(0), stop)
    assert [s[0] for s in steps] == [1, 2] and steps[0][2]
