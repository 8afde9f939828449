"""Depth and colours read from a field that is a ball of known radius and colour."""

from __future__ import annotations

import numpy as np
import torch
from solids import turn

from sparse_recon.fuse.radiance.depth import Placed, depth_views
from sparse_recon.fuse.radiance.field import RadianceField
from sparse_recon.types import ObjectFrame

FRAME = ObjectFrame(turn(12), 0.08)
CENTRE_OBJ, UNIT_M, RADIUS = np.array([0.01, -0.005, 0.004]), 0.06, 0.6


def ball_field(channels: int) -> RadianceField:
    field = RadianceField(channels, 32)
    axis = (torch.arange(32) + 0.5) / 16 - 1
    distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).norm(dim=-1)
    with torch.no_grad():
        # Raw values cross zero at the surface and are steep: an opaque solid.
        field.raw[0, 0] = 3000.0 * (RADIUS - distance)
        field.features[0] = torch.tensor([-1.0, 0.0, 2.0, 0.5])[:channels, None, None, None]
    return field


def test_a_ball_has_its_depth_in_metres_and_its_place_in_the_world():
    views = depth_views(Placed(ball_field(3), UNIT_M, CENTRE_OBJ), FRAME, 3, "m", 7)
    assert len(views) == 3 and [view.seed for view in views] == [7, 7, 7]
    centre_world = FRAME.T_world_obj[:3, :3] @ CENTRE_OBJ + FRAME.T_world_obj[:3, 3]
    for view in views:
        v, u = np.nonzero(view.mask)
        camera, depth_m = view.frame.intrinsics, view.frame.depth_m[v, u]
        cam = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(len(u))], axis=1)
        world = (cam * depth_m[:, None]) @ view.frame.T_world_cam[:3, :3].T + view.frame.T_world_cam[:3, 3]
        off_m = np.linalg.norm(world - centre_world, axis=1) - UNIT_M * RADIUS
        assert len(u) > 500 and np.abs(np.median(off_m)) < 0.5 * 2 * UNIT_M / 32  # half a voxel
        assert np.quantile(np.abs(off_m), 0.95) < 2 * UNIT_M / 32  # a voxel, but for the rim


def test_colours_are_those_of_the_field():
    (view,) = depth_views(Placed(ball_field(3), UNIT_M, CENTRE_OBJ), FRAME, 1, "m", 0)
    expected = 255 / (1 + np.exp([1.0, 0.0, -2.0]))
    np.testing.assert_allclose(np.median(view.frame.rgb[view.mask], axis=0), expected, atol=1.0)
    assert np.all(view.frame.rgb[0, 0] == 255)  # beside it, the white background


def test_a_field_of_latents_is_grey():
    (view,) = depth_views(Placed(ball_field(4), UNIT_M, CENTRE_OBJ), FRAME, 1, "m", 0)
    assert np.all(view.frame.rgb == 128)
