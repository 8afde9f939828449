"""The fine grid and the blend of measured and imagined surface, on a ball in a turned and shifted frame."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import GRID, HALF_M, RADIUS_M, SIGMA_M, T_WORLD_OBJ, ball_view, evidence_of, true_sdf

from sparse_recon.config.geometry_config import EvidenceConfig
from sparse_recon.evidence import Bounds
from sparse_recon.fuse.blend import blend, fine_grid
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import ObjectFrame, SurfaceField

IN_THE_AIR = ObjectFrame(T_WORLD_OBJ, HALF_M)
COARSE = VoxelGrid((10, 10, 10), (-0.3, -0.2, 0.1), 0.05)


def solid(*voxels) -> SurfaceField:
    sdf = np.ones(COARSE.shape, np.float32)
    for voxel in voxels:
        sdf[voxel] = -1.0
    return SurfaceField(sdf, np.ones(COARSE.shape, np.float32))


def test_the_fine_grid_holds_the_solid_and_the_points_with_two_and_a_half_coarse_voxels_around():
    point = np.array([[0.4, -0.1, 0.2]], np.float32)
    # Voxel (2, 3, 4) is centred at (-0.175, -0.025, 0.325), (5, 3, 4) at (-0.025, -0.025, 0.325).
    grid = fine_grid(solid((2, 3, 4), (5, 3, 4)), COARSE, point, EvidenceConfig(fine_voxel_m=0.01, fine_grid=180))
    low, high = np.array([-0.175, -0.1, 0.2]) - 0.125, np.array([0.4, -0.025, 0.325]) + 0.125
    np.testing.assert_array_equal(grid.shape, np.ceil((high - low) / 0.01 - 1e-6))
    np.testing.assert_allclose(np.array(grid.low_m) + 0.005 * np.array(grid.shape), 0.5 * (low + high), atol=1e-7)
    assert grid.voxel_m == 0.01


@pytest.mark.parametrize("axis", range(3))
def test_voxels_grow_where_the_wished_ones_would_not_span_the_block(axis):
    voxel = [4, 4, 4]
    voxel[axis] = 9
    grid = fine_grid(
        solid((4, 4, 4), tuple(voxel)), COARSE, np.zeros((0, 3)), EvidenceConfig(fine_voxel_m=0.001, fine_grid=50)
    )
    assert grid.voxel_m == pytest.approx((0.25 + 0.25) / 50) and max(grid.shape) == grid.shape[axis] == 50


def test_measured_surface_wins_where_it_was_measured_and_imagined_surface_elsewhere():
    evidence = evidence_of([ball_view((0.0, 0.0, 0.4), table_z_m=None)], object_frame=IN_THE_AIR)
    larger = SurfaceField((true_sdf(GRID) - 0.006).astype(np.float32), np.full(GRID.shape, 0.01, np.float32))
    field = blend(larger, GRID, evidence, Bounds.of(evidence))
    top, below = np.array([[0, 0, RADIUS_M]]), np.array([[0, 0, -RADIUS_M - 0.006]])
    # The view is from above. A blur of 1.2 voxels of 3.5 mm moves a sphere of 4 cm by 0.4 mm.
    assert GRID.sample(field.sdf_m, top)[0] == pytest.approx(0.0, abs=0.001)
    assert GRID.sample(field.sdf_m, below)[0] == pytest.approx(0.0, abs=0.001)
    assert GRID.sample(field.observed, top)[0] > 0.99 and GRID.sample(field.observed, below)[0] == 0.0
    # Half of the mean absolute value of a normal error: sqrt(2 / pi) sigma.
    assert GRID.sample(field.error_m, top)[0] == pytest.approx(0.5 * np.sqrt(2 / np.pi) * SIGMA_M, rel=0.02)
    assert GRID.sample(field.error_m, below)[0] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(("views", "sigmas"), [(1, 1.0), (2, np.sqrt(0.5)), (9, 0.5)])
def test_more_views_make_the_measured_surface_surer_down_to_half_of_one(views, sigmas):
    evidence = evidence_of([ball_view((0.0, 0.0, 0.4), table_z_m=None)] * views, object_frame=IN_THE_AIR)
    imagined = SurfaceField(true_sdf(GRID).astype(np.float32), np.full(GRID.shape, 0.01, np.float32))
    error_m = blend(imagined, GRID, evidence, Bounds.of(evidence)).error_m
    top = np.array([[0, 0, RADIUS_M]])
    assert GRID.sample(error_m, top)[0] == pytest.approx(0.5 * np.sqrt(2 / np.pi) * sigmas * SIGMA_M, rel=0.02)
