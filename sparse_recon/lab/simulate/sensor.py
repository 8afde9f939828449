"""What a real RGB-D camera makes of a true view: depth errors of its kind, pose and mask errors, all seeded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sparse_recon.lab.simulate.pixel_noise import pixel_noise
from sparse_recon.lab.simulate.profiles import SENSORS as SENSORS
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.sensor_model import SensorModel as SensorModel
from sparse_recon.types import Float64, Frame, Int32, UInt8


def sense(
    view: RenderedView,
    model: SensorModel,
    rng: np.random.Generator,
    *,
    stamp_ns: int,
    camera: str = "camera",
    with_labels: bool = True,
    place: np.random.Generator | None = None,
) -> Frame:
    """Return the frame that a camera of this model would deliver.

    Parameters
    ----------
    view : true images.
    rng : draws everything; the same state and model give the same frame bit for bit.
    stamp_ns, camera : of the frame.
    with_labels : False leaves the segmentation to the receiver.
    place : draws the part of the depth errors that stays while camera and scene stand still; give it in the same state
        for every frame of a still camera. None draws it from `rng`.

    Returns
    -------
    Frame whose depth is NaN where invalid and whose pose is the measured, not the true one.
    """
    if model.faults is None:
        depth_m = pixel_noise(view, model, rng)
    else:
        depth_m = model.faults.measured(view, rng, rng if place is None else place)
    depth_m[~((depth_m > model.near_m) & (depth_m < model.far_m))] = np.nan
    labels = _careless(view.labels, model, rng) if with_labels else None
    rgb = _grainy(view.rgb, model, rng)
    T_world_cam = _misplaced(view.T_world_cam, model, rng)
    return Frame(rgb, depth_m, view.intrinsics, T_world_cam, stamp_ns, labels, camera)


def exact(model: SensorModel) -> SensorModel:
    """Return the same camera with exact poses and masks."""
    return replace(model, pose_sigma_m=0.0, pose_sigma_deg=0.0, mask_px=0)


def _careless(labels: Int32, model: SensorModel, rng: np.random.Generator) -> Int32:
    """Shrink or grow every mask by its own number of pixels; growing masks stay off other objects."""
    drawn = labels.copy()
    for label in np.unique(labels[labels > 0]):
        by_px = int(rng.integers(-model.mask_px, model.mask_px + 1))
        mask = labels == label
        if by_px > 0:
            drawn[ndimage.binary_dilation(mask, iterations=by_px) & (labels == 0)] = label
        elif by_px < 0:
            drawn[mask & ~ndimage.binary_erosion(mask, iterations=-by_px)] = 0
    return drawn


def _grainy(rgb: UInt8, model: SensorModel, rng: np.random.Generator) -> UInt8:
    if model.color_sigma == 0:
        return rgb
    noise = rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(model.color_sigma)
    return np.clip(rgb + noise + 0.5, 0, 255).astype(np.uint8)


def _misplaced(T_world_cam: Float64, model: SensorModel, rng: np.random.Generator) -> Float64:
    T = T_world_cam.copy()
    turn = Rotation.from_rotvec(np.deg2rad(model.pose_sigma_deg) * rng.standard_normal(3))
    T[:3, :3] = T[:3, :3] @ turn.as_matrix()
    T[:3, 3] += model.pose_sigma_m * rng.standard_normal(3)
    return T
