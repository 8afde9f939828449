"""Two frames of a plane and a plate at two times, by hand: what is gone, what is filled, and what is only noise."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.evidence.changes import CoarseFrame, change, seen_through
from sparse_recon.geometry.poses import inverse, look_at, pose
from sparse_recon.types import CameraIntrinsics, Frame

W, H, F = 160, 120, 200.0
CAMERA = CameraIntrinsics(W, H, np.array([[F, 0, 80.0], [0, F, 60.0], [0, 0, 1]]))
WALL_M = 1.0
# Frames may stand anywhere: turned and shifted.
T_WORLD_CAM = look_at((0.3, -0.8, 0.5), (0.1, 0.0, 0.0))


def frame(depth_m: np.ndarray, T_world_cam: np.ndarray = T_WORLD_CAM, stamp_ns: int = 1) -> CoarseFrame:
    made = Frame(np.zeros((H, W, 3), np.uint8), depth_m.astype(np.float32), CAMERA, T_world_cam, stamp_ns)
    return CoarseFrame.of(made, np.full((H, W), 0.001, np.float32))


def plate(width_px: int, depth_m: float = 0.9) -> np.ndarray:
    """A wall at 1 m with a plate before it."""
    image = np.full((H, W), WALL_M)
    image[40:80, 60 : 60 + width_px] = depth_m
    return image


def test_two_frames_of_one_world_agree():
    rng = np.random.default_rng(0)
    found = change(frame(plate(30)), frame(plate(30) + rng.normal(0, 0.001, (H, W))))
    assert not found.vanished.any() and not np.isfinite(found.filled_m).any()


def test_surface_that_a_newer_frame_looks_through_is_gone_and_nothing_else():
    found = change(frame(plate(30)), frame(np.full((H, W), WALL_M)))
    there = plate(30) < WALL_M
    assert (found.vanished & ~there).sum() == 0
    assert (found.vanished & there).sum() > 0.95 * there.sum()
    assert not np.isfinite(found.filled_m).any()


def test_newer_surface_before_what_was_measured_fills_the_rays_up_to_it():
    found = change(frame(np.full((H, W), WALL_M)), frame(plate(30)))
    there = plate(30) < WALL_M
    assert not found.vanished.any()
    np.testing.assert_allclose(found.filled_m[there], 0.9, atol=1e-4)
    assert np.isfinite(found.filled_m).sum() <= 42 * 32  # one pixel more around it


def test_what_hides_a_surface_does_not_make_it_vanish():
    near = plate(30)
    near[30:90, 50:100] = 0.5
    assert not change(frame(plate(30)), frame(near)).vanished.any()


@pytest.mark.parametrize(("width_px", "changed"), [(2, False), (8, True)])
def test_strips_thinner_than_fifteen_millimetres_are_no_change(width_px, changed):
    # A pixel at 0.9 m is 4.5 mm wide.
    found = change(frame(plate(width_px)), frame(np.full((H, W), WALL_M)))
    assert found.vanished.any() == changed


def test_depth_that_differs_by_less_than_the_tolerance_is_no_change():
    assert not change(frame(plate(30, 0.993)), frame(np.full((H, W), WALL_M))).vanished.any()


def test_a_camera_elsewhere_sees_the_change_too():
    aside = T_WORLD_CAM @ pose(np.eye(3), (0.08, 0.02, 0.0))
    wall = change(frame(plate(30)), frame(np.full((H, W), WALL_M), aside))
    there = plate(30) < WALL_M
    assert (wall.vanished & there).sum() > 0.9 * there.sum() and not (wall.vanished & ~there).any()


def test_points_are_counted_as_visible_and_as_looked_through():
    cam = np.array([[0.0, 0.0, 0.9], [0.1, 0.0, 1.0], [0.0, 0.1, 1.2], [9.0, 0.0, 1.0]])
    points = (cam @ T_WORLD_CAM[:3, :3].T + T_WORLD_CAM[:3, 3]).astype(np.float32)
    assert np.allclose(inverse(T_WORLD_CAM)[:3, :3] @ points[0] + inverse(T_WORLD_CAM)[:3, 3], cam[0], atol=1e-6)
    # Before the wall; on it; behind it, where nothing is known; outside the image.
    assert seen_through(points, frame(np.full((H, W), WALL_M))) == (2, 1)
