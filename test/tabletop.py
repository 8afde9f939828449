"""A box on a table before an ideal camera 0.85 m away, and what depth images of it are measured by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scenes import block
from scipy import ndimage

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.render import RenderedView, Renderer
from sparse_recon.lab.simulate.scene import scene_of
from sparse_recon.lab.simulate.virtual_cameras import depth_camera

EYE = (0.0, -0.55, 0.65)  # 0.85 m from the box, with the table's width across the image
CAMERA = depth_camera(640, 480, 54.8)  # fx = 617 px, as of the measured frames


@lru_cache(maxsize=1)
def box_on_table() -> RenderedView:
    """Return the true images of a block 10 x 6 x 8 cm, label 1."""
    scene = scene_of([block()], [pose(np.eye(3), (0.0, 0.0, 0.0))])
    return Renderer(scene).render(CAMERA, look_at(EYE, (0.0, 0.0, 0.03)))


def wall(depth_m: float = 0.85, label: int = 0, grey: int = 128, size: tuple[int, int] = (640, 480)) -> RenderedView:
    """Return a plane across the whole image that faces the camera."""
    camera = depth_camera(*size, 54.8)
    shape = (camera.height, camera.width)
    normals = np.zeros((*shape, 3), np.float32)
    normals[..., 2] = -1
    return RenderedView(
        rgb=np.full((*shape, 3), grey, np.uint8),
        depth_m=np.full(shape, depth_m, np.float32),
        labels=np.full(shape, label, np.int32),
        normals_world=normals,
        intrinsics=camera,
        T_world_cam=np.eye(4),
    )


def heights_m(view: RenderedView, depth_m: np.ndarray) -> np.ndarray:
    """Return (H, W) heights above the table z = 0; NaN in holes."""
    ray_z = pixel_rays(view.intrinsics) @ view.T_world_cam[2, :3].astype(np.float32)
    return depth_m * ray_z + np.float32(view.T_world_cam[2, 3])


def outside_px(view: RenderedView) -> np.ndarray:
    return ndimage.distance_transform_edt(view.labels == 0)


def slow_part(values: np.ndarray, sigma_px: float = 8.0) -> np.ndarray:
    """Return the Gaussian mean of finite values, NaN where fewer than 90 % are."""
    seen = np.isfinite(values)
    weight = ndimage.gaussian_filter(seen.astype(np.float64), sigma_px)
    total = ndimage.gaussian_filter(np.where(seen, values, 0.0).astype(np.float64), sigma_px)
    return np.where(weight > 0.9, total / np.maximum(weight, 1e-6), np.nan)
