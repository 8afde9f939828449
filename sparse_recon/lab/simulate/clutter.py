"""Clutter: many things dropped on a table, in a tray or a shelf, touching, leaning and lying on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparse_recon.errors import DependencyError
from sparse_recon.geometry.poses import look_at, pose
from sparse_recon.lab.simulate.paint import Paint, ground_paint, object_paint
from sparse_recon.lab.simulate.render import Renderer
from sparse_recon.lab.simulate.scene import Scene, SceneObject
from sparse_recon.lab.simulate.shapes import Shape
from sparse_recon.types import CameraIntrinsics, Float64

TIMESTEP_S, SETTLE_S, PUSH_S = 0.005, 1.2, 0.5
PUSH_M_S2 = 6.0  # towards the middle, against friction: what stood apart touches
FRICTION, DENSITY_KG_M3 = 0.45, 400.0
HULL_DIRECTIONS = 96
_UPRIGHT_SHARE, _PUSHED_SHARE = 0.65, 0.5
_WALL_M = 0.015
BOX_FACES = 12


@dataclass(frozen=True, eq=False)
class Clutter:
    """A scene whose surfaces are painted; `table` of the scene holds all that is no object: table, walls, boards."""

    scene: Scene
    paints: tuple[Paint, ...]  # of the objects, in their order
    grounds: tuple[Paint, ...]  # of each box of the surroundings


class PaintedRenderer(Renderer):
    """Renders a clutter in its paint instead of the colours of its vertices."""

    def __init__(self, clutter: Clutter) -> None:
        super().__init__(clutter.scene)
        self._clutter = clutter
        self._placed = [*(o.T_world_obj for o in clutter.scene.objects), *(np.eye(4) for _ in clutter.grounds)]
        parts = [(o.vertices_world, o.shape.faces) for o in clutter.scene.objects]
        parts.append((clutter.scene.table.vertices_obj, clutter.scene.table.faces))
        self._corners = np.concatenate([vertices[faces] for vertices, faces in parts])  # (F, 3, 3) world

    def _albedo(self, hits: Any, geometry: Any, hit: Any) -> Any:
        face = np.where(hit, hits["primitive_ids"].numpy(), 0).astype(np.int64) + self._first_face[geometry]
        uv = hits["primitive_uvs"].numpy()[..., None]
        corners, (u, v) = self._corners[face], (uv[..., 0, :], uv[..., 1, :])
        points = corners[..., 0, :] * (1 - u - v) + corners[..., 1, :] * u + corners[..., 2, :] * v
        albedo = np.zeros((*geometry.shape, 3), np.float32)
        painted = [(geometry == n, paint) for n, paint in enumerate(self._clutter.paints)]
        box = np.where(geometry == len(painted), hits["primitive_ids"].numpy().astype(np.int64) // BOX_FACES, -1)
        painted += [(box == n, paint) for n, paint in enumerate(self._clutter.grounds)]
        for (where, paint), T in zip(painted, self._placed, strict=True):
            own = hit & where
            if own.any():
                srgb = np.clip(paint((points[own] - T[:3, 3]) @ T[:3, :3]), 0.0, 1.0)
                albedo[own] = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        return albedo


def draw_clutter(shapes: Sequence[Shape], rng: np.random.Generator) -> Clutter:
    """Drop shapes on a table or into a container and let them settle; what falls off is left out.

    Raises
    ------
    DependencyError
        If MuJoCo or Open3D cannot be imported.
    """
    reach_m = _reach(shapes, rng)
    kind = str(rng.choice(["table", "tray", "shelf", "corner"], p=[0.55, 0.15, 0.15, 0.15]))
    half = np.array([reach_m, reach_m * rng.uniform(0.6, 1.0)])
    surroundings = _surroundings(kind, half, rng)
    poses = _settled(shapes, surroundings, half, kind != "table", rng)
    objects: list[SceneObject] = []
    paints: list[Paint] = []
    for shape, T in zip(shapes, poses, strict=True):
        if T is not None:
            objects.append(SceneObject(shape.name, len(objects) + 1, shape, T))
            paints.append(object_paint(rng, float(shape.size_m.max())))
    walls = ground_paint(rng)
    grounds = [ground_paint(rng), *(walls for _ in surroundings[1:-2]), *(ground_paint(rng) for _ in range(2))]
    return Clutter(Scene(tuple(objects), _ground(surroundings)), tuple(paints), tuple(grounds[: len(surroundings)]))


def clutter_cameras(
    clutter: Clutter, count: int, rng: np.random.Generator, width: int, height: int
) -> list[tuple[CameraIntrinsics, Float64]]:
    """Return cameras like those of robots: 0.4 to 1.4 m off, looking down by 15 to 80 degrees, roughly level."""
    cameras = []
    centre = clutter.scene.centre_world if clutter.scene.objects else np.zeros(3)
    front = np.deg2rad(-90.0)  # shelves open there
    open_all_round = len(clutter.scene.table.vertices_obj) <= 16
    for _ in range(count):
        azimuth = rng.uniform(-np.pi, np.pi) if open_all_round else front + rng.uniform(-0.9, 0.9)
        elevation = np.deg2rad(rng.uniform(15, 80) if open_all_round else rng.uniform(8, 65))
        distance_m = rng.uniform(0.4, 1.25)
        ray = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        target = centre + rng.uniform(-0.12, 0.12, 3) * (1, 1, 0.3)
        T = look_at(target + distance_m * ray, target)
        roll = rng.normal(0, np.deg2rad(4.0))
        c, s = np.cos(roll), np.sin(roll)
        T[:3, :3] = T[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        f = width * rng.uniform(0.7, 1.1)
        K = np.array(
            [[f, 0, (width - 1) / 2 + rng.normal(0, 4)], [0, f, (height - 1) / 2 + rng.normal(0, 4)], [0, 0, 1]]
        )
        cameras.append((CameraIntrinsics(width, height, K), T))
    return cameras


def _reach(shapes: Sequence[Shape], rng: np.random.Generator) -> float:
    """Return the half edge of the square in which shapes are dropped: from sparse to crowded."""
    area = sum(float(np.prod(s.size_m[:2])) for s in shapes)
    largest = max(s.footprint_radius_m for s in shapes)
    return float(np.clip(0.5 * np.sqrt(area / rng.uniform(0.12, 0.8)), 1.1 * largest, 0.55))


Boxes = list[tuple[Float64, Float64]]  # centre and half edges


def _surroundings(kind: str, half: Float64, rng: np.random.Generator) -> Boxes:
    """Return table, walls and boards, as boxes; objects stand on z = 0."""
    wide = np.array([rng.uniform(0.5, 1.2), rng.uniform(0.4, 0.8)]) + half
    boxes = [(np.array([*rng.uniform(-0.1, 0.1, 2), -0.02]), np.array([*wide, 0.02]))]
    x, y = half + 0.04
    if kind == "tray":
        h = rng.uniform(0.02, 0.15)
        boxes += _walls(x, y, h, (1, 1, 1, 1))
    elif kind == "shelf":
        h = rng.uniform(0.25, 0.45)
        boxes += _walls(x, y, h / 2, (1, 1, 0, 1))
        boxes.append((np.array([0, 0, h + _WALL_M]), np.array([x, y, _WALL_M])))
        if rng.random() < 0.5:  # a lip at the front
            lip = rng.uniform(0.01, 0.05)
            boxes.append((np.array([0, -y, lip / 2]), np.array([x, _WALL_M / 2, lip / 2])))
    elif kind == "corner":
        boxes += _walls(x, y, rng.uniform(0.1, 0.4), (int(rng.random() < 0.5), 1, 0, int(rng.random() < 0.5)))
    if kind != "shelf":  # floor and back wall of the room
        boxes.append((np.array([0, 0, -rng.uniform(0.5, 0.9)]), np.array([4.0, 4.0, 0.01])))
    boxes.append((np.array([0, wide[1] + rng.uniform(0.3, 1.5), 0]), np.array([4.0, 0.02, 2.0])))
    return boxes


def _walls(x: float, y: float, half_height: float, sides: tuple[int, int, int, int]) -> Boxes:
    """Return the walls of a container: right, back, front, left where `sides` says so."""
    w, h = _WALL_M / 2, half_height
    all_four = [
        (np.array([x + w, 0, h]), np.array([w, y, h])),
        (np.array([0, y + w, h]), np.array([x, w, h])),
        (np.array([0, -y - w, h]), np.array([x, w, h])),
        (np.array([-x - w, 0, h]), np.array([w, y, h])),
    ]
    return [box for box, wanted in zip(all_four, sides, strict=True) if wanted]


def _ground(boxes: Boxes) -> Shape:
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([[a, b, c] for a, b, c, _ in sides] + [[a, c, d] for a, _, c, d in sides])
    vertices = np.concatenate([centre + corner * half for centre, half in boxes])
    all_faces = np.concatenate([faces + len(corner) * k for k in range(len(boxes))]).astype(np.int32)
    return Shape("surroundings", vertices, all_faces, np.full((len(vertices), 3), 128, np.uint8))


def _settled(
    shapes: Sequence[Shape], surroundings: Boxes, half: Float64, contained: bool, rng: np.random.Generator
) -> list[Float64 | None]:
    try:
        import mujoco
    except ImportError as error:
        raise DependencyError("mujoco", "simulating clutter", "pip install 'sparse_recon[sim]'") from error
    hulls = [_support_points(s.vertices_obj) for s in shapes]
    start = _start_poses(shapes, half, rng)
    meshes = "".join(f'<mesh name="m{i}" vertex="{_text(h.ravel())}"/>' for i, h in enumerate(hulls))
    bodies = "".join(
        f'<body name="b{i}" pos="{_text(T[:3, 3])}" xyaxes="{_text(T[:3, 0])} {_text(T[:3, 1])}"><freejoint/>'
        f'<geom type="mesh" mesh="m{i}" density="{DENSITY_KG_M3}"/></body>'
        for i, T in enumerate(start)
    )
    fixed = "".join(f'<geom type="box" pos="{_text(c)}" size="{_text(h)}"/>' for c, h in surroundings)
    xml = f"""<mujoco><compiler boundmass="1e-3" boundinertia="1e-7"/>
