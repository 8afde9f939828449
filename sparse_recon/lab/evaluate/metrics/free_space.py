"""How much surface was put where the cameras truly saw that nothing is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparse_recon.geometry.clouds import voxel_keys
from sparse_recon.lab.evaluate.metrics.mesh_query import area_vectors
from sparse_recon.lab.evaluate.metrics.surface import Surface
from sparse_recon.lab.simulate.render import RenderedView
from sparse_recon.lab.simulate.truth import seen_empty
from sparse_recon.types import Float32, Frame, TriangleMesh

SILHOUETTE_PX = 3
SAMPLES_PER_VOXEL = 4
MOST_SAMPLES = 300_000


def in_seen_empty(
    points_world: Float32,
    views: Sequence[Frame | RenderedView],
    voxel_m: float,
    tolerance_m: float,
    true: Surface | None = None,
) -> float:
    """Return the share, in [0, 1], of the voxels touched by a surface that are touched in space seen to be empty.

    Such a point lies nearer to a camera, along its optical axis, than what all 3x3 pixels around it show, by more than
    `tolerance_m`. A pixel whose ray meets nothing shows nothing: no depth camera measures there. Where the true surface
    is given, the point lies farther than `tolerance_m` from it, too: beside an outline, or along a slanted side, a
    camera looks past surface that is a pixel too fat, which distances and not safety should judge.

    Parameters
    ----------
    points_world : (N, 3) float32 metres; of a mesh those of `dense`.
    views : ideal depth images with true poses.
    voxel_m : edge of a voxel.

    Returns
    -------
    NaN if there is no point.
    """
    if len(points_world) == 0:
        return float("nan")
    empty = seen_empty(points_world, views, tolerance_m, SILHOUETTE_PX)
    if true is not None:
        empty[empty] = true.nearest(points_world[empty])[0] > tolerance_m
    return len(voxel_keys(points_world[empty], voxel_m)) / len(voxel_keys(points_world, voxel_m))


def dense(mesh: TriangleMesh, voxel_m: float, seed: int) -> Float32:
    """Return (N, 3) points of a mesh, about four in each voxel that it crosses."""
    area_m2 = np.linalg.norm(area_vectors(mesh), axis=1).sum()
    count = int(np.clip(SAMPLES_PER_VOXEL * area_m2 / voxel_m**2, 1000, MOST_SAMPLES))
    return Surface.of_mesh(mesh, count, seed).points_world
