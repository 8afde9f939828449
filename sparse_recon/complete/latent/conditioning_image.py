"""From cameras' frames to the image that models of one object are conditioned on: centred, upright, on white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.complete.latent.cameras import IMAGE_SIDE, SphericalCamera, TrainedCameras, model_intrinsics
from sparse_recon.errors import ErrorCode, EvidenceError
from sparse_recon.evidence import Evidence
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Float32, Float64, ObjectView, SurfaceField

# Fewer pixels of the object than this say nothing of it; of the model's image, if it has 256 pixels a side.
MIN_PIXELS = 64
# Of the outline of the mask that lies on the border of the image.
BORDER_SHARE = 0.02
_MAX_SUPERSAMPLING = 8


@dataclass(frozen=True, eq=False)
class ConditioningImage:
    """The image that the model is conditioned on.

    Attributes
    ----------
    rgb : (P, P, 3) float32 in [0, 1], on white.
    mask : (P, P) float32 in [0, 1], share of the object.
    camera : where it was taken from, as it is given to the model.
    warnings : sentences on what is unlike what the model knows.
    """

    rgb: Float32
    mask: Float32
    camera: SphericalCamera
    warnings: tuple[str, ...]


def object_extent(prior: SurfaceField, evidence: Evidence) -> tuple[Float64, float]:
    """Return the middle (3,) of a solid's bounding box in the object frame, and its longest side in metres.

    The prior is on the grid of the evidence; where it holds no solid, the box of the observed points is taken.
    """
    corners = _points_of(prior, evidence)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return 0.5 * (low + high), float((high - low).max()) + evidence.grid.voxel_m


def object_radius_m(prior: SurfaceField, evidence: Evidence, middle_obj: Float64) -> float:
    """Return the radius of the sphere about a point (3,) of the object frame that holds what `object_extent` does."""
    distances_m = np.linalg.norm(_points_of(prior, evidence) - middle_obj, axis=1)
    return float(distances_m.max()) + 0.5 * evidence.grid.voxel_m


def _points_of(prior: SurfaceField, evidence: Evidence) -> Float64:
    inside = np.argwhere(prior.sdf_m < 0).astype(np.float64)
    points = evidence.grid.points(inside) if len(inside) else evidence.all_points_obj()
    return np.asarray(points, np.float64)


def best_conditioning_view(views: Sequence[ObjectView]) -> ObjectView:
    """Return the view in which most pixels are the object's, less those that something else may hide."""

    def worth(view: ObjectView) -> float:
        border = view.mask.copy()
        border[1:-1, 1:-1] = False
        return float(view.mask.sum()) - 20.0 * float(border.sum())

    return max(views, key=worth)


def conditioning_image(
    view: ObjectView, T_world_centre: Float64, unit_m: float, trained: TrainedCameras, side: int = IMAGE_SIDE
) -> ConditioningImage:
    """Return what a camera at the same place shows that looks at the object's centre, upright, with the model's lens.

    Turning a camera about its own centre and zooming is a homography: exact. What cannot be had is another distance;
    beyond the distances that the model knows the object is shown as large as from the nearest one known.

    Parameters
    ----------
    T_world_centre : (4, 4), frame in the object's centre, z up.
    unit_m : longest side of the object in metres.
    trained : the cameras that the model knows.
    side : P, pixels along a side of the image.

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
            f"{frame.camera}: the object covers {int(mask.sum())} pixels, {trained.model} needs {MIN_PIXELS}; "
            "move the camera nearer",
        )
    T_centre_cam = inverse(T_world_centre) @ frame.T_world_cam
    true_camera = SphericalCamera.at(T_centre_cam[:3, 3] / unit_m)
    if (inverse(T_centre_cam)[2, 3]) <= 0:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{frame.camera}: the object's centre lies behind the camera; check the camera pose",
        )
    camera, warnings = _clamped_camera(true_camera, unit_m, trained)
    if touches_border(mask):
        warnings.append(
            f"{frame.camera}: the object is cut off at the image border; {trained.model} will complete it too small"
        )

    # 1. The homography: pixels of the frame to pixels of the image.
    lens = model_intrinsics(side)
    focal = lens.fx * true_camera.radius / camera.radius
    R = camera.T_obj_cam()[:3, :3].T @ T_centre_cam[:3, :3]
    K = lens.K.copy()
    K[0, 0] = K[1, 1] = focal
    H = K @ R @ np.linalg.inv(frame.intrinsics.K)

    # 2. Drawn at several times the size and averaged where the image is coarser than the frame.
    factor = int(np.clip(np.ceil(frame.intrinsics.fx / focal), 1, _MAX_SUPERSAMPLING))
    fine = np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5], [0, 0, 1.0]]) @ H
    # Colours of the background must not bleed into the outline: they are averaged with the mask as their weight.
    weight = mask.astype(np.float32)
    stacked = np.dstack([frame.rgb.astype(np.float32) / 255.0 * weight[..., None], weight])
    warped = cv2.warpPerspective(stacked, fine, (side * factor, side * factor), flags=cv2.INTER_LINEAR)
    warped = warped.reshape(side, factor, side, factor, 4).mean(axis=(1, 3))
    alpha = np.clip(warped[..., 3], 0.0, 1.0).astype(np.float32)
    rgb = np.clip(warped[..., :3] + (1.0 - alpha[..., None]), 0.0, 1.0).astype(np.float32)
    if float(alpha.sum()) < MIN_PIXELS * (side / IMAGE_SIDE) ** 2:
        raise EvidenceError(
            ErrorCode.OBJECT_NOT_IN_VIEW,
            f"{frame.camera}: the mask does not lie at the projected centre of the object; check masks and "
            "camera poses",
        )
    return ConditioningImage(rgb, alpha, camera, tuple(warnings))


def _clamped_camera(
    true_camera: SphericalCamera, unit_m: float, trained: TrainedCameras
) -> tuple[SphericalCamera, list[str]]:
    radius = float(np.clip(true_camera.radius, trained.min_radius, trained.max_radius))
    elevation_rad = true_camera.elevation_rad
    warnings = []
    for beyond, side, limit_rad in (
        (elevation_rad < trained.min_elevation_rad, "below", trained.min_elevation_rad),
        (elevation_rad > trained.max_elevation_rad, "above", trained.max_elevation_rad),
    ):
        if beyond:
            warnings.append(
                f"the camera looks from an elevation of {np.rad2deg(elevation_rad):.0f} degrees; {trained.model} was "
                f"hardly trained {side} {np.rad2deg(limit_rad):.0f} degrees: expect distortion"
            )
    if true_camera.radius < 0.8 * trained.min_radius:
        known = " to ".join(str(r) for r in dict.fromkeys((trained.min_radius, trained.max_radius)))
        warnings.append(
            f"the camera stands {true_camera.radius * unit_m:.2f} m from an object of {unit_m:.2f} m; {trained.model} "
            f"was trained at {known} object sizes and is given {radius}: expect distortion"
        )
    return SphericalCamera(true_camera.polar_rad, true_camera.azimuth_rad, radius), warnings


def touches_border(mask: np.ndarray) -> bool:
    """Whether more of an object than a corner or a foot lies on the border of its image, given its mask (H, W)."""
    border = sum(int(edge.sum()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return border > max(4.0, BORDER_SHARE * 4 * np.sqrt(mask.sum()))
