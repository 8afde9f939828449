"""True images of a scene by ray casting: depth, labels, normals, shaded colour and who hides whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparse_recon.errors import DependencyError
from sparse_recon.geometry.cameras import pixel_rays, project_points
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.lab.simulate.scene import Scene
from sparse_recon.types import CameraIntrinsics, Float32, Float64, Int32, UInt8

SUN_WORLD = np.array([0.35, 0.45, 1.0]) / np.linalg.norm([0.35, 0.45, 1.0])
_AMBIENT, _SUN, _CAMERA_LIGHT = 0.42, 0.62, 0.16
_BACKDROP = np.array([0.80, 0.82, 0.85])
_SHADOW_OFFSET_M = 2e-4


@dataclass(frozen=True, eq=False)
class RenderedView:
    """What an ideal camera sees.

    Attributes
    ----------
    rgb : (H, W, 3) uint8 sRGB.
    depth_m : (H, W) float32, metres along optical z; NaN where a ray meets nothing.
    labels : (H, W) int32, 0 for table and background, else the object's label.
    normals_world : (H, W, 3) float32 outward unit normals; zeros where a ray meets nothing.
    intrinsics, T_world_cam : the camera.
    """

    rgb: UInt8
    depth_m: Float32
    labels: Int32
    normals_world: Float32
    intrinsics: CameraIntrinsics
    T_world_cam: Float64


class Renderer:
    """A scene, prepared for casting rays.

    Raises
    ------
    DependencyError
        If Open3D cannot be imported.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        parts = [(o.vertices_world, o.shape.faces, o.shape.colors) for o in scene.objects]
        parts.append((scene.table.vertices_obj, scene.table.faces, scene.table.colors))
        self._world = _ray_scene([(vertices, faces) for vertices, faces, _ in parts])
        self._labels = np.array([*(o.label for o in scene.objects), 0], dtype=np.int32)
        self._face_colors = np.concatenate([_linear(colors)[faces] for _, faces, colors in parts])  # (F, 3, rgb)
        self._first_face = np.cumsum([0, *(len(faces) for _, faces, _ in parts)])[:-1]

    def render(
        self, intrinsics: CameraIntrinsics, T_world_cam: Float64, shadows: bool = True, lit: bool = True
    ) -> RenderedView:
        """Return the true images of one camera.

        Without `shadows` the light reaches everything that faces it; not `lit`, everything has its own colour.
        """
        rays = _rays(intrinsics, T_world_cam)
        hits = self._world.cast_rays(_tensor(rays))
        t = hits["t_hit"].numpy()
        hit = np.isfinite(t)
        geometry = np.where(hit, hits["geometry_ids"].numpy(), 0).astype(np.int64)
        labels = np.where(hit, self._labels[geometry], 0).astype(np.int32)
        normals = np.where(hit[..., None], hits["primitive_normals"].numpy(), 0.0).astype(np.float32)
        # Rays have z = 1 in the optical frame, so their parameter is the depth.
        depth_m = np.where(hit, t, np.nan).astype(np.float32)
        albedo = self._albedo(hits, geometry, hit)
        light = self._light(rays, t, normals, hit, shadows) if lit else np.ones(t.shape, np.float32)
        rgb = np.where(hit[..., None], albedo * light[..., None], _sky(intrinsics.height))
        return RenderedView(_srgb(rgb), depth_m, labels, normals, intrinsics, T_world_cam)

    def visibility(self, intrinsics: CameraIntrinsics, T_world_cam: Float64, labels: Int32) -> dict[int, float]:
        """Return for every object label the share of its outline in the image that nothing else hides.

        An object outside the image has visibility 0.

        Parameters
        ----------
        labels : (H, W) int32 that `render` gave for the same camera.
        """
        rays = _rays(intrinsics, T_world_cam)
        shares = {}
        for o in self._scene.objects:
            pixels = project_points(transform_points(inverse(T_world_cam), o.vertices_world), intrinsics)
            shares[o.label] = 0.0
            if not np.isfinite(pixels).any():
                continue
            low = np.maximum(np.floor(np.nanmin(pixels, axis=0)).astype(int), 0)
            high = np.ceil(np.nanmax(pixels, axis=0)).astype(int) + 1
            window = (slice(low[1], max(high[1], 0)), slice(low[0], max(high[0], 0)))
            if rays[window].size == 0:
                continue
            alone = _ray_scene([(o.vertices_world, o.shape.faces)]).cast_rays(_tensor(rays[window]))
            outline = np.isfinite(alone["t_hit"].numpy())
            if outline.any():
                shares[o.label] = float((labels[window][outline] == o.label).mean())
        return shares

    def _albedo(self, hits: Any, geometry: Any, hit: Any) -> Any:
        face = np.where(hit, hits["primitive_ids"].numpy(), 0).astype(np.int64) + self._first_face[geometry]
        uv = hits["primitive_uvs"].numpy()[..., None]
        corners = self._face_colors[face]
        u, v = uv[..., 0, :], uv[..., 1, :]
        return corners[..., 0, :] * (1 - u - v) + corners[..., 1, :] * u + corners[..., 2, :] * v

    def _light(self, rays: Any, t: Any, normals: Any, hit: Any, shadows: bool) -> Any:
        facing = normals @ SUN_WORLD.astype(np.float32)
        sun = np.clip(facing, 0.0, 1.0)
        if shadows:
            points = rays[..., :3] + np.where(hit, t, 0.0)[..., None] * rays[..., 3:] + _SHADOW_OFFSET_M * normals
            lit = hit & (facing > 0)
            towards = np.broadcast_to(SUN_WORLD.astype(np.float32), points[lit].shape)
            sun[lit] *= ~self._world.test_occlusions(_tensor(np.hstack([points[lit], towards]))).numpy()
        towards_camera = -np.einsum("hwc,hwc->hw", normals, rays[..., 3:]) / np.linalg.norm(rays[..., 3:], axis=-1)
        sky = _AMBIENT * (0.75 + 0.25 * normals[..., 2])
        return sky + _SUN * sun + _CAMERA_LIGHT * np.clip(towards_camera, 0.0, 1.0)


