"""Images of clouds and meshes without a screen or GPU: orthographic views around one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sparse_recon.errors import DependencyError
from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.geometry.poses import rotation_to_up
from sparse_recon.types import Float32, Float64, Frame, Int32, TriangleMesh, UInt8

BACKGROUND = (255, 255, 255)
_OVERSAMPLE = 2
_CLAY = np.array([0.90, 0.905, 0.92])
_PAINT_GAMMA = 0.55
_RELIEF_SLOPE = 3.0  # flatter neighbours are one surface
_KEY_LIGHT, _FILL_LIGHT = np.array([-0.45, -0.75, -0.65]), np.array([0.8, 0.1, -0.5])


@dataclass(frozen=True, eq=False)
class OrthographicView:
    """A square image of the object around `centre_world`.

    Attributes
    ----------
    R_view_world : (3, 3), rows are the image's right, down and forward directions in the world frame.
    half_width_m : half of the world width that the image covers.
    size_px : edge of the image.
    """

    centre_world: Float64
    R_view_world: Float64
    half_width_m: float
    size_px: int

    @property
    def pixels_per_metre(self) -> float:
        return self.size_px / (2.0 * self.half_width_m)


def views_around(
    points_world: npt.NDArray[np.floating],
    azimuths_deg: tuple[float, ...],
    size_px: int,
    *,
    front_world: npt.ArrayLike = (1.0, 0.0, 0.0),
    up_world: npt.ArrayLike = (0.0, 0.0, 1.0),
    elevation_deg: float = 22.0,
) -> tuple[OrthographicView, ...]:
    """Return views of equal scale and centre from several sides.

    Parameters
    ----------
    points_world : (N, 3) metres, what must fit into every image.
    azimuths_deg : from `front_world`, counter-clockwise about `up_world`.
    front_world : direction from the object to a viewer at azimuth 0.
    """
    R_world_up = rotation_to_up(up_world, front_world)
    local = points_world @ R_world_up
    low, high = local.min(axis=0), local.max(axis=0)
    centre = (low + high) / 2
    reach = np.linalg.norm(local[:, :2] - centre[:2], axis=1).max()
    e = np.deg2rad(elevation_deg)
    half_width = 1.06 * max(reach, (high[2] - low[2]) / 2 * np.cos(e) + reach * np.sin(e), 1e-4)
    views = []
    for a in np.deg2rad(azimuths_deg):
        away = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.array([-np.sin(a), np.cos(a), 0.0])
        rows = np.stack([right, np.cross(-away, right), -away])
        views.append(OrthographicView(centre @ R_world_up.T, rows @ R_world_up.T, float(half_width), size_px))
    return tuple(views)


def splat_cloud(
    points_world: npt.NDArray[np.floating], colors: UInt8, view: OrthographicView, point_m: float = 0.0
) -> UInt8:
    """Draw points as discs, nearest on top, with relief from their depth differences.

    Parameters
    ----------
    points_world : (N, 3) metres.
    colors : (N, 3) uint8.
    point_m : diameter of a disc; 0 chooses it so that an even cloud just closes.

    Returns
    -------
    (size_px, size_px, 3) uint8.
    """
    if len(points_world) == 0:
        return np.full((view.size_px, view.size_px, 3), BACKGROUND, dtype=np.uint8)
    size = view.size_px * _OVERSAMPLE
    scale = view.pixels_per_metre * _OVERSAMPLE
    local = (points_world.astype(np.float64) - view.centre_world) @ view.R_view_world.T
    if point_m <= 0:
        point_m = 4.2 * view.half_width_m / max(np.sqrt(len(points_world)), 1.0)
    disc = _disc(np.clip(point_m * scale / 2, 1.0, 0.012 * size))
    reach = int(disc.max())
    wide = size + 2 * reach  # a rim that discs may hang over
    pixel = np.rint(local[:, :2] * scale + (size - 1) / 2).astype(np.int64) + reach
    inside = ((pixel >= reach) & (pixel < size + reach)).all(axis=1)
    order = np.argsort(-local[:, 2], kind="stable")  # far to near: of repeated indices NumPy keeps the last
    order = order[inside[order]]
    at = (pixel[order, 1] * wide + pixel[order, 0])[:, None] + (disc[:, 1] * wide + disc[:, 0])
    nearest = np.full(wide * wide, -1, dtype=np.int64)
    nearest[at.ravel()] = np.repeat(order, len(disc))
    nearest = nearest.reshape(wide, wide)[reach : reach + size, reach : reach + size]
    drawn = nearest >= 0
    depth_px = np.where(drawn, local[nearest, 2] * scale, np.inf).astype(np.float32)
    lit = colors[nearest] * _relief(depth_px)[..., None]
    return _reduced(np.where(drawn[..., None], lit, np.float32(BACKGROUND[0])))


def shade_mesh(
    mesh: TriangleMesh, views: Sequence[OrthographicView], vertex_colors: UInt8 | None = None
) -> tuple[UInt8, ...]:
    """Draw a mesh from several sides, lit from the viewer's upper left; one (size_px, size_px, 3) uint8 a view.

    `vertex_colors` (V, 3) uint8 paint it, under softer light so that dark paint shows; without them it is of clay.
    """
    scene, looks = _ray_scene([mesh]), np.empty((len(mesh.faces), 3, 6), dtype=np.float32)
    looks[..., :3] = _corner_normals(mesh)
    looks[..., 3:] = 255.0 * _CLAY if vertex_colors is None else vertex_colors[mesh.faces]
    gamma = 1.0 if vertex_colors is None else _PAINT_GAMMA
    return tuple(_shaded(scene, mesh, looks, view, gamma) for view in views)


def _shaded(scene: Any, mesh: TriangleMesh, looks: Float32, view: OrthographicView, gamma: float) -> UInt8:
    """Draw one view; `looks` (F, 3, 6) are the normals and colours of the faces' corners."""
    size = view.size_px * _OVERSAMPLE
    scale = view.pixels_per_metre * _OVERSAMPLE
    rows, columns = _reached(mesh, view, size, scale)
    x, y = ((np.arange(part.start, part.stop) - (size - 1) / 2) / scale for part in (columns, rows))
    right, down, forward = view.R_view_world.astype(np.float32)
    start = (view.centre_world - 4.0 * view.half_width_m * view.R_view_world[2]).astype(np.float32)
    rays = np.empty((len(y), len(x), 6), dtype=np.float32)
    rays[..., :3] = start + y.astype(np.float32)[:, None, None] * down + x.astype(np.float32)[None, :, None] * right
    rays[..., 3:] = forward
    hits = scene.cast_rays(_tensor(rays))
    depth_m = hits["t_hit"].numpy()
    hit = np.isfinite(depth_m)
    u, v = hits["primitive_uvs"].numpy()[hit].T
    faces = hits["primitive_ids"].numpy()[hit].astype(np.int64)
    seen = np.einsum("nk,nkc->nc", np.stack([1 - u - v, u, v], axis=-1), looks[faces])  # (n, normal and colour)
    normals = _unit(seen[:, :3]) @ view.R_view_world.T.astype(np.float32)
    normals *= np.where(normals[:, 2:] > 0, np.float32(-1), np.float32(1))
    key, fill = (
        np.clip(normals @ (light / np.linalg.norm(light)).astype(np.float32), 0, 1)
        for light in (_KEY_LIGHT, _FILL_LIGHT)
    )
    relief = _relief(np.where(hit, depth_m * np.float32(scale), np.float32(np.inf)))[hit]
    light = np.clip((0.34 + 0.66 * key + 0.16 * fill) * relief, 0, 1) ** np.float32(gamma)
    image = np.full((size, size, 3), BACKGROUND, dtype=np.float32)
    image[rows, columns][hit] = seen[:, 3:] * light[:, None]
    return _reduced(image)


