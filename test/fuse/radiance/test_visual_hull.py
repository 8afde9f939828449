"""Space that outlines leave, voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from analytic import CAMERA, EYES, HALF_M, T_WORLD_OBJ, ball_view, evidence_of

from sparse_recon.evidence import Bounds
from sparse_recon.fuse.radiance.visual_hull import visual_hull
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import Frame, GeneratedView, ObjectFrame

FRAME = ObjectFrame(T_WORLD_OBJ, HALF_M)
GRID = VoxelGrid.cube(30, HALF_M)
NOTHING = evidence_of([], object_frame=FRAME)
INNER = (slice(1, -1),) * 3


def picture(mask, eye=EYES[0], target=(0, 0, 0)) -> GeneratedView:
    shape = (CAMERA.height, CAMERA.width)
    T_world_cam = FRAME.T_world_obj @ look_at(eye, target)
    frame = Frame(np.zeros((*shape, 3), np.uint8), None, CAMERA, T_world_cam, 1)
    return GeneratedView(frame, mask, np.ones(shape, np.float32), "m", 0)


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((CAMERA.height, CAMERA.width), bool)
    mask[rows, columns] = True
    return mask


def pixels_of_voxels(view: GeneratedView) -> tuple[np.ndarray, np.ndarray]:
    T_cam_obj = np.linalg.inv(view.frame.T_world_cam) @ FRAME.T_world_obj
    cam = GRID.centres() @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    return (
        CAMERA.fx * cam[..., 0] / cam[..., 2] + CAMERA.cx,
        CAMERA.fy * cam[..., 1] / cam[..., 2] + CAMERA.cy,
    )


@pytest.mark.parametrize(
    ("rows", "columns", "whole"),
    [
        (slice(30, 41), slice(40, 61), True),
        (slice(30, 41), slice(1, 12), False),  # its rim, which is uncertain, reaches the border
        (slice(0, 20), slice(0, 30), False),
        (slice(40, 72), slice(50, 96), False),
    ],
)
def test_voxels_beside_the_mask_are_left_out_and_those_beside_the_image_if_it_shows_the_object_whole(
    rows, columns, whole
):
    view = picture(rectangle(rows, columns), 0.5 * EYES[0])  # so near that the cube is larger than the image
    u, v = (np.rint(p) for p in pixels_of_voxels(view))
    in_image = (u >= 0) & (u < CAMERA.width) & (v >= 0) & (v < CAMERA.height)
    reach = 1 + int(0.02 * max(rows.stop - rows.start - 1, columns.stop - columns.start - 1))
    held = (u >= columns.start - reach) & (u < columns.stop + reach) & (v >= rows.start - reach)
    held &= v < rows.stop + reach
    possible = visual_hull([view], FRAME, NOTHING, GRID)
    # Voxels on the border of two pixels may go to either, in float32.
    assert np.mean((possible != (held | (~in_image & (not whole))))[INNER]) < 2e-3
    assert 0.005 < possible[INNER].mean() < 0.98 and not in_image.all()


@pytest.mark.parametrize(("against", "possible"), [(1, True), (2, False)])
def test_fifteen_of_a_hundred_pictures_may_leave_a_voxel_out(against, possible):
    whole, none = rectangle(slice(None), slice(None)), rectangle(slice(0, 2), slice(0, 2))
    views = [picture(whole)] * (10 - against) + [picture(none)] * against
    assert visual_hull(views, FRAME, NOTHING, GRID)[15, 15, 15] == possible


def test_a_picture_of_nothing_leaves_nothing_out():
    blank = picture(np.zeros((CAMERA.height, CAMERA.width), bool))
    assert visual_hull([blank], FRAME, NOTHING, GRID)[INNER].all()


def test_what_cameras_saw_to_be_empty_is_not_possible():
    seen = evidence_of([ball_view()])
    possible = visual_hull([], seen.object_frame, seen, seen.grid)
    np.testing.assert_array_equal(possible, ~Bounds.of(seen).free)
