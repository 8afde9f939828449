"""What pictures teach, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from analytic import CAMERA, EYES, HALF_M, OBJECT_FRAME, ball_view
from scipy.ndimage import binary_dilation

from sparse_recon.fuse.radiance.pixels import pixels_of
from sparse_recon.types import GeneratedView

SEEN = ball_view(EYES[1])
ROWS, COLUMNS = np.nonzero(SEEN.mask)
REACH = 2 + int(0.15 * max(np.ptp(ROWS), np.ptp(COLUMNS)))
KEPT = binary_dilation(SEEN.mask, np.ones((2 * REACH + 1, 2 * REACH + 1)))


def made(confidence: float = 0.5) -> GeneratedView:
    frame = replace(SEEN.frame, depth_m=None)
    return GeneratedView(frame, SEEN.mask, np.full(SEEN.mask.shape, confidence, np.float32), "m", 0)


def test_the_pixels_in_and_around_a_mask_teach():
    pixels = pixels_of([made()], [], OBJECT_FRAME)
    assert not KEPT.all() and pixels.first.tolist() == [0, KEPT.sum()]
    np.testing.assert_array_equal(pixels.inside.numpy(), SEEN.mask[KEPT])
    np.testing.assert_allclose(pixels.colors.numpy(), SEEN.frame.rgb[KEPT] / 255, rtol=1e-6)
    assert torch.isnan(pixels.depth).all()


def test_a_picture_is_trusted_as_it_says_and_beside_the_object_as_on_the_mean_of_it():
    confidence = np.where(np.arange(CAMERA.width) < 46, 0.2, 0.8)[None, :] * np.ones((CAMERA.height, 1))
    view = replace(made(), confidence=confidence.astype(np.float32))
    mean = confidence[SEEN.mask].mean()
    expected = np.where(SEEN.mask, confidence, mean)[KEPT]
    np.testing.assert_allclose(pixels_of([view], [], OBJECT_FRAME).trust.numpy(), expected, rtol=1e-6)


def test_a_camera_is_trusted_fully_and_knows_nothing_where_something_may_hide_the_object():
    occluder = ~SEEN.mask & (np.arange(CAMERA.width) < 46)[None, :]
    pixels = pixels_of([], [replace(SEEN, occluder=occluder)], OBJECT_FRAME)
    assert torch.all(pixels.trust == 1.0)
    expected = np.where(SEEN.mask, 1.0, np.where(occluder, np.nan, 0.0))[KEPT]
    np.testing.assert_array_equal(pixels.inside.numpy(), expected)


def test_a_ray_reaches_its_measured_point_at_its_depth_in_half_edges_of_the_cube():
    pixels = pixels_of([], [SEEN], OBJECT_FRAME)
    np.testing.assert_allclose(pixels.depth.numpy(), SEEN.frame.depth_m[KEPT] / HALF_M, rtol=1e-6)
    points = pixels.rays.origins + pixels.depth[:, None] * pixels.rays.directions
    radius = points[pixels.inside == 1].norm(dim=1)
    np.testing.assert_allclose(radius.numpy(), 0.04 / HALF_M, atol=1e-5)
    np.testing.assert_allclose(points[pixels.inside == 0][:, 2].numpy(), -0.04 / HALF_M, atol=1e-5)


def test_views_whose_mask_is_empty_are_left_out():
    nothing = np.zeros_like(SEEN.mask)
    pixels = pixels_of([replace(made(), mask=nothing), made()], [replace(SEEN, mask=nothing)], OBJECT_FRAME)
    assert pixels.first.tolist() == [0, KEPT.sum()]


def test_every_view_is_sampled_as_often_whatever_its_size():
    far = ball_view(2.5 * EYES[2])
    near, small = KEPT.sum(), pixels_of([], [far], OBJECT_FRAME).first[1]
    assert small < 0.4 * near
    pixels = pixels_of([made(0.25)], [SEEN, far], OBJECT_FRAME)
    numbered = replace(pixels, depth=torch.arange(len(pixels.depth), dtype=torch.float32))
    drawn = numbered.sample(9000, torch.Generator().manual_seed(0))
    view = torch.bucketize(drawn.depth, pixels.first[1:-1].float(), right=True)
    assert torch.bincount(view, minlength=3).min() > 2800  # 3000 are expected, with a deviation of 45
    assert len(torch.unique(drawn.depth[view == 2])) > 0.9 * small  # any pixel of a view may be drawn
    np.testing.assert_array_equal(drawn.trust.numpy(), np.where(view.numpy() == 0, np.float32(0.25), 1.0))
    number = drawn.depth.long()
    assert torch.equal(drawn.colors, pixels.colors[number])
    assert torch.equal(drawn.rays.directions, pixels.rays.directions[number])