<option timestep="{TIMESTEP_S}" integrator="implicitfast"/>
<default><geom friction="{FRICTION} 0.005 0.001" solref="0.015 1"/></default>
<asset>{meshes}</asset><worldbody>{fixed}{bodies}</worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    pushed = rng.random() < _PUSHED_SHARE
    bodies_of = [model.body(f"b{i}").id for i in range(len(shapes))]
    for step in range(int((SETTLE_S + (PUSH_S if pushed else 0.0)) / TIMESTEP_S)):
        data.xfrc_applied[:] = 0.0
        time_s = step * TIMESTEP_S
        if pushed and SETTLE_S / 2 < time_s < SETTLE_S / 2 + PUSH_S:
            for body in bodies_of:
                offset = data.xpos[body, :2]
                reach = np.linalg.norm(offset)
                if reach > 0.02:
                    data.xfrc_applied[body, :2] = -PUSH_M_S2 * model.body_mass[body] * offset / reach
        mujoco.mj_step(model, data)
    poses: list[Float64 | None] = []
    for i, body in enumerate(bodies_of):
        # The compiler moves a mesh to its centre of mass and principal axes; the body keeps the frame of the file.
        T = pose(data.xmat[body].reshape(3, 3).copy(), data.xpos[body].copy())
        lowest = float((shapes[i].vertices_obj @ T[:3, :3].T + T[:3, 3])[:, 2].min())
        poses.append(T if lowest > -0.01 else None)
    return poses


