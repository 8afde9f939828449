"""The additive evidence volume of one object: adding a view costs the same however many came before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from sparse_recon.config.geometry_config import EvidenceConfig
from sparse_recon.evidence.consistency import ViewDepth, interior
from sparse_recon.evidence.depth_filter import carving_depth, smoothed
from sparse_recon.geometry.cameras import pixel_rays, unproject_depth
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.types import CameraIntrinsics, Float32, Float64, ObjectFrame, ObjectView, ObjectViews

# Depth noise at which a measurement has weight 1.
UNIT_SIGMA_M = 0.001


class VoxelState(IntFlag):
    """What some view said of a voxel; flags of several views add up."""

    SURFACE = 1
    FREE = 2
    HIDDEN_BY_SELF = 4
    HIDDEN_BY_OTHER = 8
    OUTSIDE_HULL = 16


@dataclass
class Evidence:
    """What the views added so far say of each voxel of an object's cube.

    Attributes
    ----------
    tsdf_sum, weight : (X, Y, Z) float32, sum of weight * truncated signed distance, and of weights 1 / variance
        (Curless and Levoy 1996), metres, negative behind the seen surface.
    slow_sum : (X, Y, Z) float32, sum of (weight * slow error of the view)^2, see `slow_m`.
    free_margin_m : (X, Y, Z) float32, how far in front of the measured depth (less slack) the best view saw the voxel;
        > 0 is known free.
    state : (X, Y, Z) uint8 of `VoxelState` flags.
    view_depths : what each depth view measured, for checking the views against each other.
    points_obj, point_sigma_m : measured surface points, (M, 3) and (M,), in the object frame, one entry per view.
    """

    object_frame: ObjectFrame
    grid: VoxelGrid
    config: EvidenceConfig
    tsdf_sum: Float32
    weight: Float32
    slow_sum: Float32
    free_margin_m: Float32
    state: npt.NDArray[np.uint8]
    points_obj: list[Float32]
    point_colors: list[npt.NDArray[np.uint8]]
    point_sigma_m: list[Float32]
    view_depths: list[ViewDepth]

    @classmethod
    def of(
        cls,
        views: ObjectViews,
        grid: VoxelGrid,
        config: EvidenceConfig,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Evidence:
        """Return the evidence of an object's views on a grid; `checkpoint` is called before each and may raise."""
        evidence = cls.empty(views.object_frame, grid, config)
        for view in views.views:
            checkpoint()
            evidence.add(view)
        return evidence

    @classmethod
    def empty(cls, object_frame: ObjectFrame, grid: VoxelGrid, config: EvidenceConfig) -> Evidence:
        """Return the evidence of no view at all on a grid."""
        shape = grid.shape
        return cls(
            object_frame=object_frame,
            grid=grid,
            config=config,
            tsdf_sum=np.zeros(shape, np.float32),
            weight=np.zeros(shape, np.float32),
            slow_sum=np.zeros(shape, np.float32),
            free_margin_m=np.full(shape, -np.inf, np.float32),
            state=np.zeros(shape, np.uint8),
            points_obj=[],
            point_colors=[],
            point_sigma_m=[],
            view_depths=[],
        )

    @property
    def truncation_m(self) -> float:
        return self.config.truncation_voxels * self.grid.voxel_m

    @property
    def slack_m(self) -> float:
        """Free space ends this much, plus `slack_sigma` depth sigmas, before the measured surface."""
        return self.config.slack_voxels * self.grid.voxel_m

    def tsdf_m(self) -> Float32:
        """Return the fused signed distance, (X, Y, Z) float32 metres, NaN where no view measured."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.weight > 0, self.tsdf_sum / self.weight, np.float32(np.nan))

    def slow_m(self) -> Float32:
        """Return the slow error of the fused distance, (X, Y, Z) float32 metres, 0 where no view measured.

        Views err independently of each other, so that each further one makes it smaller.
        """
        return np.sqrt(self.slow_sum) / np.maximum(self.weight, np.float32(1e-12))

    def all_points_obj(self) -> Float32:
        """Return all measured surface points, (M, 3) float32, object frame."""
        return np.concatenate(self.points_obj) if self.points_obj else np.zeros((0, 3), np.float32)

    def all_sigmas_m(self) -> Float32:
        return np.concatenate(self.point_sigma_m) if self.point_sigma_m else np.zeros(0, np.float32)

    def all_colors(self) -> npt.NDArray[np.uint8]:
        return np.concatenate(self.point_colors) if self.point_colors else np.zeros((0, 3), np.uint8)

    def add(self, view: ObjectView) -> None:
        """Add what one view saw; a view without depth carves with its mask alone."""
        T_cam_obj = inverse(view.frame.T_world_cam) @ self.object_frame.T_world_obj
        uv, z = self._projected(T_cam_obj, view.frame.intrinsics)
        if view.frame.depth_m is None:
            self._add_silhouette(view, uv, z)
            return
        depth_m = view.frame.depth_m
        smooth = smoothed(depth_m, depth_m > 0, view.sigma_m)
        self._add_depth(view, smooth, uv, z, inverse(T_cam_obj))
        self._add_points(view, smooth, inverse(T_cam_obj))
        self.view_depths.append(ViewDepth.of(view, smooth, T_cam_obj, interior(view.mask)))

    def _projected(self, T_cam_obj: Float64, intrinsics: CameraIntrinsics) -> tuple[Float32, Float32]:
        """Return pixel coordinates (2, X*Y, Z) and depth (X*Y, Z) of all voxel centres."""
        # The grid is regular, so each camera coordinate is a sum of three vectors, not a matrix product per voxel.
        x, y, depth = self.grid.axes()
        R, t = T_cam_obj[:3, :3].astype(np.float32), T_cam_obj[:3, 3].astype(np.float32)
        cam = [
            (
                (R[i, 0] * x + t[i])[:, None, None] + (R[i, 1] * y)[None, :, None] + (R[i, 2] * depth)[None, None, :]
            ).reshape(-1, len(depth))
            for i in range(3)
        ]
        z = np.maximum(cam[2], np.float32(1e-3))
        uv = np.empty((2, *z.shape), np.float32)
        np.divide(cam[0], z, out=uv[0])
        np.divide(cam[1], z, out=uv[1])
        uv[0] *= np.float32(intrinsics.fx)
        uv[0] += np.float32(intrinsics.cx)
        uv[1] *= np.float32(intrinsics.fy)
        uv[1] += np.float32(intrinsics.cy)
        return uv, cam[2]

    def _add_depth(self, view: ObjectView, depth_m: Float32, uv: Float32, z: Float32, T_obj_cam: Float64) -> None:
        valid = depth_m > 0
        sigma = np.where(valid, view.sigma_m, np.float32(0.0))
        slack = np.float32(self.slack_m) + np.float32(self.config.slack_sigma) * _window_max(sigma)
        limit = carving_depth(depth_m, valid) - slack
        limit = np.fmax(limit, self._depth_of_support(view, depth_m, T_obj_cam))
        superseded = view.frame.superseded
        if superseded is not None and superseded.filled_m is not None:  # newer surface beats older emptiness
            limit = np.minimum(limit, superseded.filled_m - slack)
        margin = np.where(z > 0, _nearest(limit, uv) - z, np.float32(-np.inf))
        shape = self.state.shape
        np.fmax(self.free_margin_m, margin.reshape(shape), out=self.free_margin_m)

        trunc = np.float32(self.truncation_m)
        surface = _nearest(np.where(view.mask, depth_m, np.float32(np.nan)), uv) - z
        hit = (np.abs(surface) < trunc) & (z > 0)
        weight = (UNIT_SIGMA_M / np.maximum(view.sigma_m, np.float32(1e-4))) ** 2
        w = np.where(hit, _nearest(weight.astype(np.float32), uv), np.float32(0.0)).reshape(shape)
        self.weight += w
        if view.slow_m > 0:
            self.slow_sum += np.square(w * np.float32(view.slow_m))
        self.tsdf_sum += w * np.where(hit, surface, np.float32(0.0)).reshape(shape)

        code = _nearest(np.where(view.mask, 1, np.where(view.occluder | valid, 2, 0)).astype(np.float32), uv)
        behind = _nearest(np.where(valid, depth_m, np.float32(np.nan)), uv) - z < -trunc
        flags = (
            np.where(hit, np.uint8(VoxelState.SURFACE), np.uint8(0))
            | np.where(margin > 0, np.uint8(VoxelState.FREE), np.uint8(0))
            | np.where(behind & (code == 1), np.uint8(VoxelState.HIDDEN_BY_SELF), np.uint8(0))
            | np.where(behind & (code == 2), np.uint8(VoxelState.HIDDEN_BY_OTHER), np.uint8(0))
        )
        self.state |= flags.reshape(shape)

    def _depth_of_support(self, view: ObjectView, depth_m: Float32, T_obj_cam: Float64) -> Float32:
        """Return the depth, (H, W) metres, at which rays that end on the support plane meet it; NaN for all others.

        Such a ray shows that the plane is bare there, and the plane is known better than one pixel's depth: free space
        reaches down to it without slack. Else a skin of unknown space would stay on the table around every object.
        """
        support_z_m = self.object_frame.support_z_m
        if support_z_m is None:
            return np.full(depth_m.shape, np.nan, np.float32)
        rays_z = pixel_rays(view.frame.intrinsics) @ T_obj_cam[2, :3].astype(np.float32)
        height = rays_z * depth_m + np.float32(T_obj_cam[2, 3] - support_z_m)
        with np.errstate(divide="ignore", invalid="ignore"):
            on_plane = ~view.mask & (np.abs(height) < 3.0 * view.sigma_m) & (rays_z < -0.05)
            meets = np.float32(support_z_m - T_obj_cam[2, 3]) / rays_z
        return carving_depth(np.where(on_plane, meets, np.float32(np.nan)), on_plane)

    def _add_silhouette(self, view: ObjectView, uv: Float32, z: Float32) -> None:
        import cv2

        # The rim of a mask is uncertain by a pixel or two, as the rim of a depth image is.
        grown = cv2.dilate((view.mask | view.occluder).astype(np.uint8), np.ones((5, 5), np.uint8))
        outside = (_nearest(1.0 - grown.astype(np.float32), uv) > 0.5) & (z > 0)
        self.state[outside.reshape(self.state.shape)] |= np.uint8(VoxelState.OUTSIDE_HULL)

    def _add_points(self, view: ObjectView, depth_m: Float32, T_obj_cam: Float64) -> None:
        measured = view.mask & (depth_m > 0)
        points_cam = unproject_depth(depth_m, view.frame.intrinsics, measured)
        points = transform_points(T_obj_cam, points_cam).astype(np.float32)
        keep = self.grid.inside(points)
        self.points_obj.append(points[keep])
        self.point_colors.append(view.frame.rgb[measured][keep])
        self.point_sigma_m.append(view.sigma_m[measured][keep])


def _nearest(image: Float32, uv: Float32) -> Float32:
    """Sample (H, W) at (2, A, B) pixel coordinates, nearest neighbour; NaN outside the image."""
    import cv2

    sampled = cv2.remap(
        image, uv[0], uv[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan")
    )
    return np.asarray(sampled, np.float32)


def _window_max(image: Float32) -> Float32:
    import cv2

    return np.asarray(cv2.dilate(image, np.ones((3, 3), np.uint8)), np.float32)
