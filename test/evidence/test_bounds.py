"""Where a surface cannot be, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import GRID, HALF_M, OBJECT_FRAME, T_WORLD_OBJ, ball_view, evidence_of

from sparse_recon.evidence import Bounds
from sparse_recon.types import ObjectFrame

INNER = (slice(1, -1),) * 3  # the border of the cube is free by definition


@pytest.mark.parametrize("table_z_m", [-0.04, 0.01])
def test_nothing_is_below_what_the_object_stands_on_though_nobody_saw_it(table_z_m):
    bounds = Bounds.of(evidence_of([], object_frame=ObjectFrame(T_WORLD_OBJ, HALF_M, table_z_m)))
    depth_m = np.broadcast_to(table_z_m - GRID.axes()[2], GRID.shape)
    below = depth_m[INNER] > 0
    np.testing.assert_array_less(depth_m[INNER][below] - 1e-6, bounds.lower_m[INNER][below])
    assert np.all(bounds.lower_m[INNER][~below] < 0)
    assert np.all(bounds.project(np.full(GRID.shape, -1.0, np.float32))[INNER][below] > 0)


def test_without_a_support_the_space_below_is_as_unknown_as_any():
    bounds = Bounds.of(evidence_of([], object_frame=ObjectFrame(T_WORLD_OBJ, HALF_M)))
    assert np.all(bounds.lower_m[INNER] < 0)


def test_bare_table_is_free_down_to_its_plane_without_slack():
    bounds = Bounds.of(evidence_of([ball_view((0.1, 0.05, 0.5))], slack_voxels=2.0))
    x, y, z = GRID.axes()
    beside = np.hypot(x[:, None], y[None, :]) > 0.055  # seen from above, beside the ball's shadow
    lowest = int(np.argmax(z > OBJECT_FRAME.support_z_m))
    assert bounds.free[:, :, lowest][1:-1, 1:-1][beside[1:-1, 1:-1]].mean() > 0.98
    # A ray is read at the nearest pixel centre: half of its 4.5 mm on the table, and less than that in height.
    assert not bounds.free[1:-1, 1:-1, 1:][..., GRID.axes()[2][1:] < OBJECT_FRAME.support_z_m - 0.00225].any()
