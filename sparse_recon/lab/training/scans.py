"""Scanned objects beside the procedural ones: changed at every draw, so that a few teach more than themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparse_recon.errors import DependencyError, ErrorCode, FileError
from sparse_recon.geometry.grids import VoxelGrid, solid_distances
from sparse_recon.lab.simulate.shapes import scanned_shape
from sparse_recon.lab.training.fields import Field, bent, sampled_field
from sparse_recon.lab.training.objects import ProceduralObject
from sparse_recon.lab.training.pack import PackedShape, draw_packed, load_packed
from sparse_recon.types import Bool, Float32, Float64, Int32

FAMILY, PACK_FAMILY = "scan", "shape"
SUFFIXES = (".glb", ".obj", ".ply", ".stl")
# Half of the draws keep their proportions within a tenth; the others teach that things of a kind differ.
STRETCH, WILD_STRETCH = 0.08, 0.25
SMALLEST, LARGEST = 0.75, 1.35
BENT_SHARE = 0.3
FINEST = 160  # voxels along the longest edge of a scan
# Rays along columns of voxel centres pass beside them by this share of a voxel: meshes have edges at round coordinates.
_ASIDE = (0.013, 0.0077)


def scan_paths(folders: Sequence[Path], names: Sequence[str]) -> tuple[Path, ...]:
    """Return the meshes with these names (paths without suffix, below one of the folders).

    Raises
    ------
    FileError
        INPUT_MISSING if one is not there.
    """
    found = [_mesh(folders, name) for name in names]
    if missing := [name for name, path in zip(names, found, strict=True) if path is None]:
        where = ", ".join(map(str, folders))
        raise FileError(
            ErrorCode.INPUT_MISSING, f"{where} lack {', '.join(missing)}; name the folders that hold these scans"
        )
    return tuple(path for path in found if path is not None)


def _mesh(folders: Sequence[Path], name: str) -> Path | None:
    paths = (Path(folder) / f"{name}{suffix}" for folder in folders for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def draw_scan(rng: np.random.Generator, paths: Sequence[Path]) -> ProceduralObject:
    """Draw one of the scans, z up as in its file: stretched, resized, perhaps mirrored and bent."""
    return _varied(rng, FAMILY, *unit_field(paths[int(rng.integers(len(paths)))]))


def draw_shape(rng: np.random.Generator, shapes: Sequence[PackedShape]) -> ProceduralObject:
    """Draw one of the shapes of a pack, changed as scans are; its family is its category."""
    shape = draw_packed(rng, shapes)
    return _varied(rng, f"{PACK_FAMILY}: {shape.category}", *unit_field(shape))


def _varied(rng: np.random.Generator, family: str, field: Field, longest_m: float) -> ProceduralObject:
    sigma = STRETCH if rng.random() < 0.5 else WILD_STRETCH
    stretch = torch.tensor(np.exp(rng.normal(0, sigma, 3).clip(-2 * sigma, 2 * sigma)), dtype=torch.float32)
    stretch = stretch / stretch.max()
    least = float(stretch.min())
    mirror = torch.tensor([float(rng.choice([-1, 1])), 1.0, 1.0])
    size_m = longest_m * float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))

    def changed(p: Tensor) -> Tensor:
        return least * field(p * mirror.to(p) / stretch.to(p))

    made: Field = changed
    if rng.random() < BENT_SHARE:
        made = bent(made, rng.normal(0, 0.25), rng.normal(0, 0.12), rng.uniform(-0.25, 0.25))
    return ProceduralObject(family, made, size_m)


def unit_field(origin: Path | PackedShape) -> tuple[Field, float]:
    """Return the signed distance of a mesh whose longest half edge is made 1, and its true longest edge in metres.

    It is asked for once, on a grid: asking the mesh takes longer than all the rest of a sample.
    """
    return _packed_field(origin) if isinstance(origin, PackedShape) else _scan_field(origin)


def _made_field(origin: Path | PackedShape) -> tuple[Field, float]:
    vertices, faces = _mesh_of(origin)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    longest = float((high - low).max())
    vertices = ((vertices - 0.5 * (low + high)) * (2 / longest)).astype(np.float32)
    half = 0.5 * (high - low) * (2 / longest)
    voxel = 2.0 / FINEST
    grid = VoxelGrid.around(-half - 3 * voxel, half + 3 * voxel, voxel)
    longest_m = origin.longest_m if isinstance(origin, PackedShape) else longest
    return sampled_field(_mesh_distances(vertices, faces, grid), grid), longest_m


# A field takes up to 16 MB. Scans are few and drawn again and again, the thousands of shapes of a pack hardly ever.
_scan_field = lru_cache(maxsize=256)(_made_field)
_packed_field = lru_cache(maxsize=16)(_made_field)


def _mesh_of(origin: Path | PackedShape) -> tuple[Float64, Int32]:
    if isinstance(origin, PackedShape):
        return load_packed(origin)
    shape = scanned_shape(origin, origin.stem)
    return shape.vertices_obj.astype(np.float64), shape.faces


def _mesh_distances(vertices: Float32, faces: Int32, grid: VoxelGrid) -> Float32:
    """Return signed distances, on a grid, of a mesh in the same unit: exact near its surface, of the voxels beyond."""
    try:
        import open3d as o3d
    except ModuleNotFoundError as error:
        raise DependencyError("open3d", "training on scans", "pip install open3d") from error
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor.from_numpy(vertices), o3d.core.Tensor.from_numpy(faces.astype(np.uint32)))
    # Rays along the three axes vote: scans have small holes.
    x, y, z = (_inside_columns(scene, grid, axis) for axis in range(3))
    inside = (x & y) | (y & z) | (z & x)
    distance = solid_distances(inside, grid.voxel_m, threads=1).astype(np.float32)
    near = np.abs(distance) < 2 * grid.voxel_m
    exact = scene.compute_distance(o3d.core.Tensor.from_numpy(grid.centres()[near]), nthreads=1).numpy()
    distance[near] = np.where(inside[near], -exact, exact)
    return distance


def _inside_columns(scene: Any, grid: VoxelGrid, axis: int) -> Bool:
    """Return which voxel centres, (X, Y, Z), an odd number of surfaces precedes on the way along an axis."""
    import open3d as o3d

    others = [k for k in range(3) if k != axis]
    u, v = np.meshgrid(*(grid.axes()[k] for k in others), indexing="ij")
    rays = np.zeros((u.size, 6), np.float32)
    rays[:, others[0]] = u.ravel() + _ASIDE[0] * grid.voxel_m
    rays[:, others[1]] = v.ravel() + _ASIDE[1] * grid.voxel_m
    rays[:, axis], rays[:, 3 + axis] = grid.low_m[axis] - grid.voxel_m, 1.0
    hits = scene.list_intersections(o3d.core.Tensor.from_numpy(rays), nthreads=1)
    length = grid.shape[axis]
    behind = np.ceil(hits["t_hit"].numpy() / grid.voxel_m - 1.5).astype(np.int64).clip(0, length)
    cell = hits["ray_ids"].numpy().astype(np.int64) * (length + 1) + behind
    crossings = np.bincount(cell, minlength=u.size * (length + 1)).reshape(*u.shape, length + 1)
    return np.moveaxis(np.cumsum(crossings, axis=2)[..., :length] % 2 == 1, 2, axis)
