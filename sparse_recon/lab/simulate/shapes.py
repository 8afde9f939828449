"""Shapes with known truth: closed metric meshes with colours, standing on z = 0 of their own frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import DependencyError, ErrorCode, FileError, InputError, clipped
from sparse_recon.inputs.files import check_file
from sparse_recon.inputs.mesh_header import lie_of
from sparse_recon.types import Bool, Float64, Int32, UInt8

if TYPE_CHECKING:
    from manifold3d import Manifold

MAX_MESH_BYTES = 500_000_000
EDGE_M = 0.003  # colours live on the vertices, so this is also the sharpness of painted edges

Paint = Callable[[Float64], Float64]


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh whose surface is known exactly.

    Attributes
    ----------
    name : for people and file names.
    vertices_obj : (V, 3) float64, metres, z up, standing on z = 0, roughly centred in x and y.
    faces : (F, 3) int32, counter-clockwise outside.
    colors : (V, 3) uint8 sRGB.
    """

    name: str
    vertices_obj: Float64
    faces: Int32
    colors: UInt8

    def __post_init__(self) -> None:
        count = len(self.vertices_obj)
        if self.vertices_obj.shape != (count, 3) or self.colors.shape != (count, 3) or count == 0:
            raise InputError(
                ErrorCode.USAGE,
                f"{self.name}: vertices and colours must both be (V, 3) with V > 0, "
                f"got {self.vertices_obj.shape} and {self.colors.shape}",
            )
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or self.faces.min() < 0 or self.faces.max() >= count:
            raise InputError(
                ErrorCode.USAGE,
                f"{self.name}: faces must be (F, 3) indices of the {count} vertices, got shape {self.faces.shape}",
            )

    @property
    def size_m(self) -> Float64:
        """(3,) extents along the axes of the object frame."""
        return np.ptp(self.vertices_obj, axis=0)

    @property
    def footprint_radius_m(self) -> float:
        """Radius of the vertical cylinder around the origin that holds the shape."""
        return float(np.linalg.norm(self.vertices_obj[:, :2], axis=1).max())


def painted_shape(name: str, solid: Manifold, paint: Paint) -> Shape:
    """Refine a solid to `EDGE_M`, colour its vertices and stand it on z = 0.

    Parameters
    ----------
    solid : metres, any height.
    paint : maps (V, 3) metres, standing on z = 0, to (V, 3) sRGB in [0, 1].
    """
    mesh = solid.refine_to_length(EDGE_M).to_mesh64()
    vertices = np.array(mesh.vert_properties[:, :3], dtype=np.float64)
    vertices[:, 2] -= vertices[:, 2].min()
    colors = (np.clip(paint(vertices), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Shape(name, vertices, np.array(mesh.tri_verts, dtype=np.int32), colors)


def scanned_shape(path: Path, name: str = "") -> Shape:
    """Load a scanned mesh (z up, metres), centre it in x and y and stand it on z = 0; see `scanned_surface`."""
    vertices, faces, colors = scanned_surface(path)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices -= (*((low + high) / 2)[:2], low[2])
    return Shape(name or Path(path).stem, vertices, faces, colors)


def scanned_surface(path: Path) -> tuple[Float64, Int32, UInt8]:
    """Return vertices (V, 3) in the frame and unit of the file, faces (F, 3) and vertex colours (V, 3) of a mesh.

    Textures become vertex colours; texture seams are merged away, so a closed scan stays closed.

    Raises
    ------
    FileError
        If the file is missing or holds no triangles.
    InputError
        MESH_INVALID for vertices that are not finite.
    DependencyError
        If trimesh cannot be imported.
    """
    try:
        import trimesh
    except ImportError as error:
        raise DependencyError("trimesh", "loading scanned meshes", "pip install trimesh") from error
    path = Path(path)
    size_bytes = check_file(path, "a mesh: a .glb, .ply, .obj or .stl file")
    if size_bytes > MAX_MESH_BYTES:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} has {size_bytes} bytes, accepted are {MAX_MESH_BYTES}")
    if lie := lie_of(path):
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} cannot be read as a mesh: {lie}; export it again")
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # of any of its many parsers
        raise FileError(
            ErrorCode.INPUT_MISSING,
            f"{path} cannot be read as a mesh: {type(error).__name__}: {clipped(str(error))}; export it again",
        ) from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise FileError(ErrorCode.INPUT_MISSING, f"{path} holds no triangles; give a triangle mesh")
    colors = np.full((len(mesh.vertices), 3), 176, np.uint8)
    if bad := int((~np.isfinite(mesh.vertices)).any(axis=1).sum()):
        raise InputError(
            ErrorCode.MESH_INVALID, f"{path}: {bad} of {len(mesh.vertices)} vertices are not finite; repair the mesh"
        )
    visual: Any = mesh.visual
    if visual.kind is not None:
        visual = visual.to_color() if visual.kind == "texture" else visual
        rgba = np.atleast_2d(np.asarray(visual.vertex_colors, dtype=np.uint8))  # one row for an untextured material
        colors = np.broadcast_to(rgba[:, :3], colors.shape)
    vertices, index = np.unique(np.asarray(mesh.vertices, dtype=np.float64), axis=0, return_inverse=True)
    merged = np.zeros((len(vertices), 3), np.uint8)
    merged[index.ravel()] = colors
    faces = index.ravel()[np.asarray(mesh.faces)].astype(np.int32)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    return vertices, faces, merged


def layered(base: npt.ArrayLike, *layers: tuple[Callable[[Float64], Bool], npt.ArrayLike]) -> Paint:
    """Return a paint of one base colour with later layers over earlier ones; sRGB in [0, 1]."""

    def paint(points: Float64) -> Float64:
        colors = np.tile(np.asarray(base, dtype=np.float64), (len(points), 1))
        for inside, color in layers:
            colors[inside(points)] = color
        return colors

    return paint


def load_manifold() -> type[Manifold]:
    """Return manifold3d's solid.

    Raises
    ------
    DependencyError
        If the library cannot be imported.
    """
    try:
        from manifold3d import Manifold
    except ImportError as error:
        raise DependencyError("manifold3d", "making simulated shapes", "pip install manifold3d") from error
    return Manifold
