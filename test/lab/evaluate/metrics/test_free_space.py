"""Surface in space that cameras truly see to be empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import recording
from solids import ball, box, shifted

from sparse_recon.geometry.clouds import voxel_keys
from sparse_recon.lab.evaluate.metrics.free_space import dense, in_seen_empty
from sparse_recon.lab.evaluate.metrics.surface import Surface

VOXEL_M, TOLERANCE_M = 0.003, 0.005


def seen(kind: str = "block", views: int = 2):
    made = recording(kind, views)
    return made.frames, made.scene.objects[0].mesh_world


def towards_camera(frame) -> np.ndarray:
    return frame.T_world_cam[:3, 3] / np.linalg.norm(frame.T_world_cam[:3, 3])


@pytest.mark.parametrize("kind", ["ball", "block", "mug"])
def test_true_surface_is_nowhere_in_empty_space(kind):
    frames, truth = seen(kind, 4)
    # At a tip between pixels of 2 mm, the surface beside it may be farther away by some tenths of a millimetre.
    assert in_seen_empty(dense(truth, VOXEL_M, 0), frames, VOXEL_M, 0.001) == 0.0


def test_what_hangs_in_front_of_the_object_is_in_empty_space():
    frames, _ = seen()
    in_front = ball(0.02, 0.2 * towards_camera(frames[0]) + (0, 0, 0.04))
    assert in_seen_empty(dense(in_front, VOXEL_M, 0), frames[:1], VOXEL_M, TOLERANCE_M) == 1.0


def test_what_is_hidden_behind_the_object_is_not():
    frames, _ = seen()
    behind = ball(0.01, np.array((0, 0, 0.04)) - 0.02 * towards_camera(frames[0]))
    assert in_seen_empty(dense(behind, VOXEL_M, 0), frames, VOXEL_M, TOLERANCE_M) == 0.0


def test_share_is_of_the_voxels_not_of_the_points():
    frames, truth = seen()
    hidden = dense(truth, VOXEL_M, 0)
    empty = dense(ball(0.02, 0.2 * towards_camera(frames[0]) + (0, 0, 0.04)), VOXEL_M, 0)
    counts = [len(voxel_keys(points, VOXEL_M)) for points in (empty, hidden)]
    many = np.concatenate([empty] * 5 + [hidden])  # five times as many points in the same voxels
    assert in_seen_empty(many, frames, VOXEL_M, TOLERANCE_M) == pytest.approx(counts[0] / sum(counts))


def test_surface_within_the_tolerance_of_what_is_seen_does_not_count():
    frames, truth = seen(views=1)
    closer = {d: dense(shifted(truth, d * towards_camera(frames[0])), VOXEL_M, 0) for d in (0.003, 0.012)}
    assert in_seen_empty(closer[0.003], frames, VOXEL_M, TOLERANCE_M) == 0.0
    assert in_seen_empty(closer[0.012], frames, VOXEL_M, TOLERANCE_M) > 0.3


def test_surface_that_is_a_little_too_fat_counts_only_where_the_truth_is_not_given():
    frames, truth = seen()
    size, centre = np.ptp(truth.vertices_world, axis=0), truth.vertices_world.mean(axis=0)
    true = Surface.of_mesh(truth, 100, 0)
    for fat_m, expected in ((0.0028, 0.0), (0.02, pytest.approx(0.6, abs=0.2))):
        points = dense(box(size + 2 * fat_m, centre), VOXEL_M, 0)
        assert in_seen_empty(points, frames, VOXEL_M, TOLERANCE_M) > 0.001
        assert in_seen_empty(points, frames, VOXEL_M, TOLERANCE_M, true) == expected


def test_more_cameras_see_more_empty_space():
    frames, _ = seen("block", 4)
    wide = dense(box((0.2, 0.2, 0.08), (0, 0, 0.04)), VOXEL_M, 0)
    shares = [in_seen_empty(wide, frames[:n], VOXEL_M, TOLERANCE_M) for n in (1, 2, 4)]
    assert 0.1 < shares[0] < shares[1] < shares[2] <= 1.0


def test_pixels_that_meet_nothing_show_nothing():
    frames, _ = seen()
    blind = [replace(f, depth_m=np.full_like(f.depth_m, np.nan)) for f in frames]
    everywhere = dense(ball(0.1, (0, 0, 0.2)), VOXEL_M, 0)
    assert in_seen_empty(everywhere, blind, VOXEL_M, TOLERANCE_M) == 0.0


def test_no_surface_has_no_share():
    assert np.isnan(in_seen_empty(np.zeros((0, 3), np.float32), seen()[0], VOXEL_M, TOLERANCE_M))


def test_dense_points_leave_hardly_a_voxel_of_the_surface_out():
    side = dense(box((0.09, 0.09, 0.09)), VOXEL_M, 0)
    top = side[np.abs(side[:, 2] - 0.045) < 1e-6]
    # Four random points in each of 30 x 30 squares miss one in fifty.
    assert len(np.unique(np.floor(top[:, :2] / VOXEL_M), axis=0)) > 0.97 * 900
    assert len(side) == pytest.approx(4 * 6 * 900, rel=0.01)