def _ray_scene(parts: list[tuple[Float64, Int32]]) -> Any:
    try:
        import open3d as o3d
    except ImportError as error:
        raise DependencyError("open3d", "rendering simulated scenes", "pip install open3d") from error
    scene = o3d.t.geometry.RaycastingScene()
    for vertices, faces in parts:
        scene.add_triangles(_tensor(vertices.astype(np.float32)), _tensor(faces.astype(np.uint32)))
    return scene


def _rays(intrinsics: CameraIntrinsics, T_world_cam: Float64) -> Float32:
    """(H, W, 6) origins and directions in the world frame, one per pixel centre."""
    rays = np.empty((intrinsics.height, intrinsics.width, 6), dtype=np.float32)
    rays[..., :3] = T_world_cam[:3, 3]
    rays[..., 3:] = pixel_rays(intrinsics) @ T_world_cam[:3, :3].T.astype(np.float32)
    return rays


def _tensor(array: Any) -> Any:
    import open3d as o3d

    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))


def _sky(height: int) -> Float64:
    return (_linear_float(_BACKDROP) * np.linspace(1.0, 0.72, height)[:, None])[:, None, :]


def _linear(srgb: UInt8) -> Float32:
    return _linear_float(srgb.astype(np.float32) / 255.0).astype(np.float32)


def _linear_float(srgb: Any) -> Any:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb(linear: Any) -> UInt8:
    table = np.linspace(0.0, 1.0, 4096)
    encoded = np.where(table <= 0.0031308, table * 12.92, 1.055 * table ** (1 / 2.4) - 0.055)
    levels = (encoded * 255.0 + 0.5).astype(np.uint8)
    return levels[(np.clip(linear, 0.0, 1.0) * 4095.0 + 0.5).astype(np.int32)]