def _reached(mesh: TriangleMesh, view: OrthographicView, size: int, scale: float) -> tuple[slice, slice]:
    """Return the rows and columns of the image that the mesh can reach, with a rim as wide as the relief looks."""
    pixel = (mesh.vertices_world - view.centre_world) @ view.R_view_world[:2].T * scale + (size - 1) / 2
    low = np.clip(np.floor(pixel.min(axis=0)) - 4, 0, size).astype(int)
    high = np.clip(np.ceil(pixel.max(axis=0)) + 5, 0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def silhouettes(meshes: list[TriangleMesh], frame: Frame) -> Int32:
    """Return which mesh each pixel of a frame's camera would see: (H, W) int32, index + 1, 0 for none."""
    rays = np.empty((frame.intrinsics.height, frame.intrinsics.width, 6), dtype=np.float32)
    rays[..., :3] = frame.T_world_cam[:3, 3]
    rays[..., 3:] = pixel_rays(frame.intrinsics) @ frame.T_world_cam[:3, :3].T.astype(np.float32)
    hits = _ray_scene(meshes).cast_rays(_tensor(rays))
    ids = hits["geometry_ids"].numpy().astype(np.int64)
    return np.where(np.isfinite(hits["t_hit"].numpy()), ids + 1, 0).astype(np.int32)


def _corner_normals(mesh: TriangleMesh) -> Float32:
    """Return (F, 3, 3) normals of the faces' corners, smooth except across sharp edges (> 45 degrees)."""
    vertices, faces = mesh.vertices_world.astype(np.float64), mesh.faces
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    face_normals = np.cross(b - a, c - a)
    vertex_normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(vertex_normals, faces[:, corner], face_normals)
    corners = _unit(vertex_normals)[faces]
    flat = _unit(face_normals)
    sharp = np.einsum("fkc,fc->fk", corners, flat) < np.cos(np.deg2rad(45.0))
    return np.where(sharp[..., None], flat[:, None], corners).astype(np.float32)


def _relief(depth_px: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Darken pixels that lie behind their neighbours (eye-dome lighting, Boucheny 2009); (S, S) in (0, 1]."""
    depth = np.minimum(depth_px, 1e9)
    behind = np.zeros_like(depth)
    for reach in (1, 3):
        for axis, step in ((0, reach), (0, -reach), (1, reach), (1, -reach)):
            behind += np.clip((depth - np.roll(depth, step, axis=axis)) / reach - _RELIEF_SLOPE, 0.0, 12.0)
    return np.exp(-0.016 * behind)


def _disc(radius_px: float) -> npt.NDArray[np.int64]:
    reach = int(np.ceil(radius_px))
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    return grid[(grid**2).sum(axis=1) <= radius_px**2 + 0.25]


def _reduced(image: npt.NDArray[np.floating]) -> UInt8:
    """Average the oversampled image down."""
    mean = sum(image[i::_OVERSAMPLE, j::_OVERSAMPLE] for i in range(_OVERSAMPLE) for j in range(_OVERSAMPLE))
    return (np.clip(mean / _OVERSAMPLE**2, 0, 255) + 0.5).astype(np.uint8)


def _unit(vectors: Any) -> Any:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def outline(mask: npt.NDArray[np.bool_], width_px: int = 2) -> npt.NDArray[np.bool_]:
    """Return the pixels just inside the edge of a mask."""
    return mask & ~ndimage.binary_erosion(mask, iterations=width_px)


def _ray_scene(meshes: list[TriangleMesh]) -> Any:
    try:
        import open3d as o3d
    except ImportError as error:
        raise DependencyError("open3d", "drawing meshes", "pip install open3d") from error
    scene = o3d.t.geometry.RaycastingScene()
    for mesh in meshes:
        vertices: Float32 = mesh.vertices_world.astype(np.float32)
        scene.add_triangles(_tensor(vertices), _tensor(mesh.faces.astype(np.uint32)))
    return scene


def _tensor(array: Any) -> Any:
    import open3d as o3d

    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))
