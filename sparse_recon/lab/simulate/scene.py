"""Objects standing on a table: who stands where, with the truth about every surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.geometry.poses import pose
from sparse_recon.lab.simulate.household import KINDS, make_shape
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.types import Float32, Float64, TriangleMesh, check_pose

TABLE_SIZE_M = (1.2, 0.9, 0.03)
_TRIES = 400


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object: `label` > 0 is its value in label images, `T_world_obj` (4, 4) puts its frame into the world."""

    name: str
    label: int
    shape: Shape
    T_world_obj: Float64

    @property
    def vertices_world(self) -> Float64:
        """(V, 3) float64, metres."""
        return self.shape.vertices_obj @ self.T_world_obj[:3, :3].T + self.T_world_obj[:3, 3]

    @property
    def mesh_world(self) -> TriangleMesh:
        """The true surface."""
        return TriangleMesh(self.vertices_world.astype(np.float32), self.shape.faces, watertight=True)


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects on a table whose top is the plane z = `table_z_m` of the world frame, z up; label 0 is the table."""

    objects: tuple[SceneObject, ...]
    table: Shape
    table_z_m: float = 0.0

    @property
    def centre_world(self) -> Float64:
        """(3,) middle of the box around all objects, metres."""
        corners = [o.vertices_world for o in self.objects]
        return (np.min([c.min(0) for c in corners], axis=0) + np.max([c.max(0) for c in corners], axis=0)) / 2


def scene_of(
    shapes: Sequence[Shape], poses: Sequence[Float64] | None = None, *, table_z_m: float = 0.0, seed: int = 0
) -> Scene:
    """Put shapes on a table.

    Parameters
    ----------
    shapes : with labels 1, 2, ... in this order.
    poses : one `T_world_obj` (4, 4) per shape; None places them seeded, upright, apart from each other.
    table_z_m : height of the table's top.
    seed : of the placement.

    Raises
    ------
    InputError
        If there is no shape, counts differ, a pose is not rigid, or the shapes do not fit on the table.
    """
    if not shapes:
        raise InputError(ErrorCode.USAGE, "a scene needs at least one shape, got none")
    if poses is None:
        poses = placed(shapes, np.random.default_rng(seed), table_z_m)
    if len(poses) != len(shapes):
        raise InputError(ErrorCode.USAGE, f"got {len(shapes)} shapes and {len(poses)} poses; give one pose per shape")
    names: dict[str, int] = {}
    objects = []
    for label, (shape, T_world_obj) in enumerate(zip(shapes, poses, strict=True), start=1):
        check_pose(T_world_obj, f"{shape.name}: T_world_obj")
        names[shape.name] = names.get(shape.name, 0) + 1
        name = shape.name if names[shape.name] == 1 else f"{shape.name}_{names[shape.name]}"
        objects.append(SceneObject(name, label, shape, np.asarray(T_world_obj, dtype=np.float64)))
    return Scene(tuple(objects), _table(table_z_m), table_z_m)


def tabletop_scene(seed: int, count: int = 3) -> Scene:
    """Return `count` household shapes, different as far as there are kinds, placed apart on a table.

    Raises
    ------
    InputError
        If `seed` is negative, `count` < 1, or the table is too small for so many.
    """
    if seed < 0:
        raise InputError(ErrorCode.USAGE, f"a seed must be 0 or more, got {seed}")
    rng = np.random.default_rng(seed)
    order = [KINDS[i] for i in rng.permutation(len(KINDS))]
    shapes = [make_shape(order[i % len(order)], rng) for i in range(count)]
    return scene_of(shapes, placed(shapes, rng))


def placed(
    shapes: Sequence[Shape], rng: np.random.Generator, table_z_m: float = 0.0, gap_m: float = 0.03
) -> list[Float64]:
    """Return upright poses whose footprint circles stay `gap_m` apart, close to the table's middle.

    Raises
    ------
    InputError
        If a place on the table is found for fewer shapes than given.
    """
    centres: list[Float64] = []
    poses = []
    reach = np.array(TABLE_SIZE_M[:2]) / 2
    for i, shape in enumerate(shapes):
        candidates = rng.uniform(-1.0, 1.0, (_TRIES, 2)) * np.maximum(reach - shape.footprint_radius_m, 0.0)
        for other, centre in zip(shapes, centres, strict=False):
            away = np.linalg.norm(candidates - centre, axis=1)
            candidates = candidates[away >= shape.footprint_radius_m + other.footprint_radius_m + gap_m]
        if len(candidates) == 0 or shape.footprint_radius_m > reach.min():
            raise InputError(
                ErrorCode.USAGE,
                f"no free place on the {TABLE_SIZE_M[0]:g} x {TABLE_SIZE_M[1]:g} m table for {shape.name} "
                f"(shape {i + 1} of {len(shapes)}); use fewer or smaller shapes, or give poses",
            )
        centre = candidates[np.argmin(np.linalg.norm(candidates, axis=1))]
        centres.append(centre)
        angle = rng.uniform(-np.pi, np.pi)
        c, s = np.cos(angle), np.sin(angle)
        poses.append(pose(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), (*centre, table_z_m)))
    middle = np.append(np.mean(centres, axis=0), 0.0)
    for T_world_obj in poses:
        T_world_obj[:3, 3] -= middle
    return poses


def surface_samples(mesh: TriangleMesh, count: int, seed: int = 0) -> Float32:
    """Return (count, 3) float32 points drawn uniformly from a surface, metres, in the mesh's frame."""
    return samples_with_faces(mesh, count, seed)[0]


