"""Pictures of a body from many cameras in one cast of rays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.complete.latent.cameras import FOCAL_PX, IMAGE_SIDE, SphericalCamera, square_lens
from sparse_recon.errors import DependencyError
from sparse_recon.geometry.cameras import pixel_rays
from sparse_recon.lab.training.views.bodies import Body
from sparse_recon.types import Float32, Float64, UInt8

# Rays across a pixel, so that outlines are soft as a camera's.
_ACROSS = 2
# Even light with a little from above and from one side, the same for all views of an object.
_EVEN, _ABOVE, _SIDE = 0.62, 0.16, 0.22


@dataclass(frozen=True, eq=False)
class Pictures:
    """What cameras see of one object.

    Attributes
    ----------
    rgb : (V, P, P, 3) uint8, on white.
    mask : (V, P, P) uint8, share of the object in 255ths.
    depth : (V, P, P) float16, along the optical axis, longest sides of the object; infinite beside it.
    cameras : (V, 4) float32, polar angle and azimuth in radians, distance in longest sides, focal length in sides of
        the picture.
    """

    rgb: UInt8
    mask: UInt8
    depth: npt.NDArray[np.float16]
    cameras: Float32


def pictures(
    body: Body,
    cameras: Sequence[SphericalCamera],
    side: int,
    rng: np.random.Generator | None = None,
    focal: Float32 | None = None,
) -> Pictures:
    """Take pictures of `side` pixels.

    Parameters
    ----------
    rng : draws where the light comes from; None: everything has its own colour.
    focal : (V,) in sides of the picture; None: that of the published models.

    Raises
    ------
    DependencyError
        If Open3D cannot be imported.
    """
    try:
        import open3d as o3d
    except ImportError as error:
        raise DependencyError("open3d", "taking pictures of objects", "pip install open3d") from error
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(body.vertices.astype(np.float32)),
        o3d.core.Tensor.from_numpy(body.faces.astype(np.uint32)),
    )
    focal = np.full(len(cameras), FOCAL_PX / IMAGE_SIDE, np.float32) if focal is None else focal
    rays = _rays(cameras, side, focal)
    hits = scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)
    t = hits["t_hit"].numpy()
    hit = np.isfinite(t)
    colors = _shaded(body, rays[hit], t[hit], {k: hits[k].numpy()[hit] for k in _USED}, rng)

    fine = np.ones((*t.shape, 3), np.float32)
    fine[hit] = colors
    count, block = len(cameras), (side, _ACROSS, side, _ACROSS)
    rgb = fine.reshape(count, *block, 3).mean(axis=(2, 4))
    mask = hit.reshape(count, *block).mean(axis=(2, 4))
    # The nearest surface of a pixel: means across an outline lie on nothing.
    depth = t.reshape(count, *block).min(axis=(2, 4))
    return Pictures(
        (rgb * 255 + 0.5).astype(np.uint8),
        (mask * 255 + 0.5).astype(np.uint8),
        depth.astype(np.float16),
        np.array([(c.polar_rad, c.azimuth_rad, c.radius, f) for c, f in zip(cameras, focal, strict=True)], np.float32),
    )


_USED = ("primitive_ids", "primitive_uvs", "primitive_normals")


def _rays(cameras: Sequence[SphericalCamera], side: int, focal: Float32) -> Float32:
    """Return (V, P * across, P * across, 6): origins and directions with depth 1 along the optical axis."""
    fine = side * _ACROSS
    rays = np.empty((len(cameras), fine, fine, 6), np.float32)
    for k, (camera, sides) in enumerate(zip(cameras, focal, strict=True)):
        local = pixel_rays(square_lens(fine, float(sides) * fine))
        T = camera.T_obj_cam()
        rays[k, ..., :3] = T[:3, 3]
        rays[k, ..., 3:] = local @ T[:3, :3].T.astype(np.float32)
    return rays


def _side_light(rng: np.random.Generator) -> Float64:
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
    across = np.sqrt(1 - height**2)
    return np.array([across * np.cos(azimuth), across * np.sin(azimuth), height])


def _shaded(
    body: Body, rays: Float32, t: Float32, hits: dict[str, np.ndarray], rng: np.random.Generator | None
) -> Float32:
    """Return the colours (N, 3) of surface points; faces are seen from both sides."""
    points = (rays[:, :3] + t[:, None] * rays[:, 3:]).astype(np.float64)
    albedo = body.colors(hits["primitive_ids"].astype(np.int32), hits["primitive_uvs"], points)
    if rng is None:
        return np.clip(albedo, 0, 1).astype(np.float32)
    normals = hits["primitive_normals"].astype(np.float64)
    normals *= -np.sign(np.einsum("nc,nc->n", normals, rays[:, 3:]))[:, None]
    light = _side_light(rng)
    shade = _EVEN + _ABOVE * (0.5 + 0.5 * normals[:, 2]) + _SIDE * np.clip(normals @ light, 0, 1)
    return np.clip(albedo * shade[:, None], 0, 1).astype(np.float32)
