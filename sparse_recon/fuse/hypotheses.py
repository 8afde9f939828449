"""Draws of a model beside its answer: how far they lie apart, and a closed mesh of each.

Each draw gets the same measurements over it and is projected into the same bounds as the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparse_recon.completion import SampledField
from sparse_recon.config.geometry_config import FusionConfig
from sparse_recon.errors import MeshError
from sparse_recon.fuse.blend import BlendedField
from sparse_recon.fuse.mesh import decimated, isosurface, solid, triangles, without_small_components
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.types import Float32, Int32

# Where nothing was measured the expected error is so much of the standard deviation of the draws, and so much of what
# the answer itself claims, which draws know nothing of. Fitted on six scans and six made-up objects
# (`benchmarks/hypotheses.py` tells what comes of it on others).
SPREAD_SHARE, CLAIM_SHARE = 0.87, 0.15

# Takes the number of a draw and its field on the fine grid, (X, Y, Z) metres; may raise.
OnDraw = Callable[[int, Float32], None]


def error_by_draws_m(field: BlendedField, draws: Sequence[SampledField], coarse: VoxelGrid, on_draw: OnDraw) -> Float32:
    """Return the expected absolute error, (X, Y, Z) metres, of the answer where draws stand beside it.

    What was measured keeps its error. A single draw tells no spread, and the answer's claim stays as it is.

    Parameters
    ----------
    draws : on the `coarse` grid; one of them at a time is held on the fine one.
    on_draw : called for each.
    """
    mean_m, squares = np.zeros_like(field.sdf_m), np.zeros_like(field.sdf_m)
    total = squared = 0.0
    for number, draw in enumerate(draws):
        sdf_m = field.of(draw.sdf_m, coarse)
        on_draw(number, sdf_m)
        # Weighted mean and sum of squares in one pass (West 1979).
        total, squared = total + draw.weight, squared + draw.weight**2
        apart = sdf_m - mean_m
        mean_m += np.float32(draw.weight / total) * apart
        squares += np.float32(draw.weight) * apart * (sdf_m - mean_m)
    unbiased = total - squared / max(total, 1e-12)
    if unbiased < 1e-6:
        return field.error_m
    spread_m = np.sqrt(np.maximum(squares, 0.0) / np.float32(unbiased))
    claimed_m = field.error_m * (field.observed + CLAIM_SHARE * (1.0 - field.observed))
    return np.asarray(claimed_m + SPREAD_SHARE * spread_m, np.float32)


def draw_mesh(sdf_m: Float32, grid: VoxelGrid, config: FusionConfig) -> tuple[Float32, Int32]:
    """Return the closed surface of a draw in at most `fusion.hypothesis_faces` triangles.

    Raises
    ------
    MeshError
        If there is none, or it takes more triangles.
    """
    vertices, faces = isosurface(sdf_m, grid)
    fine = solid(*without_small_components(vertices, faces, config.min_component), "hypothesis")
    vertices, faces = triangles(decimated(fine, config.simplify_tolerance_m, config.hypothesis_faces))
    if len(faces) > config.hypothesis_faces:
        raise MeshError(
            f"a hypothesis takes {len(faces)} triangles, accepted are {config.hypothesis_faces}; raise "
            "fusion.hypothesis_faces"
        )
    solid(vertices, faces, "hypothesis")
    return vertices, faces
