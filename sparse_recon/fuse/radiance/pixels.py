"""What images of an object teach a field: one ray a pixel with its colour, whether it meets the object, and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparse_recon.fuse.radiance.rays import Rays, camera_rays
from sparse_recon.geometry.poses import inverse
from sparse_recon.types import Bool, Float32, Float64, Frame, GeneratedView, ObjectFrame, ObjectView

# Pixels farther from the object's outline than this share of its extent teach nothing new.
MARGIN = 0.15


@dataclass(frozen=True, eq=False)
class Pixels:
    """P pixels of one or more views, in units of the cube.

    Attributes
    ----------
    rays : (P,) of them.
    colors : (P, 3) float32 in [0, 1].
    inside : (P,) float32, 1 where the object is seen, 0 where it is not; NaN where something else may hide it.
    depth : (P,) float32 along optical z, of whatever was measured; NaN where nothing was.
    trust : (P,) float32 in [0, 1].
    first : (V + 1,) int64, where each view begins.
    """

    rays: Rays
    colors: Tensor
    inside: Tensor
    depth: Tensor
    trust: Tensor
    first: Tensor

    def sample(self, count: int, generator: torch.Generator) -> Pixels:
        """Sample `count` pixels, of each view as likely as of any other."""
        views = torch.randint(len(self.first) - 1, (count,), generator=generator)
        share = torch.rand(count, generator=generator, dtype=torch.float64)
        lengths = self.first.diff()[views]
        chosen = (self.first[views] + (share * lengths).long().clamp_max(lengths - 1)).to(self.colors.device)
        return Pixels(
            self.rays[chosen],
            self.colors[chosen],
            self.inside[chosen],
            self.depth[chosen],
            self.trust[chosen],
            self.first,
        )


def cube_camera(T_world_cam: Float64, object_frame: ObjectFrame) -> Float64:
    """Return `T_cube_cam` (4, 4): the pose in the object frame with lengths in half edges of its cube."""
    T_cube_cam = inverse(object_frame.T_world_obj) @ T_world_cam
    T_cube_cam[:3, 3] /= object_frame.half_side_m
    return T_cube_cam


def pixels_of(
    generated: Sequence[GeneratedView],
    observed: Sequence[ObjectView],
    object_frame: ObjectFrame,
    device: str | torch.device = "cpu",
) -> Pixels:
    """Return the pixels in and around the masks of all views; those of cameras are trusted fully, also their depth.

    A generated view is trusted as it says; what it shows beside the object, as it is on the mean of the object. Views
    whose mask is empty teach nothing and are left out.
    """
    parts = []
    for made in generated:
        if made.mask.any():
            trust = np.where(made.mask, made.confidence, made.confidence[made.mask].mean()).astype(np.float32)
            inside = made.mask.astype(np.float32)
            parts.append(_part(made.frame, made.mask, inside, trust, None, object_frame))
    for seen in observed:
        if seen.mask.any():
            inside = np.where(seen.mask, 1.0, np.where(seen.occluder, np.nan, 0.0)).astype(np.float32)
            trust = np.ones(inside.shape, np.float32)
            parts.append(_part(seen.frame, seen.mask, inside, trust, seen.frame.depth_m, object_frame))
    lengths = [0, *(len(part[0]) for part in parts)]
    origins, directions, colors, inside_, depth, trust_ = (
        torch.from_numpy(np.concatenate([part[i] for part in parts])).to(device) for i in range(6)
    )
    return Pixels(
        Rays(origins, directions), colors, inside_, depth, trust_, torch.from_numpy(np.cumsum(lengths).astype(np.int64))
    )


def _part(
    frame: Frame, mask: Bool, inside: Float32, trust: Float32, depth_m: Float32 | None, object_frame: ObjectFrame
) -> tuple[Float32, ...]:
    kept = _around(mask).reshape(-1)
    rays = camera_rays(frame.intrinsics, cube_camera(frame.T_world_cam, object_frame))
    depth = (
        np.full(mask.shape, np.nan, np.float32) if depth_m is None else depth_m / np.float32(object_frame.half_side_m)
    )
    return (
        rays.origins.numpy()[kept],
        rays.directions.numpy()[kept],
        frame.rgb.reshape(-1, 3)[kept].astype(np.float32) / np.float32(255.0),
        inside.reshape(-1)[kept],
        np.where(depth > 0, depth, np.nan).astype(np.float32).reshape(-1)[kept],
        trust.reshape(-1)[kept],
    )


def _around(mask: Bool) -> Bool:
    """Return the mask (H, W) grown by a share of its extent."""
    import cv2

    rows, columns = np.nonzero(mask)
    reach = 2 + int(MARGIN * max(np.ptp(rows), np.ptp(columns)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0