def samples_with_faces(mesh: TriangleMesh, count: int, seed: int = 0) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Return what `surface_samples` returns, and the face (count,) of each point."""
    rng = np.random.default_rng(seed)
    a, b, c = (mesh.vertices_world[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(area), size=count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return (a[face] + u * (b - a)[face] + v * (c - a)[face]).astype(np.float32), face


def _table(top_z_m: float) -> Shape:
    """Closed slab with a plank pattern; its top is a grid so that colours can live on the vertices."""
    width, depth, thick = TABLE_SIZE_M
    x, y = np.linspace(-width / 2, width / 2, 121), np.linspace(-depth / 2, depth / 2, 91)
    index = np.arange(len(x) * len(y)).reshape(len(x), len(y))
    a, b, c, d = (i.ravel() for i in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    top = np.stack([a, b, c, a, c, d], axis=1).reshape(-1, 3)
    rim = np.concatenate([index[:-1, 0], index[-1, :-1], index[:0:-1, -1], index[0, :0:-1]])
    n, ahead = len(index.ravel()), np.roll(rim, -1)
    side = np.stack([rim, rim + n, ahead + n, rim, ahead + n, ahead], axis=1).reshape(-1, 3)
    grid = np.stack([*np.meshgrid(x, y, indexing="ij"), np.full((len(x), len(y)), top_z_m)], axis=-1).reshape(-1, 3)
    vertices = np.concatenate([grid, grid - (0.0, 0.0, thick)])
    grain = np.sin(vertices[:, 0] * 31 + 2.0 * np.sin(vertices[:, 1] * 9)) * np.sin(vertices[:, 0] * 7 + 1)
    plank = np.array([0.0, 0.5, -0.4, 0.2, -0.7, 0.6])[((vertices[:, 1] + depth / 2) / 0.15).astype(int) % 6]
    shade = 1.0 + 0.035 * grain + 0.035 * plank
    colors = (np.array([0.71, 0.62, 0.52]) * shade[:, None] * 255.0 + 0.5).astype(np.uint8)
    faces = np.concatenate([top, top[:, ::-1] + n, side]).astype(np.int32)
    return Shape("table", vertices, faces, colors)