def _start_poses(shapes: Sequence[Shape], half: Float64, rng: np.random.Generator) -> list[Float64]:
    """Return poses just above the table, or above each other where there is no room."""
    from scipy.spatial.transform import Rotation

    taken: list[tuple[Float64, float, float]] = []  # middle in x and y, radius, top
    poses = []
    for shape in shapes:
        turn = Rotation.from_euler("z", rng.uniform(-np.pi, np.pi))
        if rng.random() > _UPRIGHT_SHARE:
            turn = (
                Rotation.random(random_state=rng) if rng.random() < 0.5 else turn * Rotation.from_euler("x", np.pi / 2)
            )
        R = turn.as_matrix()
        turned = shape.vertices_obj @ R.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        radius = 0.5 * float(np.linalg.norm((high - low)[:2]))
        room = np.maximum(half - radius, 0.0)
        best_z, best = np.inf, np.zeros(2)
        for _ in range(40):
            middle = rng.uniform(-1, 1, 2) * room
            below = [top for at, r, top in taken if np.linalg.norm(at - middle) < r + radius]
            z = max(below, default=0.0)
            if z < best_z:
                best_z, best = z, middle
            if z == 0.0:
                break
        lift = np.array([*(best - 0.5 * (low + high)[:2]), best_z + 0.004 - low[2]])
        taken.append((best, radius, best_z + 0.004 + float(high[2] - low[2])))
        poses.append(pose(R, lift))
    return poses


def _support_points(vertices: Float64) -> Float64:
    """Return the vertices that are farthest in evenly spread directions: enough of the convex hull to stand on."""
    k = np.arange(HULL_DIRECTIONS) + 0.5
    z, angle = 1 - 2 * k / HULL_DIRECTIONS, np.pi * (1 + 5**0.5) * k
    direction = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)
    direction = np.concatenate([direction, np.eye(3), -np.eye(3)])
    return vertices[np.unique(np.argmax(direction @ vertices.T, axis=1))]


def _text(values: Float64) -> str:
    return " ".join(f"{float(v):.6g}" for v in values)


def stretched(shape: Shape, rng: np.random.Generator) -> Shape:
    """Return a shape with other proportions and another size, as another thing of its kind would have."""
    factors = np.exp(rng.uniform(-0.35, 0.35) + rng.normal(0.0, 0.12, 3))
    factors *= np.clip(factors.mean() * shape.size_m.max(), 0.03, 0.4) / (factors.mean() * shape.size_m.max())
    factors[0] *= rng.choice([-1.0, 1.0])  # mirrored
    faces = shape.faces if factors[0] > 0 else shape.faces[:, ::-1].copy()
    return replace(shape, vertices_obj=shape.vertices_obj * factors, faces=faces)


def package(rng: np.random.Generator) -> Shape:
    """Return a box, book, card, can or roll of random proportions."""
    import trimesh

    size = np.exp(rng.uniform(np.log((0.03, 0.03, 0.006)), np.log((0.22, 0.16, 0.24))))
    if rng.random() < 0.65:
        made = trimesh.creation.box(size)
    else:
        made = trimesh.creation.cylinder(radius=float(size[0] / 2), height=float(size[2]), sections=40)
    vertices = np.asarray(made.vertices) + np.array([0.0, 0.0, size[2] / 2])
    return Shape("package", vertices, np.asarray(made.faces, np.int32), np.full((len(vertices), 3), 128, np.uint8))
