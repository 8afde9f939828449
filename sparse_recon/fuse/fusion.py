"""Measured and imagined surface become one checked object: field, meshes, points, confidence, provenance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparse_recon.completion import SampledField
from sparse_recon.config.geometry_config import FusionConfig
from sparse_recon.config.session_config import SessionConfig
from sparse_recon.errors import MeshError
from sparse_recon.evidence import Bounds, Evidence
from sparse_recon.fuse.blend import BlendedField, blend, fine_grid
from sparse_recon.fuse.colors import surface_colors
from sparse_recon.fuse.confidence import error_quantile, mixture_quantile, probability_within
from sparse_recon.fuse.convex import convex_parts
from sparse_recon.fuse.hypotheses import draw_mesh, error_by_draws_m
from sparse_recon.fuse.mesh import (
    decimated,
    is_closed,
    isosurface,
    solid,
    triangles,
    welded,
    without_coincident,
    without_small_components,
)
from sparse_recon.fuse.surface_points import sample_surface, scattered, upright_box
from sparse_recon.geometry.grids import VoxelGrid
from sparse_recon.geometry.poses import transform_points
from sparse_recon.types import (
    Bool,
    Float32,
    Float64,
    Int32,
    ObjectViews,
    OrientedBox,
    Provenance,
    SurfaceField,
    SurfaceHypothesis,
    TriangleMesh,
    UInt8,
)

log = logging.getLogger(__name__)

# A surface voxel violates free space when it lies deeper in it than this share of a voxel.
VIOLATION_VOXELS = 0.5
GROWTH_PASSES = 2


@dataclass(frozen=True, eq=False)
class FusedGeometry:
    """What fusion makes of one object; world frame, fields as in `types.CompletedObject`."""

    points_world: Float32
    normals_world: Float32
    colors: UInt8
    confidence: Float32
    provenance: UInt8
    nominal: TriangleMesh
    conservative: TriangleMesh
    vertex_confidence: Float32
    box: OrientedBox
    convex_parts: tuple[TriangleMesh, ...]
    hypotheses: tuple[SurfaceHypothesis, ...]
    observed_fraction: float
    free_space_violation: float
    radius90_m: float
    evidence_soft: bool


def fuse(
    views: ObjectViews,
    surface: SurfaceField,
    coarse: Evidence,
    config: SessionConfig,
    generator: np.random.Generator,
    on_stage: Callable[[str], None],
    hypotheses: Sequence[SampledField] = (),
    pose_error_m: float = 0.0,
) -> FusedGeometry:
    """Fuse an imagined field with the measured views.

    Parameters
    ----------
    surface : imagined field on the grid of the `coarse` evidence.
    hypotheses : draws beside it, on the same grid; the conservative mesh is grown by how far they lie apart.
    pose_error_m : how far the camera poses put the object off; the conservative mesh is grown by that too, everywhere.
    on_stage : called with the stage's name before each stage, and again between the steps of long ones; it may raise
        to cancel.

    Raises
    ------
    MeshError
        If no closed manifold surface comes out; nothing half valid is returned.
    """
    # 1. The same evidence on the fine grid, and the blend of both inside its bounds.
    on_stage("evidence_fine")
    grid = fine_grid(surface, coarse.grid, coarse.all_points_obj(), config.evidence, hypotheses)
    evidence = Evidence.of(views, grid, config.evidence, lambda: on_stage("evidence_fine"))
    on_stage("bounds_fine")
    bounds = Bounds.of(evidence, lambda: on_stage("bounds_fine"))
    on_stage("blend")
    field = blend(surface, coarse.grid, evidence, bounds, lambda: on_stage("blend"))

    # 2. Closed surfaces: the best estimate, the draws beside it, and one grown by its uncertainty, which draws tell
    # best, but never into known-free space.
    T = views.object_frame.T_world_obj
    drawn: tuple[SurfaceHypothesis, ...] = ()
    on_stage("mesh")
    vertices, faces, violation = _closed_surface(
        field.sdf_m, grid, config.fusion, "nominal", lambda _: on_stage("mesh"), bounds
    )
    on_stage("conservative")
    error_m = field.error_m
    if hypotheses:
        on_stage("hypotheses")
        error_m, drawn = _hypotheses(field, hypotheses, coarse.grid, T, config.fusion, on_stage)
    on_stage("conservative")
    grown, hull_grid = _grown(field, surface.tail * error_m, config.fusion), grid
    on_stage("conservative")
    if pose_error_m > 0:
        grown, hull_grid = grown_everywhere(
            grown, grid, pose_error_m, 2 * config.evidence.fine_grid, lambda: on_stage("conservative")
        )
        on_stage("conservative")
    hull_vertices, hull_faces, _ = _closed_surface(
        grown, hull_grid, config.fusion, "conservative", on_stage, None if pose_error_m > 0 else bounds
    )

    # 3. Points with confidence and provenance.
    on_stage("points")
    sampled, normals = sample_surface(
        vertices, faces, config.fusion.point_spacing_m, config.fusion.max_points, generator
    )
    error, observed = _at(field, sampled)
    on_stage("points")
    colors = surface_colors(sampled, observed, evidence.all_points_obj(), evidence.all_colors())
    on_stage("points")
    nominal = _mesh_world(vertices, faces, T)
    on_stage("points")
    conservative = _mesh_world(hull_vertices, hull_faces, T)
    on_stage("points")
    parts: tuple[TriangleMesh, ...] = ()
    if config.fusion.convex_parts:
        on_stage("convex_parts")
        pieces = convex_parts(
            hull_vertices,
            hull_faces,
            config.fusion.convex_concavity,
            int(generator.integers(2**31)),
            lambda: on_stage("convex_parts"),
        )
        parts = tuple(_mesh_world(v, f, T) for v, f in pieces)
    return FusedGeometry(
        points_world=transform_points(T, sampled).astype(np.float32),
        normals_world=(normals @ T[:3, :3].T.astype(np.float32)).astype(np.float32),
        colors=colors,
        confidence=probability_within(error),
        provenance=np.where(observed, np.uint8(Provenance.OBSERVED), np.uint8(Provenance.INFERRED)),
        nominal=nominal,
        conservative=conservative,
        vertex_confidence=probability_within(_at(field, vertices)[0]),
        box=upright_box(vertices, T),
        convex_parts=parts,
        hypotheses=drawn,
        observed_fraction=float(observed.mean()),
        free_space_violation=violation,
        radius90_m=mixture_quantile(surface.tail * error[~observed], 0.9),
        evidence_soft=bounds.soft,
    )


def free_space_violation(vertices_obj: Float32, faces: Int32, bounds: Bounds) -> float:
    """Return the share of voxels touched by the surface that stand in space seen to be empty.

    The surface is sampled twice as finely as the grid; a voxel counts when the surface in it is more than half a
    voxel inside the known-free space.
    """
    points = scattered(vertices_obj, faces, 0.5 * bounds.grid.voxel_m, 300_000)
    points = np.concatenate([points, vertices_obj])
    depth_in_free = bounds.grid.sample(bounds.lower_m, points)
    index = np.ravel_multi_index(bounds.grid.nearest(points), bounds.grid.shape)
    touched = len(np.unique(index))
    bad = len(np.unique(index[depth_in_free > VIOLATION_VOXELS * bounds.grid.voxel_m]))
    return bad / touched


def _closed_surface(
    sdf_m: Float32,
    grid: VoxelGrid,
    config: FusionConfig,
    what: str,
    checkpoint: Callable[[str], None],
    bounds: Bounds | None,
) -> tuple[Float32, Int32, float]:
    """Extract, clean, check and decimate; return what violates free space as well.

    Where fewer faces would cut into free space, more than `max_faces` are kept. Without `bounds`, as of a solid that
    is meant to stand in free space, they are not, and nothing violates it. `checkpoint` is called with `what` between
    the long steps; it may raise to cancel.
    """
    checkpoint(what)
    vertices, faces = isosurface(sdf_m, grid)
    checkpoint(what)
    vertices, faces = without_small_components(vertices, faces, config.min_component)
    checkpoint(what)
    fine = solid(vertices, faces, what)
    checkpoint(what)
    fine = fine.simplify(config.simplify_tolerance_m)
    checkpoint(what)

    def violation(mesh: Any) -> float:
        return 0.0 if bounds is None else free_space_violation(*triangles(mesh), bounds)

    violations = [violation(fine)]
    checkpoint(what)

    def no_worse(coarser: Any) -> bool:
        checkpoint(what)
        violations.append(violation(coarser))
        return violations[-1] <= violations[0]

    vertices, faces = triangles(decimated(fine, config.simplify_tolerance_m, config.max_faces, no_worse))
    checkpoint(what)
    solid(vertices, faces, what)
    return vertices, faces, min(violations)


def grown_everywhere(
    sdf_m: Float32, grid: VoxelGrid, by_m: float, most: int, checkpoint: Callable[[], None] = lambda: None
) -> tuple[Float32, VoxelGrid]:
    """Grow a solid on all sides, to within a voxel, and return its signed distance, metres, and its wider grid.

    `sdf_m` need be a distance at its rim only. Where the grid would have more than `most` voxels along an edge, it gets
    larger ones, and what is thinner than they are becomes as thick. `checkpoint` is called between the steps; it may
    raise.
    """
    import edt

    room = int(np.ceil(by_m / grid.voxel_m)) + 2
    low, high = np.array(grid.low_m), np.array(grid.low_m) + np.array(grid.shape) * grid.voxel_m
    voxel_m = grid.voxel_m
    if max(grid.shape) + 2 * room > most:
        voxel_m *= (max(grid.shape) + 2 * room) / most
    wide = VoxelGrid.around(low - room * grid.voxel_m, high + room * grid.voxel_m, voxel_m)
    inside = np.zeros(wide.shape, bool)
    inside[wide.nearest(grid.points(np.argwhere(sdf_m < 0).astype(np.float64)))] = True
    # Cut by free space and at the border of its grid, the field is no distance outside.
    checkpoint()
    outside_m = (edt.edt(~inside, parallel=0) - 1.0) * np.float32(voxel_m)
    checkpoint()
    sdf = grid.resample(sdf_m, wide)
    checkpoint()
    return np.where(inside, np.minimum(sdf, 0), np.maximum(sdf, outside_m)) - np.float32(by_m), wide


def _grown(field: BlendedField, error_m: Float32, config: FusionConfig) -> Float32:
    """Grow the solid by its error quantile, smoothly, and nowhere into known-free space."""
    from scipy.ndimage import gaussian_filter

    growth = np.minimum(error_quantile(error_m, config.conservative_quantile), config.conservative_max_m)
    nearest_m = np.minimum(field.bounds.lower_m, field.sdf_m)
    grown = field.sdf_m - growth
    # Cut by free space the growth leaves spikes along rays; smoothed and cut again, the thin ones are gone.
    for _ in range(GROWTH_PASSES):
        grown = np.maximum(np.minimum(gaussian_filter(grown, 1.0), field.sdf_m), nearest_m)
    return grown.astype(np.float32)


def _hypotheses(
    field: BlendedField,
    draws: Sequence[SampledField],
    coarse: VoxelGrid,
    T_world_obj: Float64,
    config: FusionConfig,
    on_stage: Callable[[str], None],
) -> tuple[Float32, tuple[SurfaceHypothesis, ...]]:
    """Return the error of the answer as draws tell it, and the meshes of those that make one, in the world."""
    found: list[SurfaceHypothesis] = []

    def on_draw(number: int, sdf_m: Float32) -> None:
        on_stage("hypotheses")
        try:
            mesh = _mesh_world(*draw_mesh(sdf_m, field.grid, config), T_world_obj)
        except MeshError as error:
            log.warning("hypothesis %d is left out: %s", number, error)
        else:
            found.append(SurfaceHypothesis(mesh, draws[number].weight))
        on_stage("hypotheses")

    error_m = error_by_draws_m(field, draws, coarse, on_draw)
    total = sum(hypothesis.weight for hypothesis in found)
    return error_m, tuple(SurfaceHypothesis(h.mesh, h.weight / total) for h in found)


def _at(field: BlendedField, points_obj: Float32) -> tuple[Float32, Bool]:
    error = field.grid.sample(field.error_m, points_obj)
    return error, field.grid.sample(field.observed, points_obj) > 0.5


def _mesh_world(vertices_obj: Float32, faces: Int32, T_world_obj: Float64) -> TriangleMesh:
    vertices = transform_points(T_world_obj, vertices_obj.astype(np.float64)).astype(np.float32)
    vertices = without_coincident(vertices, faces)
    # As rounded, for that is what is published: rounding may let vertices meet.
    if not is_closed(*welded(vertices, faces)):
        raise MeshError(
            "the mesh is not closed with consistent winding and is not published; try another seed or add a view"
        )
    return TriangleMesh(vertices, faces, watertight=True)
