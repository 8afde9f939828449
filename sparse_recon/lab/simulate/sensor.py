"""What a real RGB-D camera makes of a true view: noise, ragged edges, holes, pose and mask errors, all seeded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from sparse_recon.config.parameters import Checked, doc
from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.types import Bool, Float32, Float64, Frame, Int32, UInt8

_JUMP_M = 0.02


@dataclass(frozen=True)
class SensorModel(Checked):
    """Errors of a depth camera; the default has none.

    Axial noise is `axial_base_m + axial_quadratic (z - 0.4 m)^2` (Nguyen, Izadi, Lovell, 3DIMPVT 2012) for a camera
    of the first Kinect's kind, plus `z^2 sigma_d / (f B)` for a stereo camera.
    """

    axial_base_m: float = field(
        default=0.0,
        metadata=doc("Standard deviation of the depth noise at a depth of 0.4 m.", unit="m", low=0.0, high=0.1),
    )
    axial_quadratic: float = field(
        default=0.0,
        metadata=doc(
            "Quadratic growth of the depth noise: sigma = axial_base_m + axial_quadratic * (z - 0.4 m)^2.",
            unit="1/m",
            low=0.0,
            high=1.0,
        ),
    )
    baseline_m: float = field(
        default=0.05, metadata=doc("Baseline of the stereo camera.", unit="m", low=0.001, high=1.0)
    )
    disparity_sigma_px: float = field(
        default=0.0, metadata=doc("Standard deviation of the disparity.", unit="px", low=0.0, high=5.0)
    )
    disparity_step_px: float = field(
        default=0.0,
        metadata=doc("Quantisation step of the disparity. 0 does not quantise.", unit="px", low=0.0, high=1.0),
    )
    correlation_px: float = field(
        default=0.0,
        metadata=doc(
            "Standard deviation of the Gaussian over which noise of neighbouring pixels is correlated. 0 "
            "makes pixels independent.",
            unit="px",
            low=0.0,
            high=20.0,
        ),
    )
    edge_px: float = field(
        default=0.0,
        metadata=doc(
            "Standard deviation of the sideways displacement of object outlines in depth.", unit="px", low=0.0, high=5.0
        ),
    )
    flying: float = field(
        default=0.0,
        metadata=doc(
            "Share of edge pixels that become flying pixels between foreground and background.", low=0.0, high=1.0
        ),
    )
    grazing_deg: float = field(
        default=90.0,
        metadata=doc(
            "Largest angle between surface normal and ray at which depth is measured. Surfaces seen more "
            "obliquely are holes.",
            unit="deg",
            low=1.0,
            high=90.0,
        ),
    )
    specular_deg: float = field(
        default=0.0,
        metadata=doc(
            "Largest angle between surface normal and ray within which surfaces of objects reflect the camera's "
            "own light and are holes. 0 makes no such holes.",
            unit="deg",
            low=0.0,
            high=45.0,
        ),
    )
    dropout: float = field(default=0.0, metadata=doc("Share of pixels lost in blobs.", low=0.0, high=0.9))
    near_m: float = field(default=0.0, metadata=doc("Smallest valid depth.", unit="m", low=0.0, high=10.0))
    far_m: float = field(default=100.0, metadata=doc("Largest valid depth.", unit="m", low=0.01, high=1000.0))
    pose_sigma_m: float = field(
        default=0.0,
        metadata=doc("Standard deviation of the camera translation error, per axis.", unit="m", low=0.0, high=0.5),
    )
    pose_sigma_deg: float = field(
        default=0.0,
        metadata=doc("Standard deviation of the camera rotation error, per axis.", unit="deg", low=0.0, high=30.0),
    )
    mask_px: int = field(default=0, metadata=doc("Largest dilation or erosion of a mask.", unit="px", low=0, high=20))
    color_sigma: float = field(
        default=0.0, metadata=doc("Standard deviation of colour noise, in 8-bit levels.", low=0.0, high=50.0)
    )

    def axial_m(self, depth_m: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the standard deviation of the part that does not come from disparity, metres."""
        return self.axial_base_m + self.axial_quadratic * (depth_m - 0.4) ** 2

    def sigma_m(self, depth_m: npt.NDArray[np.floating], focal_px: float) -> npt.NDArray[np.floating]:
        """Return the standard deviation of depth, metres, without quantisation."""
        return np.hypot(self.axial_m(depth_m), depth_m**2 * self.disparity_sigma_px / (focal_px * self.baseline_m))


SENSORS: dict[str, SensorModel] = {
    "clean": SensorModel(),
    "realsense": SensorModel(
        disparity_sigma_px=0.07,
        disparity_step_px=1 / 32,
        correlation_px=1.6,
        edge_px=0.9,
        flying=0.35,
        grazing_deg=80.0,
        dropout=0.008,
        near_m=0.2,
        far_m=3.0,
        pose_sigma_m=0.0007,
        pose_sigma_deg=0.06,
        mask_px=1,
        color_sigma=1.5,
    ),
    "kinect": SensorModel(
        axial_base_m=0.0012,
        axial_quadratic=0.0019,
        correlation_px=1.0,
        edge_px=1.2,
        flying=0.2,
        grazing_deg=75.0,
        dropout=0.015,
        near_m=0.4,
        far_m=4.5,
        pose_sigma_m=0.0007,
        pose_sigma_deg=0.06,
        mask_px=2,
        color_sigma=2.0,
    ),
}


