"""Errors that are alike over many pixels, and partly the same from frame to frame while the camera stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.types import Float32

_CELLS = 1.6  # of a coarse grid in one standard deviation: cubic interpolation then changes the variance by 1 to 2 %


@dataclass(frozen=True, eq=False)
class Draws:
    """Random fields of which a share changes with every frame and the rest belongs to where the camera stands.

    Attributes
    ----------
    place : in the same state for all frames of a still camera.
    frame : of this frame alone.
    changing : share of the variance that `frame` draws, in [0, 1].
    """

    place: np.random.Generator
    frame: np.random.Generator
    changing: float

    def field(self, shape: tuple[int, ...], sigma_px: tuple[float, float], changing: float | None = None) -> Float32:
        """Return a Gaussian random field (H, W) float32 of mean 0 and variance 1.

        White noise smoothed by a Gaussian of `sigma_px` (rows, columns); its autocorrelation over a distance d is
        exp(-d^2 / (4 sigma^2)). Drawn on a coarse grid and interpolated, so wide fields cost less than narrow ones.
        `changing` takes the place of the usual share.
        """
        import cv2

        steps = [max(1, int(sigma / _CELLS)) for sigma in sigma_px]
        kernels = [_kernel(sigma / step) for sigma, step in zip(sigma_px, steps, strict=True)]
        rims = [len(kernel) // 2 for kernel in kernels]
        kept = [-(-size // step) for size, step in zip(shape, steps, strict=True)]
        noise = self._noise([size + 2 * rim for size, rim in zip(kept, rims, strict=True)], changing)
        smooth = cv2.sepFilter2D(noise, cv2.CV_32F, kernels[1], kernels[0])
        smooth = np.ascontiguousarray(smooth[rims[0] : rims[0] + kept[0], rims[1] : rims[1] + kept[1]])
        if steps == [1, 1]:
            return np.asarray(smooth, np.float32)
        fine = cv2.resize(smooth, (kept[1] * steps[1], kept[0] * steps[0]), interpolation=cv2.INTER_CUBIC)
        return np.asarray(fine[: shape[0], : shape[1]], np.float32)

    def _noise(self, shape: Sequence[int], changing: float | None) -> Float32:
        share = np.float32(self.changing if changing is None else changing)
        noise = self.place.standard_normal(shape, dtype=np.float32) if share < 1 else np.float32(0)
        noise *= np.sqrt(1 - share)
        if share > 0:
            noise += np.sqrt(share) * self.frame.standard_normal(shape, dtype=np.float32)
        return np.asarray(noise)


def height_of(share: npt.ArrayLike) -> Float32:
    """Return the height above which a field of mean 0 and variance 1 has this share of its pixels, (...) float32."""
    from scipy.special import ndtri

    return np.asarray(ndtri(1 - np.asarray(share, np.float64)), np.float32)


def _kernel(sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian that keeps the variance of white noise."""
    rim = int(3.0 * sigma + 1)
    kernel = np.exp(-0.5 * (np.arange(-rim, rim + 1) / max(sigma, 1e-3)) ** 2)
    return np.asarray(kernel / np.sqrt(np.sum(kernel**2)), np.float32)
