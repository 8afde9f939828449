"""From a radiance field to imagined depth cameras: metric depth, outlines, colours and confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.fuse.radiance.agreement import agreement_features, confidence_of
from sparse_recon.fuse.radiance.field import RadianceField, RenderBounds
from sparse_recon.fuse.radiance.field_depth import FieldDepth
from sparse_recon.fuse.radiance.rays import camera_rays, square_camera
from sparse_recon.fuse.radiance.render import render
from sparse_recon.fuse.radiance.viewpoints import golden_angle_eyes
from sparse_recon.geometry.cameras import scaled
from sparse_recon.geometry.poses import inverse, look_at, pose
from sparse_recon.types import (
    CameraIntrinsics,
    Float32,
    Float64,
    Frame,
    GeneratedView,
    ObjectFrame,
)

# Cameras that read a field: pixels along an edge, distance in half edges of the object's cube, and focal length in
# pixels. They see the sphere around the cube: what none sees would count as solid.
SIZE, DISTANCE, FOCAL = 144, 4.0, 149.0
HEIGHT = (-0.85, 1.0)  # of the cameras, as shares of their distance
RAYS_AT_ONCE = 8192
THINNEST = 0.05  # opacity that is more than haze

Camera = tuple[CameraIntrinsics, Float64]


@dataclass(frozen=True, eq=False)
class Placed:
    """A field, its place in the object frame (axes alike), and how large it is.

    Attributes
    ----------
    unit_m : metres in one unit of the field, which is half an edge of its cube.
    centre_obj : (3,) metres, middle of its cube.
    """

    field: RadianceField
    unit_m: float
    centre_obj: Float64

    @property
    def voxel_m(self) -> float:
        return 2.0 * self.unit_m / self.field.grid

    def to_cube(self, T_obj_cam: Float64) -> Float64:
        """Return `T_cube_cam` in units of the field."""
        return pose(T_obj_cam[:3, :3], (T_obj_cam[:3, 3] - self.centre_obj) / self.unit_m)


def depth_cameras(pictures: Sequence[GeneratedView], object_frame: ObjectFrame, count: int) -> list[Camera]:
    """Return the cameras of the pictures, and `count` spread around and above the object's cube that see all of it."""
    low, high = (DISTANCE * share for share in HEIGHT)
    eyes = golden_angle_eyes(count, DISTANCE, (low, high)) if count else np.zeros((0, 3))
    around = [(square_camera(SIZE, FOCAL), look_at(object_frame.half_side_m * eye, (0, 0, 0))) for eye in eyes]
    return [*(_reduced(view, object_frame) for view in pictures), *around]


@torch.no_grad()
def read_depth(
    placed: Placed, cameras: Sequence[Camera], checkpoint: Callable[[], None] = lambda: None
) -> list[FieldDepth]:
    """Render the depth of a field.

    Parameters
    ----------
    cameras : intrinsics and `T_obj_cam` (4, 4), metres.
    checkpoint : called every 8192 pixels; it may raise to cancel.

    Raises
    ------
    ModelError
        MODEL_FAILED if nothing is to be seen in the field.
    """
    shortcuts = placed.field.shortcuts()
    read = [_read(placed, camera, shortcuts, checkpoint) for camera in cameras]
    opacities = np.concatenate([opacity[opacity > THINNEST] for _, opacity in read])
    if len(opacities) == 0:
        raise ModelError(
            ErrorCode.MODEL_FAILED,
            "the fitted radiance field is empty: the generated views contradict each other; try another seed or view",
        )
    # Nothing forces a distilled solid to be quite opaque: its outline is where half of its usual opacity is.
    least = 0.5 * np.quantile(opacities, 0.95)
    return [
        replace(seen, depth_m=np.where(opacity < least, np.float32(np.nan), seen.depth_m)) for seen, opacity in read
    ]


def _read(
    placed: Placed, camera: Camera, shortcuts: RenderBounds, checkpoint: Callable[[], None]
) -> tuple[FieldDepth, Float32]:
    """Return what a camera sees, with depth wherever there is anything, and the opacity (H, W)."""
    field, (intrinsics, T_obj_cam) = placed.field, camera
    rays = camera_rays(intrinsics, placed.to_cube(T_obj_cam), field.device)
    depth, spread, picture, opacity = [], [], [], []
    for start in range(0, len(rays), RAYS_AT_ONCE):
        checkpoint()
        seen = render(field, rays[slice(start, start + RAYS_AT_ONCE)], shortcuts)
        depth.append(seen.surface_depth(0.0))
        opacity.append(seen.opacity)
        spread.append(seen.depth_spread())
        picture.append(seen.over(torch.ones_like(seen.features)))
    shape = (intrinsics.height, intrinsics.width)
    depth_m, spread_m = (placed.unit_m * torch.cat(parts).cpu().numpy().reshape(shape) for parts in (depth, spread))
    found = FieldDepth(
        intrinsics,
        T_obj_cam,
        depth_m.astype(np.float32),
        spread_m.astype(np.float32),
        torch.cat(picture).cpu().numpy().reshape(*shape, -1),
    )
    return found, torch.cat(opacity).cpu().numpy().reshape(shape)


def depth_views(
    placed: Placed,
    object_frame: ObjectFrame,
    count: int,
    model: str,
    seed: int,
    pictures: Sequence[GeneratedView] = (),
    checkpoint: Callable[[], None] = lambda: None,
) -> tuple[GeneratedView, ...]:
    """Return what `count` depth cameras around a field see, with P(|error| < 5 mm) at each pixel.

    Parameters
    ----------
    count : cameras around the field; those of the pictures come on top.
    pictures : those that the field was fitted to; the more they disagree at a point, the less it is trusted.

    Notes
    -----
    The colours are those of the field where it has three channels, else grey.
    """
    pictures = [view for view in pictures if view.mask.any()]
    read = read_depth(placed, depth_cameras(pictures, object_frame, count), checkpoint)
    pictured = list(zip(pictures, read, strict=False))
    # No depth is surer than the pictures that it comes from, however well they agree.
    most = np.float32(np.mean([view.confidence[view.mask].mean() for view in pictures] or [1.0]))
    views = []
    for number, seen in enumerate(read):
        checkpoint()
        features = agreement_features(seen, read, pictured, placed.voxel_m)
        confidence = np.minimum(confidence_of(features, bool(pictured)), most)
        rgb = (np.clip(seen.picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        if rgb.shape[2] != 3:
            rgb = np.full((*seen.mask.shape, 3), 128, np.uint8)
        T_world_cam = object_frame.T_world_obj @ seen.T_obj_cam
        frame = Frame(rgb, seen.depth_m, seen.intrinsics, T_world_cam, number, camera=model)
        views.append(GeneratedView(frame, seen.mask, np.where(seen.mask, confidence, np.float32(0.0)), model, seed))
    return tuple(views)


def _reduced(view: GeneratedView, object_frame: ObjectFrame) -> Camera:
    """Return the camera of a picture, `T_obj_cam` in metres, with at most `SIZE` pixels along an edge."""
    camera = view.frame.intrinsics
    share = min(1.0, SIZE / max(camera.width, camera.height))
    smaller = scaled(camera, max(1, round(share * camera.width)), max(1, round(share * camera.height)))
    return smaller, inverse(object_frame.T_world_obj) @ view.frame.T_world_cam
