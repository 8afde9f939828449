"""Scanned objects beside the procedural ones: stretched and resized, so that a few teach more than themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparse_recon.errors import DependencyError, ErrorCode, FileError
from sparse_recon.simulate.shapes import scanned_shape
from sparse_recon.training.fields import Field
from sparse_recon.training.objects import ProceduralObject

FAMILY = "scan"
STRETCH, SMALLEST, LARGEST = 0.1, 0.8, 1.25
# Rays that vote on what is inside: scans have small holes.
_VOTES = 3


def scan_paths(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the meshes (glb) of a folder by name.

    Raises
    ------
    FileError
        INPUT_MISSING if one is not there.
    """
    paths = tuple(Path(folder) / f"{name}.glb" for name in names)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileError(ErrorCode.INPUT_MISSING, f"{folder} lacks {', '.join(missing)}; name the folder of the scans")
    return paths


def draw_scan(rng: np.random.Generator, paths: Sequence[Path]) -> ProceduralObject:
    """Draw one of the scans, z up as in its file, each axis stretched by about a tenth, resized by up to a quarter."""
    field, longest_m = _unit_field(paths[int(rng.integers(len(paths)))])
    stretch = torch.tensor(np.exp(rng.normal(0, STRETCH, 3)), dtype=torch.float32)
    least = float(stretch.min())
    size_m = longest_m * float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    return ProceduralObject(FAMILY, lambda p: least * field(p / stretch.to(p)), size_m)


@lru_cache(maxsize=64)
def _unit_field(path: Path) -> tuple[Field, float]:
    """Return the signed distance of a mesh whose longest half edge is made 1, and its true longest edge in metres."""
    try:
        import open3d as o3d
    except ModuleNotFoundError as error:
        raise DependencyError("open3d", "training on scans", "pip install open3d") from error

    shape = scanned_shape(path, path.stem)
    low, high = shape.vertices_obj.min(axis=0), shape.vertices_obj.max(axis=0)
    longest_m = float((high - low).max())
    vertices = ((shape.vertices_obj - 0.5 * (low + high)) * (2 / longest_m)).astype(np.float32)
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor.from_numpy(vertices), o3d.core.Tensor.from_numpy(shape.faces.astype(np.uint32)))

    def field(p: Tensor) -> Tensor:
        query = o3d.core.Tensor.from_numpy(p.detach().cpu().numpy().astype(np.float32))
        distance = scene.compute_signed_distance(query, nthreads=1, nsamples=_VOTES).numpy()
        return torch.from_numpy(distance.copy()).to(p)

    return field, longest_m
