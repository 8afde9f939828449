"""Draws of a model beside its answer: what they span together, and a closed mesh of each.

Each draw gets the same measurements over it and is projected into the same bounds as the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparse_recon.completion import SampledField
from sparse_recon.config.geometry_config import FusionConfig
from sparse_recon.errors import MeshError
from sparse_recon.fuse.blend import BlendedField
from sparse_recon.fuse.mesh import decimated, isosurface, solid, triangles, without_small_components
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Float32, Int32

# Space counts as spanned where draws of more than this weight hold it: one of four, two of eight, three of sixteen.
SPANNED_WEIGHT = 0.15
# Where nothing was measured draws tell the error, so that this share of the claimed one is left to be added.
CLAIM_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Draw:
    """A draw on the fine grid: (X, Y, Z) float32 metres, negative inside, and its weight."""

    sdf_m: Float32
    weight: float


def blended_draws(
    field: BlendedField, hypotheses: Sequence[SampledField], coarse: VoxelGrid, checkpoint: Callable[[], None]
) -> list[Draw]:
    """Return draws of the `coarse` grid as fusion sees them; `checkpoint` is called between them and may raise."""
    draws = []
    for drawn in hypotheses:
        checkpoint()
        draws.append(Draw(field.of(drawn.sdf_m, coarse), drawn.weight))
    return draws


def spanned(field: BlendedField, draws: Sequence[Draw], checkpoint: Callable[[], None]) -> Float32:
    """Return the signed distance, (X, Y, Z) metres, of what the answer holds or draws of enough weight do.

    At each voxel it is the quantile of the draws' distances at `SPANNED_WEIGHT`, or the answer's where that is less: a
    Vorob'ev quantile of the random solid (Molchanov 2005, section 2.2), made wider by the answer.
    """
    spanned_m = np.empty_like(field.sdf_m)
    weights = np.array([draw.weight for draw in draws])
    weights = weights / weights.sum()
    for x in range(len(spanned_m)):
        if x % 16 == 0:
            checkpoint()
        planes = np.stack([draw.sdf_m[x] for draw in draws])  # (K, Y, Z)
        order = np.argsort(planes, axis=0, kind="stable")
        enough = np.cumsum(weights[order], axis=0) > SPANNED_WEIGHT
        first = np.take_along_axis(order, enough.argmax(axis=0)[None], axis=0)
        spanned_m[x] = np.take_along_axis(planes, first, axis=0)[0]
    return np.minimum(spanned_m, field.sdf_m)


def error_beside_draws_m(field: BlendedField) -> Float32:
    """Return the expected absolute error, (X, Y, Z) metres, that is left where draws tell what nobody measured."""
    return np.asarray(field.error_m * (field.observed + CLAIM_SHARE * (1.0 - field.observed)), np.float32)


def draw_mesh(draw: Draw, grid: VoxelGrid, config: FusionConfig) -> tuple[Float32, Int32]:
    """Return the closed surface of a draw in at most `fusion.hypothesis_faces` triangles.

    Raises
    ------
    MeshError
        If there is none, or it takes more triangles.
    """
    vertices, faces = isosurface(draw.sdf_m, grid)
    fine = solid(*without_small_components(vertices, faces, config.min_component), "hypothesis")
    vertices, faces = triangles(decimated(fine, config.simplify_tolerance_m, config.hypothesis_faces))
    if len(faces) > config.hypothesis_faces:
        raise MeshError(
            f"a hypothesis takes {len(faces)} triangles, accepted are {config.hypothesis_faces}; raise "
            "fusion.hypothesis_faces"
        )
    solid(vertices, faces, "hypothesis")
    return vertices, faces
