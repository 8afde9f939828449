"""What cameras make of true views, in the small images of the segmenter: strengths are drawn anew for every sample.

Kinds and strengths of the errors of stereo cameras were taken from measurements on real frames of a tabletop: slow
errors in disparity, foregrounds that fatten and smear over several pixels, holes where there is no texture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sparse_recon.types import Bool, Float32, UInt8

# At the focal length of a 640 pixel wide image; a sample is half as wide.
_FOCAL_640 = 615.0
_STEREO_SHARE = 0.7


def seen_depth(
    depth_m: Float32, rgb: UInt8, labels: npt.NDArray[np.uint8], fx: float, rng: np.random.Generator
) -> Float32:
    """Return depth as a camera would give it, (H, W) float32 metres, NaN where invalid."""
    stereo = rng.random() < _STEREO_SHARE
    seen = _stereo(depth_m, rgb, labels, fx, rng) if stereo else _active(depth_m, rgb, rng)
    if rng.random() < 0.1:  # depth registered to a finer colour image
        seen[:: int(rng.integers(2, 5)), :: int(rng.integers(2, 5))] = np.nan
    far = rng.uniform(1.6, 5.0)
    seen[~((seen > rng.uniform(0.1, 0.3)) & (seen < far))] = np.nan
    return seen


def _stereo(
    depth_m: Float32, rgb: UInt8, labels: npt.NDArray[np.uint8], fx: float, rng: np.random.Generator
) -> Float32:
    baseline_m = float(np.exp(rng.uniform(np.log(0.045), np.log(0.12))))
    scale = fx * baseline_m
    true = np.where(depth_m > 0, scale / depth_m, 0.0).astype(np.float32)  # disparity in pixels of the sample
    texture = _texture(rgb)
    disparity = _smeared(true, rng)
    strength = 0.5 * float(np.exp(rng.uniform(np.log(0.015), np.log(0.2))))
    slow = 0.8 * _field(true.shape, rng.uniform(1.5, 3.0), rng) + 0.6 * _field(true.shape, rng.uniform(4.0, 8.0), rng)
    poor = 1.0 + rng.uniform(0, 1.5) * (labels > 0) + rng.uniform(0, 1.0) * (texture < 0.3)
    disparity += strength * (slow * poor + rng.uniform(0, 0.7) * _field(true.shape, 0.0, rng)).astype(np.float32)
    step = 0.5 * float(rng.choice([1 / 8, 1 / 16, 1 / 32]))
    disparity = (np.round(disparity / step) * step).astype(np.float32)
    seen = np.where(disparity > 1e-3, scale / np.maximum(disparity, 1e-3), np.nan).astype(np.float32)
    holes = _field(true.shape, rng.uniform(1.0, 3.0), rng) - rng.uniform(0.5, 2.0) * texture > rng.uniform(0.2, 2.5)
    if rng.random() < 0.8:
        holes |= _shadow(true) & (_field(true.shape, 1.5, rng) > rng.uniform(-2.0, 1.0))
    edges = cv2.dilate(_jumps(true, 1.0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    holes |= edges & (_field(true.shape, 1.0, rng) > rng.uniform(0.3, 2.5))
    seen[holes] = np.nan
    return seen


def _active(depth_m: Float32, rgb: UInt8, rng: np.random.Generator) -> Float32:
    """Time of flight and structured light: flying pixels, rounded corners, holes on dark surface."""
    sigma_m = float(np.exp(rng.uniform(np.log(0.0005), np.log(0.004))))
    slow = 0.7 * _field(depth_m.shape, rng.uniform(1.5, 6.0), rng) + 0.7 * _field(depth_m.shape, 0.0, rng)
    filled = np.nan_to_num(depth_m, nan=9.0)
    seen = filled.copy()
    near_edge = cv2.dilate(_jumps(filled, 0.02).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    blurred = cv2.blur(filled, (3, 3))
    flying = near_edge & (rng.random(depth_m.shape) < rng.uniform(0.1, 0.9))
    seen[flying] = blurred[flying]
    if rng.random() < 0.5:  # multipath rounds concave corners
        k = int(rng.choice([5, 9, 13]))
        soft = cv2.blur(filled, (k, k))
        close = np.abs(soft - filled) < 0.02
        seen[close] += (rng.uniform(0, 0.8) * (soft - filled))[close]
    seen += (sigma_m * (1.0 + 0.5 * filled) * slow).astype(np.float32)
    holes = near_edge & (_field(depth_m.shape, 0.7, rng) > rng.uniform(0.3, 2.5))
    grey = rgb.mean(axis=2)
    if rng.random() < 0.4:
        holes |= (grey < rng.uniform(10, 60)) & (_field(depth_m.shape, 2.0, rng) > rng.uniform(-1, 1.5))
    holes |= _field(depth_m.shape, rng.uniform(1, 4), rng) > rng.uniform(1.5, 3.5)
    seen[holes] = np.nan
    return seen.astype(np.float32)


def seen_color(rgb: UInt8, rng: np.random.Generator) -> UInt8:
    """Return colour as a camera would give it: exposure, white balance, blur, noise; grey now and then."""
    image = rgb.astype(np.float32) / 255.0
    image = np.clip(image, 0, 1) ** rng.uniform(0.6, 1.6)
    image = (image - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.uniform(-0.15, 0.15)
    image *= rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.15:
        image = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.0)))
    light = 1.0 + rng.uniform(0, 0.25) * _field(image.shape[:2], 30.0, rng)[..., None]
    image = image * light + rng.uniform(0, 0.03) * rng.standard_normal(image.shape)
    if rng.random() < 0.3:
        image = np.roll(image, rng.integers(-2, 3, 2), (0, 1))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _smeared(disparity: Float32, rng: np.random.Generator) -> Float32:
    """Block matching: within a window of an outline the foreground wins, and between both lies a ramp."""
    fat, ramp = int(rng.integers(0, 3)), int(rng.integers(1, 4))
    front = cv2.dilate(disparity, np.ones((2 * fat + 1, 2 * fat + 1), np.uint8))
    smooth = cv2.blur(front, (2 * ramp + 1, 2 * ramp + 1))
    reach = 2 * (fat + ramp) + 1
    near = cv2.dilate(_jumps(disparity, 0.15).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    near &= _field(disparity.shape, 3.0, rng) > rng.uniform(-2.5, 0.5)
    return np.where(near, smooth, disparity).astype(np.float32)


def _shadow(disparity: Float32) -> Bool:
    """Return which pixels the other camera of the pair does not see, being behind something to their right."""
    hidden = np.zeros(disparity.shape, bool)
    for k in range(1, 16):
        hidden[:, :-k] |= disparity[:, k:] - disparity[:, :-k] > k
    return hidden


def _jumps(image: Float32, least: float) -> Bool:
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(image, kernel) - cv2.erode(image, kernel) > least)


def _texture(rgb: UInt8) -> Float32:
    """Return how much there is for a matcher to hold on to, about 0 to 1."""
    grey = rgb.astype(np.float32).mean(axis=2)
    detail = np.abs(grey - cv2.blur(grey, (5, 5)))
    return np.minimum(cv2.blur(detail, (7, 7)) / 6.0, 1.0)


def _field(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Float32:
    """Return a Gaussian field of unit variance, alike over `sigma_px`; drawn coarsely where it is smooth."""
    if sigma_px <= 0.5:
        return rng.standard_normal(shape, dtype=np.float32)
    coarse = [max(int(np.ceil(n / sigma_px)) + 3, 4) for n in shape[:2]]
    noise = cv2.resize(
        rng.standard_normal(coarse, dtype=np.float32), None, fx=sigma_px, fy=sigma_px, interpolation=cv2.INTER_CUBIC
    )
    cut = noise[: shape[0], : shape[1]]
    return np.asarray(cut / max(float(cut.std()), 1e-6), np.float32)
