"""Traced depth against rays whose hits are known."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.virtual_cameras import depth_camera
from sparse_recon.lab.training.bake import bake
from sparse_recon.lab.training.fields import superquadric
from sparse_recon.lab.training.objects import ProceduralObject
from sparse_recon.lab.training.trace import Slab, trace_floor, trace_object, trace_slab

CAMERA = depth_camera(64, 48)


def test_ball_is_as_deep_as_the_quadratic_says():
    baked = bake(ProceduralObject("ball", superquadric((1.0, 1.0, 1.0), 1.0, 1.0), 0.2), 96)
    T_world_cam = look_at((0.5, 0.1, 0.3), (0.0, 0.0, 0.1))
    hits = trace_object(baked, pose(np.eye(3), (0, 0, 0.1)), CAMERA, T_world_cam)
    d = pixel_rays(CAMERA).astype(np.float64) @ T_world_cam[:3, :3].T
    o = T_world_cam[:3, 3] - (0, 0, 0.1)
    a, b, c = (d * d).sum(-1), d @ o, o @ o - 0.01
    root = b * b - a * c
    expected = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    both = np.isfinite(expected) & np.isfinite(hits.depth_m)
    assert np.mean(np.isfinite(expected) != np.isfinite(hits.depth_m)) < 0.01  # pixels at the outline
    assert np.median(np.abs(hits.depth_m[both] - expected[both])) < 0.2 * baked.grid.voxel_m
    normals = (o + hits.depth_m[both][:, None] * d[both]) / 0.1
    assert np.median((normals * hits.normals_world[both]).sum(-1)) == pytest.approx(1.0, abs=3e-3)  # voxels are coarse


def test_slab_faces_the_camera():
    slab = Slab(pose(np.eye(3), (0, 0, 0)), np.array([0.1, 0.1, 0.1]))
    hits = trace_slab(slab, CAMERA, look_at((1.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    assert hits.depth_m[24, 32] == pytest.approx(0.9, abs=1e-3)
    assert np.allclose(hits.normals_world[24, 32], (1, 0, 0), atol=1e-6)
    assert np.isinf(hits.depth_m[0, 0])


def test_floor_ends_at_its_reach():
    T_world_cam = look_at((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    hits = trace_floor(0.25, 0.2, CAMERA, T_world_cam)
    assert hits.depth_m[24, 32] == pytest.approx(0.75, abs=1e-5)
    assert np.isinf(hits.depth_m[0, 0])
