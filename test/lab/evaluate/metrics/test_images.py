"""Likeness of images that differ by a known amount."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.metrics.images import psnr, ssim


def picture(seed: int = 0) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80, 3)), (3, 3, 0))
    return np.clip(128 + 400 * noise, 20, 235).astype(np.uint8)


def disc() -> np.ndarray:
    v, u = np.mgrid[:60, :80]
    return np.hypot(v - 30, u - 40) < 18


def test_psnr_of_a_known_difference():
    assert psnr(picture() + np.uint8(10), picture(), disc()) == pytest.approx(20 * np.log10(255 / 10))


def test_equal_images_are_as_alike_as_can_be():
    assert psnr(picture(), picture(), disc()) == 99.0
    assert ssim(picture(), picture(), disc()) == pytest.approx(1.0)


def test_pixels_outside_the_mask_do_not_count():
    changed = picture()
    changed[~disc()] = 0
    assert psnr(changed, picture(), disc()) == 99.0
    assert ssim(changed, picture(), disc()) == pytest.approx(1.0)


def test_ssim_of_a_whole_image_is_that_of_the_paper():
    from skimage.metrics import structural_similarity

    noisy = np.clip(picture() + np.random.default_rng(1).normal(0, 12, (60, 80, 3)), 0, 255).astype(np.uint8)
    _, full = structural_similarity(
        picture(),
        noisy,
        data_range=255,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert ssim(noisy, picture(), np.ones((60, 80), bool)) == pytest.approx(full.mean(), abs=1e-9)


def test_ssim_sees_lost_structure_where_psnr_sees_a_shift_of_brightness():
    flat = np.broadcast_to(picture().mean(axis=(0, 1)), (60, 80, 3)).astype(np.uint8)
    brighter = picture() + np.uint8(20)
    assert ssim(brighter, picture(), disc()) > 0.9 > 0.5 > ssim(flat, picture(), disc())


def test_ssim_does_not_depend_on_how_much_background_there_is():
    wide = [np.pad(image, ((20, 20), (20, 20), (0, 0)), mode="edge") for image in (picture(1), picture())]
    padded = np.pad(disc(), 20)
    assert ssim(*wide, padded) == pytest.approx(ssim(picture(1), picture(), disc()), abs=1e-9)


def test_empty_mask_has_no_likeness():
    nowhere = np.zeros((60, 80), bool)
    assert np.isnan([psnr(picture(), picture(), nowhere), ssim(picture(), picture(), nowhere)]).all()


def test_image_smaller_than_a_window_has_no_ssim():
    small = picture()[:8, :8]
    assert np.isnan(ssim(small, small, np.ones((8, 8), bool)))


def test_other_sizes_are_refused():
    with pytest.raises(InputError, match=r"\(H, W, 3\)") as caught:
        psnr(picture()[:-1], picture(), disc())
    assert caught.value.code == ErrorCode.SIZE_MISMATCH


def test_floating_colours_are_refused():
    with pytest.raises(InputError, match="uint8") as caught:
        ssim(picture() / 255.0, picture(), disc())
    assert caught.value.code == ErrorCode.ENCODING_UNSUPPORTED
