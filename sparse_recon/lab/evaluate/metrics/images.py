"""Likeness of two images of an object: PSNR and SSIM."""

from __future__ import annotations

import numpy as np

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.types import Bool, UInt8

DATA_RANGE = 255.0
MOST_PSNR_DB = 99.0
SSIM_SIGMA_PX = 1.5
SSIM_WINDOW_PX = 11


def psnr(predicted: UInt8, true: UInt8, mask: Bool) -> float:
    """Return the peak signal-to-noise ratio in dB, over the pixels of a mask and all three colours.

    99 where images are equal or nearly so; NaN of an empty mask.

    Parameters
    ----------
    predicted, true : (H, W, 3) uint8 sRGB; the peak is 255.
    mask : (H, W) bool, pixels of the object.

    Raises
    ------
    InputError
        SIZE_MISMATCH if sizes differ, ENCODING_UNSUPPORTED if colours are not uint8.
    """
    from skimage.metrics import peak_signal_noise_ratio

    _check(predicted, true, mask)
    if not mask.any():
        return float("nan")
    with np.errstate(divide="ignore"):
        ratio = peak_signal_noise_ratio(true[mask], predicted[mask], data_range=DATA_RANGE)
    return min(float(ratio), MOST_PSNR_DB)


def ssim(predicted: UInt8, true: UInt8, mask: Bool) -> float:
    """Return the mean structural similarity over the pixels of a mask, in [-1, 1] (Wang et al., TIP 2004).

    Gaussian windows of 11 pixels with sigma 1.5, range 255, mean over the colours; outside the mask both images are
    taken as the true one, so that only pixels of the object count. NaN of an empty mask, or if no window fits.

    Parameters and errors are those of `psnr`.
    """
    from skimage.metrics import structural_similarity

    _check(predicted, true, mask)
    if not mask.any() or min(mask.shape) < SSIM_WINDOW_PX:
        return float("nan")
    window = _around(mask)
    true, mask = true[window], mask[window]
    pasted = np.where(mask[..., None], predicted[window], true)
    _, similarity = structural_similarity(
        true,
        pasted,
        data_range=DATA_RANGE,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=SSIM_SIGMA_PX,
        use_sample_covariance=False,
        full=True,
    )
    return float(similarity[mask].mean())


def _around(mask: Bool) -> tuple[slice, slice]:
    """Return the rows and columns of a mask's box, with a margin as wide as a window."""
    spans = []
    for axis, length in enumerate(mask.shape):
        used = np.nonzero(mask.any(axis=1 - axis))[0]
        spans.append(slice(max(int(used[0]) - SSIM_WINDOW_PX, 0), min(int(used[-1]) + SSIM_WINDOW_PX + 1, length)))
    return spans[0], spans[1]


def _check(predicted: UInt8, true: UInt8, mask: Bool) -> None:
    if predicted.shape != (*mask.shape, 3) or true.shape != predicted.shape:
        raise InputError(
            ErrorCode.SIZE_MISMATCH,
            f"images must be (H, W, 3) and the mask (H, W), got {predicted.shape}, {true.shape} and {mask.shape}",
        )
    if predicted.dtype != np.uint8 or true.dtype != np.uint8:
        raise InputError(
            ErrorCode.ENCODING_UNSUPPORTED, f"images must be uint8 sRGB, got {predicted.dtype} and {true.dtype}"
        )
