"""What is missing in depth because two cameras look from two places: shadows, and gaps where pixels move apart."""

from __future__ import annotations

import numpy as np

from sparse_recon.types import Bool, CameraIntrinsics, Float32


def hidden_from(
    inverse_m: Float32, intrinsics: CameraIntrinsics, offset_m: float, half_fov_deg: float, slack_px: Float32
) -> Bool:
    """Return which pixels (H, W) a second camera or projector does not see.

    Parameters
    ----------
    inverse_m : (H, W) float32, 1 / depth, 1/m.
    offset_m : place of the second optical centre along x of the first. Shadows fall to the left of what is nearer
        where it is positive.
    half_fov_deg : angle between the second camera's axis and the end of its image. 90 has no end.
    slack_px : (H, W) float32 by which the ends of shadows wander.
    """
    x = ((np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx).astype(np.float32)
    half_pixel = np.float32(0.5 / intrinsics.fx)
    slack = slack_px / np.float32(intrinsics.fx)
    other = x - np.float32(offset_m) * inverse_m  # tangent of the angle in the second camera
    # Both cameras meet things of a row in the same order; what comes too late is behind something.
    if offset_m > 0:
        too_late = other - np.minimum.accumulate(other[:, ::-1], axis=1)[:, ::-1]
    else:
        too_late = np.maximum.accumulate(other, axis=1) - other
    hidden = too_late > np.maximum(slack, 0) + half_pixel
    if half_fov_deg < 90:
        hidden |= np.abs(other + slack) > np.float32(np.tan(np.deg2rad(half_fov_deg)))
    return np.asarray(hidden)


def gaps(inverse_m: Float32, focal_px: float, offset_m: tuple[float, float], stretch: float, lines: bool) -> Bool:
    """Return the pixels (H, W) onto which no pixel of the depth camera falls when its depth is moved to another camera.

    Parameters
    ----------
    inverse_m : (H, W) float32, 1 / depth, 1/m.
    offset_m : parallax of both cameras along x and y. Where depth changes so that pixels move apart, gaps follow lines
        of equal depth.
    stretch : pixels of this image in one pixel of the depth camera, 1 or more.
    lines : True leaves every missed row and column open, False their crossings alone.
    """
    down, across = (
        _missed(np.float32(offset * focal_px) * inverse_m, stretch, axis)
        for offset, axis in ((offset_m[1], 0), (offset_m[0], 1))
    )
    return down | across if lines else down & across


def _missed(shift_px: Float32, stretch: float, axis: int) -> Bool:
    """Whether no pixel of the source falls between the borders of a pixel, along one axis."""
    shift_px = np.moveaxis(shift_px, axis, 0)
    at_px = (np.arange(len(shift_px), dtype=np.float32)[:, None] - shift_px) / np.float32(stretch)
    border = np.empty((len(at_px) + 1, at_px.shape[1]), np.float32)
    border[1:-1] = 0.5 * (at_px[1:] + at_px[:-1])
    border[0], border[-1] = at_px[0] - 0.5 / stretch, at_px[-1] + 0.5 / stretch
    whole = np.ceil(border)
    return np.asarray(np.moveaxis(whole[:-1] == whole[1:], 0, axis))
