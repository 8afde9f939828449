"""What the network is told is what is there: heights, normals, holes filled, colour."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse_recon.geometry.poses import look_at
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.observe.segmenter.features import EDGE_M, HIGH_M, LOW_M, features
from sparse_recon.observe.segmenter.layout import CHANNELS

CAMERA = depth_camera(160, 128)
T_WORLD_CAM = look_at(np.array([0.0, -0.5, 0.5]), np.zeros(3))


def looked_at(height_m: float, holes: bool = False):
    """Return the features of a level surface at a height above the plane z = 0."""
    v, u = np.mgrid[:128, :160]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], axis=-1)
    down = rays @ T_WORLD_CAM[2, :3]
    depth_m = ((height_m - T_WORLD_CAM[2, 3]) / down).astype(np.float32)
    if holes:
        depth_m[::3, ::2] = np.nan
    plane = np.array([*T_WORLD_CAM[2, :3], -T_WORLD_CAM[2, 3]], np.float32)
    K = np.array([CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy], np.float32)
    rgb = np.full((128, 160, 3), 255, np.uint8)
    x = features(*(torch.from_numpy(a)[None] for a in (rgb, depth_m, plane, K)))
    assert x.shape == (1, CHANNELS, 128, 160)
    return x[0, :, 20:-20, 20:-20].numpy(), rays[20:-20, 20:-20]


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("height_m", [0.0, 0.005, 0.06])
def test_heights_and_normals_of_a_level_surface(height_m, holes):
    x, rays = looked_at(height_m, holes)
    # A hole is filled with the mean around it, which a slanted surface makes off by less than a millimetre.
    assert x[0] == pytest.approx(np.tanh(height_m / LOW_M), abs=0.12 if holes else 1e-3)
    assert x[1] == pytest.approx(height_m / HIGH_M, abs=0.02 if holes else 1e-3)
    assert np.median(x[2]) == pytest.approx(1.0, abs=0.01)  # level: the normal is up
    cosine = -(rays @ T_WORLD_CAM[2, :3]) / np.linalg.norm(rays, axis=-1)
    assert np.median(np.abs(x[3] - cosine)) < 0.02
    assert np.abs(x[4]).max() < np.tanh(0.004 / EDGE_M)
    assert x[6].mean() == pytest.approx(5 / 6 if holes else 1.0, abs=0.01)
    assert x[7:] == pytest.approx(1.0)  # white
