"""What is asked of a mesh: how far points lie from its surface, and which lie inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import DependencyError
from sparse_recon.types import Bool, Float32, Float64, TriangleMesh

FIRST_RAYS = 3
RAYS = 11
# Fewer rays than this that disagree with the rest are numerical or went through a small hole of a scan.
CONTESTED_VOTES = 3
# Barycentric coordinate below which a point lies on the rim of its triangle.
RIM = 1e-4
# Below it, rounding of coordinates of a metre turns directions by more than half a degree.
DIRECTION_KNOWN_M = 2e-5


class MeshQuery:
    """A mesh, prepared for distances and rays (Open3D, Embree).

    All queries run in one thread: cases are evaluated by several processes.

    Raises
    ------
    DependencyError
        If Open3D cannot be imported.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        try:
            import open3d as o3d
        except ImportError as error:
            raise DependencyError("open3d", "measuring meshes", "pip install open3d") from error
        self._empty = len(mesh.faces) == 0
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        if not self._empty:
            vertices = np.asarray(mesh.vertices_world, np.float32)
            self._scene.add_triangles(_tensor(vertices), _tensor(mesh.faces.astype(np.uint32)))

    def closest(self, points_world: Float32) -> tuple[Float64, Float64]:
        """Return how far, (N,) metres, (N, 3) points lie from the surface, and its unit normals (N, 3) there.

        On an edge or corner the normal is the direction to the point: that in which the distance grows. Else it would
        be that of whichever face comes first. All is NaN of an empty mesh.
        """
        if self._empty or len(points_world) == 0:
            return np.full(len(points_world), np.nan), np.full((len(points_world), 3), np.nan)
        points = np.asarray(points_world, np.float32)
        answer = self._scene.compute_closest_points(_tensor(points), nthreads=1)
        away = points.astype(np.float64) - answer["points"].numpy()
        distance_m = np.linalg.norm(away, axis=1)
        normals = answer["primitive_normals"].numpy().astype(np.float64)
        uv = answer["primitive_uvs"].numpy()
        on_rim = np.minimum(uv.min(axis=1), 1.0 - uv.sum(axis=1)) < RIM
        use = on_rim & (distance_m > DIRECTION_KNOWN_M)
        normals[use] = away[use] / distance_m[use, None]
        return distance_m, normals

    def inside(self, points_world: Float32) -> tuple[Bool, Bool]:
        """Return which of (N, 3) points lie inside, and which of them holes leave undecided, (N,) bool.

        A ray that leaves a closed solid meets its surface an odd number of times. Three rays vote; where they
        disagree, eleven do, and the majority counts. Parts that overlap count as outside, as cavities do.
        """
        inside = np.zeros(len(points_world), bool)
        contested = np.zeros(len(points_world), bool)
        if self._empty or len(points_world) == 0:
            return inside, contested
        directions = _directions()
        votes = self._odd(points_world, directions[:FIRST_RAYS])
        inside[:] = votes == FIRST_RAYS
        split = np.nonzero((votes > 0) & (votes < FIRST_RAYS))[0]
        if len(split):
            votes = votes[split] + self._odd(points_world[split], directions[FIRST_RAYS:])
            inside[split] = votes > RAYS // 2
            contested[split] = (votes >= CONTESTED_VOTES) & (votes <= RAYS - CONTESTED_VOTES)
        return inside, contested

    def first_hit(self, start_world: Float64, direction_world: Float64) -> Float64:
        """Return how far, (N,) metres, a ray from each of (N, 3) points meets the surface first; inf where it does not.

        `direction_world` is the unit direction of all rays, (3,), or of each, (N, 3).
        """
        if self._empty or len(start_world) == 0:
            return np.full(len(start_world), np.inf)
        rays = np.empty((len(start_world), 6), np.float32)
        rays[:, :3], rays[:, 3:] = start_world, direction_world
        return np.asarray(self._scene.cast_rays(_tensor(rays), nthreads=1)["t_hit"].numpy(), np.float64)

    def _odd(self, points_world: Float32, directions: Float32) -> npt.NDArray[np.int64]:
        """Count, (N,), the rays from each point that meet the surface an odd number of times."""
        rays = np.empty((len(points_world), 6), np.float32)
        rays[:, :3] = points_world
        odd = np.zeros(len(points_world), np.int64)
        for direction in directions:
            rays[:, 3:] = direction
            odd += self._scene.count_intersections(_tensor(rays), nthreads=1).numpy() % 2
        return odd


def area_vectors(mesh: TriangleMesh) -> Float64:
    """Return the normal of each face, (F, 3), as long as its area in square metres."""
    corner = mesh.vertices_world[mesh.faces].astype(np.float64)
    return 0.5 * np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def _directions() -> Float32:
    """(11, 3) unit vectors, evenly spread (a Fibonacci sphere), any first few of them far apart."""
    k = np.arange(RAYS) * 4 % RAYS
    z = 1.0 - (2.0 * k + 1.0) / RAYS
    turn = 0.5 + k * np.pi * (3.0 - np.sqrt(5.0))
    flat = np.sqrt(1.0 - z**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1).astype(np.float32)


def _tensor(array: Any) -> Any:
    import open3d as o3d

    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))
