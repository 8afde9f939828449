"""Baked objects hold true distances, whatever field they were drawn as."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse_recon.lab.training.bake import bake
from sparse_recon.lab.training.fields import box, superquadric, union, without
from sparse_recon.lab.training.objects import FAMILIES, ProceduralObject


def baked(field, size_m: float = 0.2, resolution: int = 64):
    result = bake(ProceduralObject("test", field, size_m), resolution)
    assert result is not None
    return result


def test_ball_of_a_field_that_is_no_distance():
    ball = baked(superquadric((1.0, 1.0, 1.0), 1.0, 1.0))
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 0.07
    points = points[points.norm(dim=1) < 0.14]
    error = ball.distance(points) - (points.norm(dim=1) - 0.1)
    assert error.abs().max() < 1.2 * ball.grid.voxel_m  # whole voxels are counted away from the surface
    near = (points.norm(dim=1) - 0.1).abs() < ball.grid.voxel_m
    assert error[near].mean().abs() < 0.5 * ball.grid.voxel_m  # its size is known to a voxel,
    assert error[near].std() < 0.15 * ball.grid.voxel_m  # its shape far better


def test_size_is_the_longest_edge_of_what_is_left():
    loose = union([box((0.5, 0.2, 0.2)), lambda p: (p - torch.tensor([0.0, 0.0, 1.2])).norm(dim=-1) - 0.1])
    block = baked(loose, 0.3)
    inside = np.argwhere(block.sdf_m < 0)
    assert np.ptp(inside[:, 0]) * block.grid.voxel_m == pytest.approx(0.3, abs=2 * block.grid.voxel_m)
    assert np.ptp(inside[:, 2]) * block.grid.voxel_m == pytest.approx(0.12, abs=2 * block.grid.voxel_m)


def test_distance_grows_beyond_the_grid():
    ball = baked(superquadric((1.0, 1.0, 1.0), 1.0, 1.0))
    assert ball.distance(torch.tensor([[0.5, 0.0, 0.0]])).item() == pytest.approx(0.4, abs=ball.grid.voxel_m)


def test_nothing_is_left_of_an_empty_field():
    assert bake(ProceduralObject("none", without(box((0.5, 0.5, 0.5)), box((0.6, 0.6, 0.6))), 0.1), 64) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_families_give_solids_whose_distances_have_slope_one(family):
    rng = np.random.default_rng((3, len(family)))
    made = ProceduralObject(family, FAMILIES[family][1](rng, 0.015), 0.15)
    result = baked(made.field, made.size_m)
    slope = np.sqrt(sum(np.gradient(result.sdf_m, result.grid.voxel_m, axis=k) ** 2 for k in range(3)))
    assert (result.sdf_m < 0).sum() > 400
    assert np.median(slope) == pytest.approx(1.0, abs=0.08)
