"""The true object as convex parts for physics, decomposed once and kept on disk by the hash of its mesh."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sparse_recon.files.atomic import whole_file
from sparse_recon.fuse.convex import convex_parts
from sparse_recon.types import Float32, Float64, Int32

PARTS_TOLERANCE_M = 0.002  # how far a part may bridge a hollow; fingers reach into hollows of centimetres
_THRESHOLDS = (0.02, 0.05)  # CoACD's range of use; its lengths are halves of the longest edge of the mesh
_SEED = 0
_FORMAT = "1"

Part = tuple[Float32, Int32]


def object_parts(vertices_obj: Float64, faces: Int32, cache: Path) -> tuple[Part, ...]:
    """Return the convex parts, (V, 3) float32 metres and (F, 3), of a closed mesh, from `cache` if they are there.

    Raises
    ------
    MeshError
        If the mesh is not closed and manifold, or CoACD fails on it.
    DependencyError
        If CoACD is not installed.
    FileError
        If the cache cannot be written.
    """
    vertices: Float32 = np.ascontiguousarray(vertices_obj, np.float32)
    longest_m = float(np.ptp(vertices, axis=0).max())
    concavity = round(float(np.clip(PARTS_TOLERANCE_M / (longest_m / 2), *_THRESHOLDS)), 4)
    triangles = np.ascontiguousarray(faces, np.int32)
    digest = hashlib.sha256(f"{_FORMAT} {concavity} ".encode() + vertices.tobytes() + triangles.tobytes())
    path = Path(cache) / f"{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        return _read(path)
    parts = tuple(convex_parts(vertices, triangles, concavity, _SEED))
    _write(path, parts)
    return parts


def _read(path: Path) -> tuple[Part, ...]:
    with np.load(path, allow_pickle=False) as file:
        return tuple((file[f"v{i}"], file[f"f{i}"]) for i in range(len(file.files) // 2))


def _write(path: Path, parts: tuple[Part, ...]) -> None:
    arrays: dict[str, Any] = {f"v{i}": vertices for i, (vertices, _) in enumerate(parts)}
    arrays |= {f"f{i}": faces for i, (_, faces) in enumerate(parts)}
    with whole_file(path, "convex parts") as new:  # several processes may make the same parts at once
        np.savez_compressed(new, **arrays)
