"""Objects with known grasps, standing on the table z = 0."""

from __future__ import annotations

import numpy as np
import solids
import trimesh

from sparse_recon.geometry.poses import pose
from sparse_recon.lab.evaluate.grasp.sampling import Grasp
from sparse_recon.lab.evaluate.grasp.world import TrueObject, true_object
from sparse_recon.types import TriangleMesh

BOX_M = (0.05, 0.10, 0.08)


def box(size_m=BOX_M) -> TriangleMesh:
    return solids.box(size_m, (0.0, 0.0, size_m[2] / 2))


def cylinder(radius_m: float = 0.025, height_m: float = 0.1) -> TriangleMesh:
    return solids.as_mesh(trimesh.creation.cylinder(radius_m, height_m, sections=256), (0.0, 0.0, height_m / 2))


def true_box(size_m=BOX_M) -> TrueObject:
    mesh = box(size_m)
    corners = solids.box(size_m, (0.0, 0.0, size_m[2] / 2), subdivisions=0)
    return true_object(mesh, [(corners.vertices_world, corners.faces)], np.eye(4), 0.0)


def from_above(x_m: float = 0.0, y_m: float = 0.0, z_m: float = 0.06, opening_m: float = 0.08) -> Grasp:
    """Return a grasp straight down that closes along x."""
    R = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    T = pose(R, (x_m, y_m, z_m))
    contacts = T[:3, 3] + 0.025 * np.stack([T[:3, 1], -T[:3, 1]])
    return Grasp(T, 0.05, opening_m, 1.0, float("nan"), contacts)
