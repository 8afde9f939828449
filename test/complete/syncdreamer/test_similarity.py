"""A set of views that was drawn a little off is put where measured points are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from sparse_recon.complete.latent.agreement import agreements
from sparse_recon.complete.latent.cameras import model_intrinsics
from sparse_recon.complete.latent.outlines import Outlines
from sparse_recon.complete.syncdreamer.cameras import view_cameras
from sparse_recon.complete.syncdreamer.previews import EVERY, is_due, made_or, outlined
from sparse_recon.complete.syncdreamer.similarity import fitted_similarity
from sparse_recon.errors import CancelledError, ErrorCode, ModelError
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import SurfaceField

LENS = model_intrinsics(128)
T_CAM_OBJ = np.stack([inverse(camera.T_obj_cam()) for camera in view_cameras(0.3)])
HALF = np.array([0.5, 0.3, 0.35])  # of a box, in longest sides


def on_box(count: int, seed: int = 0) -> np.ndarray:
    """Points on the faces of the box, of those that a camera before it sees."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3))
    face = rng.integers(3, size=count)
    points[np.arange(count), face] = np.where(face == 2, 1.0, rng.choice([-1, 1], count))
    return points * HALF


def pictures_of_box() -> tuple[np.ndarray, np.ndarray]:
    """Masks and pictures of the box, each face of its own colour."""
    v, u = np.mgrid[:128, :128]
    rays = np.stack([(u - LENS.cx) / LENS.fx, (v - LENS.cy) / LENS.fy, np.ones(u.shape)], axis=-1)
    masks, pictures = [], []
    for T in T_CAM_OBJ:
        directions, origin = rays @ T[:3, :3], -T[:3, :3].T @ T[:3, 3]
        with np.errstate(divide="ignore"):
            near = (-np.sign(directions) * HALF - origin) / directions
            far = (np.sign(directions) * HALF - origin) / directions
        hit = near.max(axis=2) < far.min(axis=2)
        face = near.argmax(axis=2)
        colors = np.array([[200, 60, 40], [50, 180, 70], [40, 70, 190]], np.uint8)[face]
        masks.append(hit)
        pictures.append(np.where(hit[..., None], colors, 255).astype(np.uint8))
    return np.stack(masks), np.stack(pictures)


MASKS, PICTURES = pictures_of_box()


@pytest.fixture(scope="module")
def outlines() -> Outlines:
    return Outlines(MASKS, T_CAM_OBJ, LENS)


def test_outlines_allow_all_of_a_solid_and_more_where_none_cuts(outlines):
    within = outlines.depth_within(on_box(2000), 0)
    # A pixel of these pictures is 0.008 longest sides.
    assert within.min() > -0.025 and np.quantile(within, 0.02) > -0.01 and np.quantile(within, 0.1) < 0.01
    # Nothing cuts away what lies above the flat top: all cameras look down on it.
    assert outlines.depth_within(np.array([[0, 0, HALF[2]]]), 0)[0] > 0.05
    beside = np.array([[0, 0, 0.0], [0.8, 0, 0], [0, 0, 2.0]])
    assert (outlines.depth_within(beside) > 0).tolist() == [True, False, False]


@pytest.mark.parametrize("views", [(3,), (3, 9)])
def test_views_that_were_drawn_too_small_do_not_set_the_scale(views):
    masks = MASKS.copy()
    for view in views:
        masks[view] = binary_erosion(masks[view], iterations=8)

    found = fitted_similarity(Outlines(masks, T_CAM_OBJ, LENS), 1.12 * on_box(600), seed=0)

    assert found.scale == pytest.approx(1.12, abs=0.03 * len(views))


@pytest.mark.parametrize(
    ("scale", "turn_deg", "shift"), [(1.0, 0, (0, 0, 0)), (1.12, 0, (0.03, 0, 0.02)), (0.9, 6, (0, -0.04, 0.0))]
)
def test_similarity_is_found(outlines, scale, turn_deg, shift):
    turn = np.deg2rad(turn_deg)
    R = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    measured = scale * on_box(600) @ R.T + shift

    found = fitted_similarity(outlines, measured, seed=0)

    assert found.residual < 0.01
    assert found.scale == pytest.approx(scale, abs=0.02)  # a view may disagree, which leaves this room
    assert np.rad2deg(found.turn_rad) == pytest.approx(turn_deg, abs=1.0)
    placed = found.scale * on_box(200) @ found.T[:3, :3].T + found.T[:3, 3]
    assert np.median(np.linalg.norm(placed - (scale * on_box(200) @ R.T + shift), axis=1)) < 0.015


def test_scale_is_found_from_one_side_alone(outlines):
    seen = on_box(3000)
    seen = seen[(seen[:, 0] >= 0.499) | (seen[:, 1] >= 0.299) | (seen[:, 2] >= 0.349)]
    for scale in (1.12, 0.88):
        assert fitted_similarity(outlines, scale * seen, seed=0).scale == pytest.approx(scale, abs=0.015)


