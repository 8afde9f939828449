"""Images tell a camera that moves from one that stands still, whatever moves before it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from sparse_recon.evidence.still_images import unmoved_share
from sparse_recon.geometry.poses import look_at
from sparse_recon.types import CameraIntrinsics, Frame

W, H = 640, 480
CAMERA = CameraIntrinsics(W, H, np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]))
RNG = np.random.default_rng(3)
WALL = cv2.resize(RNG.integers(0, 256, (85, 105, 3), dtype=np.uint8), (W + 200, H + 200))  # spots of 8 pixels
THING = RNG.integers(0, 256, (120, 160, 3), dtype=np.uint8)


def shot(number: int, shift_px: int = 0, thing_px: int = 100, sigma: float = 4.0) -> Frame:
    """Return an image of a wall, moved by so many pixels, with a thing before it, and the noise of a sensor."""
    rgb = WALL[:H, shift_px : shift_px + W].copy()
    rgb[200:320, thing_px : thing_px + 160] = THING
    noisy = rgb + np.random.default_rng(number).normal(0.0, sigma, rgb.shape)
    rgb = np.clip(noisy, 0, 255).astype(np.uint8)
    return Frame(rgb, np.full((H, W), 1.0, np.float32), CAMERA, look_at((1, 0, 1), (0, 0, 0)), 1000 + number)


def test_a_camera_that_stands_still_sees_most_at_the_same_place():
    assert unmoved_share([shot(k) for k in range(4)]) > 0.8


def test_it_does_so_too_while_a_thing_moves_before_it():
    assert unmoved_share([shot(k, thing_px=60 * k) for k in range(4)]) > 0.6


@pytest.mark.parametrize("step_px", [10, 40])
def test_a_camera_that_moves_sees_nothing_at_the_same_place(step_px: int):
    assert unmoved_share([shot(k, shift_px=step_px * k) for k in range(4)]) < 0.2


def test_images_without_texture_tell_nothing():
    grey = [replace(shot(k), rgb=np.full((H, W, 3), 90, np.uint8)) for k in range(3)]
    assert np.isnan(unmoved_share(grey))
    assert np.isnan(unmoved_share([]))


def test_things_that_move_on_a_white_table_tell_nothing():
    white = []
    for k in range(3):
        rgb = np.full((H, W, 3), 200, np.uint8)
        rgb[200:320, 60 * k : 60 * k + 160] = THING
        white.append(replace(shot(k), rgb=rgb))
    assert np.isnan(unmoved_share(white))