def sense(
    view: RenderedView,
    model: SensorModel,
    rng: np.random.Generator,
    *,
    stamp_ns: int,
    camera: str = "camera",
    with_labels: bool = True,
) -> Frame:
    """Return the frame that a camera of this model would deliver.

    Parameters
    ----------
    view : true images.
    rng : draws everything; the same state and model give the same frame bit for bit.
    stamp_ns, camera : of the frame.
    with_labels : False leaves the segmentation to the receiver.

    Returns
    -------
    Frame whose depth is NaN where invalid and whose pose is the measured, not the true one.
    """
    depth_m = _wandering_edges(view.depth_m, model, rng)
    depth_m = _flying_pixels(depth_m, model, rng)
    depth_m = _noisy(depth_m, view.intrinsics.fx, model, rng)
    depth_m[_holes(view, model, rng)] = np.nan
    depth_m[~((depth_m > model.near_m) & (depth_m < model.far_m))] = np.nan
    labels = _careless(view.labels, model, rng) if with_labels else None
    rgb = _grainy(view.rgb, model, rng)
    T_world_cam = _misplaced(view.T_world_cam, model, rng)
    return Frame(rgb, depth_m, view.intrinsics, T_world_cam, stamp_ns, labels, camera)


def exact(model: SensorModel) -> SensorModel:
    """Return the same camera with exact poses and masks."""
    return replace(model, pose_sigma_m=0.0, pose_sigma_deg=0.0, mask_px=0)


def _field(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Float32:
    """Gaussian field of unit variance, alike over `sigma_px`."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px <= 0:
        return noise
    spike = np.zeros(2 * int(4 * sigma_px + 1) + 1)
    spike[len(spike) // 2] = 1.0
    gain = np.sum(ndimage.gaussian_filter1d(spike, sigma_px) ** 2)  # of a separable filter's variance, per axis
    return ndimage.gaussian_filter(noise, sigma_px, mode="wrap") / np.float32(gain)


def _wandering_edges(depth_m: Float32, model: SensorModel, rng: np.random.Generator) -> Float32:
    if model.edge_px == 0:
        return depth_m.copy()
    height, width = depth_m.shape
    shift = np.rint(model.edge_px * _field((2, height, width), 0.0, rng)).astype(np.int32)
    # Only outlines move: inside a surface a shifted look-up would be slope, which the axial noise already covers.
    near_edge = ndimage.binary_dilation(_edges(depth_m), iterations=2)
    v, u = np.nonzero(near_edge)
    seen = depth_m.copy()
    seen[v, u] = depth_m[np.clip(v + shift[0, v, u], 0, height - 1), np.clip(u + shift[1, v, u], 0, width - 1)]
    return seen


def _flying_pixels(depth_m: Float32, model: SensorModel, rng: np.random.Generator) -> Float32:
    if model.flying == 0:
        return depth_m
    front = ndimage.minimum_filter(np.nan_to_num(depth_m, nan=np.inf), 3)
    back = ndimage.maximum_filter(np.nan_to_num(depth_m, nan=-np.inf), 3)
    chosen = (back - front > _JUMP_M) & (rng.random(depth_m.shape, dtype=np.float32) < model.flying)
    flown = depth_m.copy()
    flown[chosen] = front[chosen] + rng.random(int(chosen.sum()), dtype=np.float32) * (back - front)[chosen]
    return flown


def _noisy(depth_m: Float32, focal_px: float, model: SensorModel, rng: np.random.Generator) -> Float32:
    noise = _field(depth_m.shape, model.correlation_px, rng)
    seen = depth_m + model.axial_m(depth_m) * noise
    if model.disparity_sigma_px or model.disparity_step_px:
        scale = focal_px * model.baseline_m
        disparity = scale / seen + model.disparity_sigma_px * noise
        if model.disparity_step_px:
            disparity = np.round(disparity / model.disparity_step_px) * model.disparity_step_px
        seen = scale / np.where(disparity > 0, disparity, np.nan)
    return np.array(seen, dtype=np.float32)


def _holes(view: RenderedView, model: SensorModel, rng: np.random.Generator) -> Bool:
    rays = pixel_rays(view.intrinsics)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    normals_cam = view.normals_world @ view.T_world_cam[:3, :3].astype(np.float32)
    facing = -np.einsum("hwc,hwc->hw", normals_cam, rays)
    # Stereo matching fails gradually: the limit itself is uncertain by 2 degrees.
    limit_deg = model.grazing_deg + 2.0 * _field(facing.shape, 2.0, rng)
    obliquely_deg = np.degrees(np.arccos(np.clip(facing, -1.0, 1.0)))
    holes = obliquely_deg > (limit_deg if model.grazing_deg < 90 else 91.0)
    if model.specular_deg > 0:
        holes |= (obliquely_deg < model.specular_deg + _field(facing.shape, 2.0, rng)) & (view.labels > 0)
    if model.dropout > 0:
        holes |= _field(facing.shape, 1.5, rng) > norm.ppf(1.0 - model.dropout)
    return holes


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


def _edges(depth_m: Float32) -> Bool:
    depth = np.nan_to_num(depth_m, nan=1e3)
    return ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > _JUMP_M
