"""Errors of depth that are alike over many pixels, so that no averaging of neighbours takes them away.

Stereo and time of flight err in lumps of 10 to 30 pixels that stand still with the scene. How strong they are is seen
on the support plane, whose true depth is known: what is left after smoothing away the noise of single pixels is slow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_recon.geometry.cameras import every_nth_pixel, pixel_rays
from sparse_recon.types import Bool, Float32, Float64, Frame

# Every n-th pixel is looked at. Noise of single pixels is smoothed away by a Gaussian, of an image 640 pixels wide.
STEP, LUMP_PX, WIDTH_PX = 2, 8.0, 640
# Pixels are of the plane within this distance, where most of their neighbourhood is too: no thing is near.
ON_PLANE_M, BARE_SHARE = 0.015, 0.9
# Less bare plane than so many lumps tells nothing.
MIN_LUMPS = 12
# Rays that meet the plane at a smaller cosine say more of its height than of depth.
MIN_COSINE = 0.2
# Objects are rounder and have less texture than what carries them: their depth errs more than a bare plane's.
OBJECT_GAIN = 1.5


@dataclass(frozen=True)
class SlowError:
    """Standard deviation of the slow part of depth errors, `per_unit * z ** power` at a depth of z metres.

    `power` is 2 for cameras that triangulate (an error of disparity) and 0 for those that time light.
    """

    per_unit: float
    power: int

    def sigma_m(self, depth_m: float) -> float:
        """Return the standard deviation at this depth, metres."""
        return self.per_unit * depth_m**self.power


# What is usual: a RealSense D4xx, an SR300, an Azure Kinect. The first was measured, the others are from data sheets.
USUAL = {"stereo": SlowError(0.0036, 2), "structured": SlowError(0.0025, 2), "tof": SlowError(0.002, 0)}


def slow_error(frame: Frame, up_world: Float64, height_m: float, power: int) -> SlowError | None:
    """Measure the slow error of a frame on its support plane `up_world @ p = height_m`; None where too little is bare.

    A tilt of the whole plane is taken for an error of the pose and left out. The spread is that of the middle 68 %, so
    that flat things on the plane count little.
    """
    import cv2

    if frame.depth_m is None:
        return None
    depth = np.ascontiguousarray(frame.depth_m[::STEP, ::STEP])
    rays = pixel_rays(every_nth_pixel(frame.intrinsics, STEP))
    up_cam = (up_world @ frame.T_world_cam[:3, :3]).astype(np.float32)
    cosine = rays @ up_cam
    plane_z = np.float32(height_m - up_world @ frame.T_world_cam[:3, 3]) / np.where(
        cosine == 0, np.float32(1e-9), cosine
    )
    steep = -cosine > MIN_COSINE * np.linalg.norm(rays, axis=-1)
    with np.errstate(invalid="ignore"):
        height = (depth - plane_z) * cosine
        on = steep & (np.abs(height) < ON_PLANE_M)
    sigma_px = LUMP_PX / STEP * frame.depth_m.shape[1] / WIDTH_PX
    bare = _share(on, depth > 0, sigma_px) & on
    if bare.sum() < MIN_LUMPS * 2 * np.pi * sigma_px**2:
        return None
    error = np.where(bare, (depth - plane_z) / np.maximum(plane_z, np.float32(1e-3)) ** power, np.float32(0.0))
    error = np.where(bare, error - _tilt(error, bare), np.float32(0.0)).astype(np.float32)
    count = cv2.GaussianBlur(bare.astype(np.float32), (0, 0), sigma_px)
    lumps = (cv2.GaussianBlur(error, (0, 0), sigma_px) / np.maximum(count, np.float32(1e-6)))[bare & (count > 0.5)]
    if len(lumps) == 0:
        return None
    low, high = np.percentile(lumps, (16, 84))
    return SlowError(float(0.5 * (high - low)), power)


def _share(on: Bool, valid: Bool, sigma_px: float) -> Bool:
    """Return around which pixels most of what was measured is on the plane."""
    import cv2

    size = 2 * round(2 * sigma_px) + 1
    counts = [cv2.boxFilter(image.astype(np.float32), -1, (size, size), normalize=False) for image in (on, valid)]
    return np.asarray(counts[0] >= BARE_SHARE * np.maximum(counts[1], 1.0))


def _tilt(error: Float32, where: Bool) -> Float32:
    """Return the plane (H, W) that fits an image best where it counts."""
    v, u = (axis.astype(np.float32) / max(error.shape) for axis in np.indices(error.shape))
    terms = np.stack([np.ones_like(u), u, v], axis=-1)
    best, *_ = np.linalg.lstsq(terms[where].astype(np.float64), error[where].astype(np.float64), rcond=None)
    return (terms @ best.astype(np.float32)).astype(np.float32)
