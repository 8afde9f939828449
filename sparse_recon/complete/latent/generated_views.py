"""From pictures that a model drew on white to frames of the world."""

from __future__ import annotations

import numpy as np

from sparse_recon.complete.latent.cameras import SphericalCamera, model_intrinsics
from sparse_recon.types import Bool, CameraIntrinsics, Float32, Float64, Frame, GeneratedView, UInt8

# Pictures are on white: what is darker is the object.
WHITE = 243
# Of those on black the object is what is brighter than this in the mean, in [0, 1]; as SparseFusion released it.
BLACK = 0.1
# What is darker, but by this brighter than the picture's border, and no rim of the object, is a dark part of it.
DARK = 0.02
# Pixels that the soft rim of a bright part is wide at most.
RIM = 2
# How far a drawn picture is believed before views are compared with each other.
CONFIDENCE = 0.5
# Where rounding of bf16, 2 % of an answer's spread, becomes a fifth of it and more.
LARGE_GUIDANCE = 10.0
# Far from the world's other stamps: imagined frames are no camera's.
STAMP_NS = 0


def generated_view(
    rgb: UInt8,
    camera: SphericalCamera,
    T_world_centre: Float64,
    unit_m: float,
    model: str,
    seed: int,
    confidence: float | Float32 = CONFIDENCE,
    lens: CameraIntrinsics | None = None,
) -> GeneratedView:
    """Return a drawn picture as a frame of the world, without depth.

    Parameters
    ----------
    rgb : (P, P, 3) uint8 on white.
    T_world_centre : (4, 4), frame in the object's centre, z up, to which `camera` is relative.
    unit_m : longest side of the object in metres.
    model, seed : what drew it.
    confidence : of each pixel, or (P, P).
    lens : of the picture; None: `model_intrinsics(P)`.
    """
    mask = object_mask(rgb, WHITE)
    T_world_cam = T_world_centre @ camera.T_obj_cam(unit_m)
    lens = lens or model_intrinsics(len(rgb))
    frame = Frame(np.ascontiguousarray(rgb), None, lens, T_world_cam, STAMP_NS, camera=model)
    pixels: Float32 = np.broadcast_to(np.asarray(confidence, np.float32), mask.shape).copy()
    return GeneratedView(frame, mask, pixels, model, seed)


def object_mask(rgb: UInt8, white: int) -> np.ndarray:
    """Return (H, W) bool, the object in an image on white: what differs from white, holes closed, largest part."""
    return _solid(rgb.min(axis=-1) < white)


def on_white(rgb: UInt8, blurred: bool = False) -> tuple[UInt8, Bool]:
    """Return a picture (H, W, 3) on black as one on white, and the object (H, W): what is bright, holes closed.

    Dark parts of it count where they are wider than the soft rim of what is bright, and do not reach the picture's
    border: that would be haze. The object stays darker than white, so that it is found again.

    Parameters
    ----------
    blurred : rims are wide, so that dark parts cannot be told from them.
    """
    level = rgb.mean(axis=-1) / 255
    bright = level > BLACK
    mask = _solid(bright if blurred else bright | _dark_parts(level, bright))
    return np.where(mask[..., None], np.minimum(rgb, WHITE - 1), np.uint8(255)).astype(np.uint8), mask


def _dark_parts(level: Float64, bright: Bool) -> Bool:
    from scipy.ndimage import binary_opening, label

    border = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    parts, _ = label(binary_opening((level > np.median(border) + DARK) & ~bright, np.ones((RIM + 1, RIM + 1), bool)))
    haze = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return (parts > 0) & ~np.isin(parts, haze)


def _solid(shown: Bool) -> np.ndarray:
    from scipy.ndimage import binary_fill_holes, binary_opening, label

    differs = binary_opening(shown, np.ones((2, 2), bool))
    parts, count = label(differs)
    if count == 0:
        return np.zeros(differs.shape, bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = sizes >= 0.1 * sizes.max()
    kept[0] = False
    return np.asarray(binary_fill_holes(kept[parts]))


def rounding_warnings(model: str, dtype: str, guidance: float) -> tuple[str, ...]:
    """Return what is to be said of guidance: it multiplies the difference of two answers, and its rounding with it."""
    if dtype != "torch.bfloat16" or guidance <= LARGE_GUIDANCE:
        return ()
    return (
        f"guidance of {guidance:g} multiplies the rounding of bf16, which then is a large share of what is "
        f"drawn; set {model}.precision to fp32 or on a GPU fp16",
    )
