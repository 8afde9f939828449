"""From a camera's frame to the image that Zero-1-to-3 expects: centred, upright, on white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.zero123.pose import (
    FOCAL_PX,
    IMAGE_SIDE,
    MAX_RADIUS,
    MIN_ELEVATION_RAD,
    MIN_RADIUS,
    SphericalCamera,
    model_intrinsics,
)
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Float32, Float64, ObjectView, UInt8

# Fewer pixels of the object than this say nothing of it.
MIN_PIXELS = 64
# Of the outline of the mask that lies on the border of the image.
BORDER_SHARE = 0.02
_MAX_SUPERSAMPLING = 8


@dataclass(frozen=True, eq=False)
class ConditioningImage:
    """The image that the model is conditioned on.

    Attributes
    ----------
    rgb : (256, 256, 3) float32 in [0, 1], on white.
    mask : (256, 256) float32 in [0, 1], share of the object.
    camera : where it was taken from, as it is given to the model.
    warnings : sentences on what is unlike what the model knows.
    """

    rgb: Float32
    mask: Float32
    camera: SphericalCamera
    warnings: tuple[str, ...]


def conditioning_image(view: ObjectView, T_world_centre: Float64, unit_m: float) -> ConditioningImage:
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
    true_camera = SphericalCamera.at(T_centre_cam[:3, 3] / unit_m)
    if (inverse(T_centre_cam)[2, 3]) <= 0:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{frame.camera}: the object's centre lies behind the camera; check the camera pose",
        )
    camera, warnings = _clamped_camera(true_camera, unit_m)
    if _touches_border(mask):
        warnings.append(
            f"{frame.camera}: the object is cut off at the image border; zero123 will complete it too small"
        )

    # 1. The homography: pixels of the frame to pixels of the image.
    focal = FOCAL_PX * true_camera.radius / camera.radius
    R = camera.T_obj_cam()[:3, :3].T @ T_centre_cam[:3, :3]
    K = model_intrinsics().K.copy()
    K[0, 0] = K[1, 1] = focal
    H = K @ R @ np.linalg.inv(frame.intrinsics.K)

    # 2. Drawn at several times the size and averaged where the image is coarser than the frame.
    factor = int(np.clip(np.ceil(frame.intrinsics.fx / focal), 1, _MAX_SUPERSAMPLING))
    fine = np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5], [0, 0, 1.0]]) @ H
    side = IMAGE_SIDE * factor
    # Colours of the background must not bleed into the outline: they are averaged with the mask as their weight.
    weight = mask.astype(np.float32)
    stacked = np.dstack([frame.rgb.astype(np.float32) / 255.0 * weight[..., None], weight])
    warped = cv2.warpPerspective(stacked, fine, (side, side), flags=cv2.INTER_LINEAR)
    warped = warped.reshape(IMAGE_SIDE, factor, IMAGE_SIDE, factor, 4).mean(axis=(1, 3))
    alpha = np.clip(warped[..., 3], 0.0, 1.0).astype(np.float32)
    rgb = np.clip(warped[..., :3] + (1.0 - alpha[..., None]), 0.0, 1.0).astype(np.float32)
    if float(alpha.sum()) < MIN_PIXELS:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{frame.camera}: the mask does not lie at the projected centre of the object; check masks and "
            "camera poses",
        )
    return ConditioningImage(rgb, alpha, camera, tuple(warnings))


def object_mask(rgb: UInt8, white: int) -> np.ndarray:
    """Return (H, W) bool, the object in an image on white: what differs from white, holes closed, largest part."""
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


def _clamped_camera(true_camera: SphericalCamera, unit_m: float) -> tuple[SphericalCamera, list[str]]:
    radius = float(np.clip(true_camera.radius, MIN_RADIUS, MAX_RADIUS))
    warnings = []
    if true_camera.elevation_rad < MIN_ELEVATION_RAD:
        warnings.append(
            f"the camera looks from an elevation of {np.rad2deg(true_camera.elevation_rad):.0f} degrees; zero123 was "
            f"hardly trained below {np.rad2deg(MIN_ELEVATION_RAD):.0f} degrees: expect distortion"
        )
    if true_camera.radius < 0.8 * MIN_RADIUS:
        warnings.append(
            f"the camera stands {true_camera.radius * unit_m:.2f} m from an object of {unit_m:.2f} m; zero123 was "
            f"trained at {MIN_RADIUS} to {MAX_RADIUS} object sizes and is given {radius}: expect distortion"
        )
    return SphericalCamera(true_camera.polar_rad, true_camera.azimuth_rad, radius), warnings


def _touches_border(mask: np.ndarray) -> bool:
    border = sum(int(edge.sum()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return border > max(4.0, BORDER_SHARE * 4 * np.sqrt(mask.sum()))
