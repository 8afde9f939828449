"""From a camera's frame to the picture that Zero-1-to-3 expects: centred, upright, on white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.zero123.pose import (
    FARTHEST,
    FOCAL_PX,
    LOWEST_RAD,
    NEAREST,
    PICTURE_SIDE,
    SphericalCamera,
    picture_camera,
)
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Float32, Float64, ObjectView, UInt8

# Fewer pixels of the object than this say nothing of it.
MIN_PIXELS = 64
# Of the outline of the mask that lies on the border of the image.
CUT_SHARE = 0.02
_MOST_SHRINK = 8


@dataclass(frozen=True, eq=False)
class InputPicture:
    """The picture that the model is shown.

    Attributes
    ----------
    rgb : (256, 256, 3) float32 in [0, 1], on white.
    mask : (256, 256) float32 in [0, 1], share of the object.
    camera : where it was taken from, as the model is told.
    warnings : sentences on what is unlike what the model knows.
    """

    rgb: Float32
    mask: Float32
    camera: SphericalCamera
    warnings: tuple[str, ...]


def input_picture(view: ObjectView, T_world_centre: Float64, unit_m: float) -> InputPicture:
    """Return what a camera at the same place shows that looks at the object's centre, upright, with the model's lens.

    Turning a camera about its own centre and zooming is a homography: exact. What cannot be had is another distance;
    beyond the distances that the model knows the object is shown as large as from the nearest one known.

    Parameters
    ----------
    T_world_centre : (4, 4), frame in the object's centre, z up.
    unit_m : longest side of the object in metres.

    Raises
    ------
    EvidenceError
        OBJECT_TOO_SMALL if the mask holds hardly a pixel, OBJECT_NOT_IN_VIEW if the centre lies behind the camera.
    """
    import cv2

    frame, mask = view.frame, view.mask
    if int(mask.sum()) < MIN_PIXELS:
        raise EvidenceError(
            ErrorCode.OBJECT_TOO_SMALL,
            f"{frame.camera}: the object covers {int(mask.sum())} pixels, zero123 needs {MIN_PIXELS}; move the camera "
            "nearer",
        )
    T_centre_cam = inverse(T_world_centre) @ frame.T_world_cam
    seen_from = SphericalCamera.at(T_centre_cam[:3, 3] / unit_m)
    if (inverse(T_centre_cam)[2, 3]) <= 0:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{frame.camera}: the object's centre lies behind the camera; check the camera pose",
        )
    camera, warnings = _known(seen_from, unit_m)
    if _cut(mask):
        warnings.append(
            f"{frame.camera}: the object is cut off at the image border; zero123 will complete it too small"
        )

    # 1. The homography: pixels of the frame to pixels of the picture.
    focal = FOCAL_PX * seen_from.radius / camera.radius
    R = camera.T_obj_cam()[:3, :3].T @ T_centre_cam[:3, :3]
    K = picture_camera().K.copy()
    K[0, 0] = K[1, 1] = focal
    H = K @ R @ np.linalg.inv(frame.intrinsics.K)

    # 2. Drawn at several times the size and averaged where the picture is coarser than the frame.
    shrink = int(np.clip(np.ceil(frame.intrinsics.fx / focal), 1, _MOST_SHRINK))
    fine = np.array([[shrink, 0, 0.5 * shrink - 0.5], [0, shrink, 0.5 * shrink - 0.5], [0, 0, 1.0]]) @ H
    side = PICTURE_SIDE * shrink
    # Colours of the background must not bleed into the outline: they are averaged with the mask as their weight.
    weight = mask.astype(np.float32)
    stacked = np.dstack([frame.rgb.astype(np.float32) / 255.0 * weight[..., None], weight])
    drawn = cv2.warpPerspective(stacked, fine, (side, side), flags=cv2.INTER_LINEAR)
    drawn = drawn.reshape(PICTURE_SIDE, shrink, PICTURE_SIDE, shrink, 4).mean(axis=(1, 3))
    alpha = np.clip(drawn[..., 3], 0.0, 1.0).astype(np.float32)
    rgb = np.clip(drawn[..., :3] + (1.0 - alpha[..., None]), 0.0, 1.0).astype(np.float32)
    if float(alpha.sum()) < MIN_PIXELS:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{frame.camera}: the mask does not lie at the projected centre of the object; check masks and "
            "camera poses",
        )
    return InputPicture(rgb, alpha, camera, tuple(warnings))


def object_mask(rgb: UInt8, white: int) -> np.ndarray:
    """Return (H, W) bool, the object in a picture on white: what differs from white, holes closed, largest part."""
    from scipy.ndimage import binary_fill_holes, binary_opening, label

    differs = binary_opening(rgb.min(axis=-1) < white, np.ones((2, 2), bool))
    parts, count = label(differs)
    if count == 0:
        return np.zeros(differs.shape, bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = sizes >= 0.1 * sizes.max()
    kept[0] = False
    return np.asarray(binary_fill_holes(kept[parts]))


def _known(seen_from: SphericalCamera, unit_m: float) -> tuple[SphericalCamera, list[str]]:
    radius = float(np.clip(seen_from.radius, NEAREST, FARTHEST))
    warnings = []
    if seen_from.elevation_rad < LOWEST_RAD:
        warnings.append(
            f"the camera looks from an elevation of {np.rad2deg(seen_from.elevation_rad):.0f} degrees; zero123 was "
            f"hardly trained below {np.rad2deg(LOWEST_RAD):.0f} degrees: expect distortion"
        )
    if seen_from.radius < 0.8 * NEAREST:
        warnings.append(
            f"the camera stands {seen_from.radius * unit_m:.2f} m from an object of {unit_m:.2f} m; zero123 was "
            f"trained at {NEAREST} to {FARTHEST} object sizes and is given {radius}: expect distortion"
        )
    return SphericalCamera(seen_from.polar_rad, seen_from.azimuth_rad, radius), warnings


def _cut(mask: np.ndarray) -> bool:
    border = sum(int(edge.sum()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return border > max(4.0, CUT_SHARE * 4 * np.sqrt(mask.sum()))