def test_strays_do_not_pull(outlines):
    measured = np.concatenate([1.08 * on_box(400), np.random.default_rng(1).uniform(-0.8, 0.8, (120, 3))])
    assert fitted_similarity(outlines, measured, seed=0).scale == pytest.approx(1.08, abs=0.02)


def test_without_measured_points_nothing_is_moved(outlines):
    found = fitted_similarity(outlines, np.zeros((0, 3)), seed=0)
    assert found.scale == 1 and np.array_equal(found.T, np.eye(4)) and np.isnan(found.residual)


def test_what_is_far_off_is_left_where_it_is_and_told(outlines):
    found = fitted_similarity(outlines, 2.5 * on_box(400), seed=0)
    assert found.scale == pytest.approx(1, abs=0.02) and found.residual > 0.2


def test_views_that_agree_are_trusted_and_one_that_does_not_is_not(outlines):
    true = agreements(PICTURES, MASKS, T_CAM_OBJ, LENS, outlines)
    assert true.shape == MASKS.shape and true.dtype == np.float32
    assert np.median(true[MASKS]) > 0.6 and true.min() >= 0.05 and true.max() <= 0.9

    pictures, masks = PICTURES.copy(), MASKS.copy()
    pictures[5] = np.roll(PICTURES[5], 30, axis=1)
    masks[5] = np.roll(MASKS[5], 30, axis=1)
    odd = agreements(pictures, masks, T_CAM_OBJ, LENS, Outlines(masks, T_CAM_OBJ, LENS))
    assert np.mean(odd[5][masks[5]]) < 0.75 * np.mean(true[5][MASKS[5]])
    assert np.mean(odd[12][masks[12]]) > 0.9 * np.mean(true[12][MASKS[12]])


def test_pictures_without_an_object_have_no_say(outlines):
    masks = MASKS.copy()
    masks[[4, 9]] = False
    without = Outlines(masks, T_CAM_OBJ, LENS)
    measured = 1.12 * on_box(600)

    found, all_shown = fitted_similarity(without, measured, seed=0), fitted_similarity(outlines, measured, seed=0)
    assert found.scale == pytest.approx(1.12, abs=0.025)
    assert found.residual_before == pytest.approx(all_shown.residual_before, abs=0.01) and found.residual < 0.01
    trusted = agreements(PICTURES, masks, T_CAM_OBJ, LENS, without)
    assert trusted.shape == masks.shape and np.median(trusted[masks]) > 0.6


def test_one_picture_alone_that_shows_an_object():
    masks = np.zeros_like(MASKS)
    masks[3] = MASKS[3]
    found = agreements(PICTURES, masks, T_CAM_OBJ, LENS, Outlines(masks, T_CAM_OBJ, LENS))
    assert np.isfinite(found).all() and found.min() >= 0.05


def test_a_preview_is_the_prior_within_the_outlines():
    unit_m, middle = 0.2, np.array([0.01, 0.0, -0.02])
    grid = VoxelGrid.cube(40, 0.16)
    radius_m = np.linalg.norm(grid.centres() - middle, axis=-1).astype(np.float32) - np.float32(
        0.14
    )  # a ball around it
    prior = SurfaceField(radius_m, np.full(radius_m.shape, 0.01, np.float32))
    cameras = view_cameras(0.3)

    shown = outlined(prior, grid, PICTURES[::EVERY], cameras[::EVERY], middle, unit_m)

    in_box = (np.abs(grid.centres() - middle) < HALF * unit_m - 0.01).all(axis=-1)
    left, before = shown.sdf_m < 0, prior.sdf_m < 0
    assert left[in_box & before].mean() > 0.98 and not (left & ~before).any()
    assert left.sum() < 0.65 * before.sum()  # a quarter of the ball is box
    blank = np.full_like(PICTURES[::EVERY], 255)
    assert outlined(prior, grid, blank, cameras[::EVERY], middle, unit_m) is prior
    assert [step for step in range(1, 51) if is_due(step, 50)] == [25, 38]
    assert not is_due(1, 1)


def test_a_preview_that_fails_shows_the_prior_and_whoever_stops_it_is_heard():
    prior, made = (SurfaceField(np.full((2, 2, 2), v, np.float32), np.ones((2, 2, 2), np.float32)) for v in (1, 2))

    def failing(error):
        def make():
            raise error

        return make

    assert made_or(prior, lambda: made) is made
    for error in (ModelError(ErrorCode.MODEL_FAILED, "NaN"), MemoryError(), RuntimeError("can't allocate memory")):
        assert made_or(prior, failing(error)) is prior
    with pytest.raises(CancelledError):
        made_or(prior, failing(CancelledError(ErrorCode.CANCELLED, "stop")))
