"""Images of grasps: what the planner was given, and moments of the trial, drawn without a GPU or screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sparse_recon.geometry.poses import inverse, pose, transform_points
from sparse_recon.lab.evaluate.grasp.geometry import GivenGeometry
from sparse_recon.lab.evaluate.grasp.gripper import Box, corners, finger_boxes, hand_boxes, palm_box
from sparse_recon.lab.evaluate.grasp.sampling import Grasp
from sparse_recon.lab.evaluate.grasp.trial import Snapshot, Trial
from sparse_recon.lab.evaluate.grasp.world import FINGERS, OBJECT, Physics, TrueObject, load_mujoco, make_model
from sparse_recon.types import Float64, Int32, TriangleMesh, UInt8
from sparse_recon.viz.raster import OrthographicView, shade_mesh, splat_cloud, views_around
from sparse_recon.viz.sheet import Sheet

_SIZE_PX, _CAPTION_PX, _MARGIN_PX = 300, 34, 12
_TABLE_M, _TABLE_THICK_M = 0.36, 0.01
_HAND, _PAD, _THING, _TOP = (92, 98, 108), (60, 120, 190), (226, 150, 70), (222, 214, 204)
_KNOWN = (70, 140, 120)
# Of corners numbered by the bits of x, y and z; counter-clockwise from outside.
_BOX_FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ],
    np.int32,
)


@dataclass(frozen=True, eq=False)
class _Painted:
    """Triangles of one colour in the world frame."""

    vertices: npt.NDArray[np.floating]
    faces: Int32
    color: tuple[int, int, int]


def outcome_figure(
    title: str,
    true: TrueObject,
    physics: Physics,
    surface: TriangleMesh,
    given: GivenGeometry,
    grasp: Grasp | None,
    trial: Trial,
) -> Sheet:
    """Return a row of images: the known points with the planned grasp, then the trial until it ended.

    Parameters
    ----------
    surface : the true surface, world frame, where the object stood.
    trial : executed with `record`; without a grasp only what was known is drawn.
    """
    moments = _moments(trial.snapshots)
    sheet = Sheet(_MARGIN_PX + (_SIZE_PX + _MARGIN_PX) * (1 + len(moments)), _SIZE_PX + 2 * _CAPTION_PX + _MARGIN_PX)
    sheet.text((_MARGIN_PX, 8), title, 17)
    view = _view(surface, grasp)
    images = [("planned on these points", _planned(given, grasp, true.table_z_m, view))]
    if grasp is not None:
        scene = _Scene(true, physics, surface, grasp)
        images += [(moment.phase, scene.drawn(moment, view)) for moment in moments]
    for i, (caption, image) in enumerate(images):
        left = _MARGIN_PX + i * (_SIZE_PX + _MARGIN_PX)
        sheet.paste(image, left, _CAPTION_PX)
        sheet.text((left + 4, _CAPTION_PX + _SIZE_PX + 8), caption, 15)
    return sheet


def _moments(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Return the last snapshot of each phase, with the first one of the way there."""
    last = {snapshot.phase: snapshot for snapshot in snapshots}
    first = [replace(snapshots[0], phase="before")] if snapshots else []
    kept = [snapshot for phase, snapshot in last.items() if phase not in ("approach", "hold")]
    # A trial that ended at once ends with what the phase before shows.
    return first + [s for i, s in enumerate(kept) if i == 0 or not np.array_equal(s.qpos, kept[i - 1].qpos)]


def _view(surface: TriangleMesh, grasp: Grasp | None) -> OrthographicView:
    """Look along the palm's thin side at object, hand and the height to which it lifts."""
    points = surface.vertices_world.astype(np.float64)
    front = np.array([1.0, 0.3, 0.0])
    if grasp is not None:
        hand = np.concatenate([corners(box) for box in hand_boxes(grasp.opening_m)])
        points = np.concatenate([points, transform_points(grasp.T_world_grasp, hand)])
        across = grasp.T_world_grasp[:3, 0] * (1.0, 1.0, 0.0)
        front = across if np.linalg.norm(across) > 0.3 else front
    points = np.concatenate([points, points + np.array([0.0, 0.0, 0.16])])
    return views_around(points, (35.0,), _SIZE_PX, front_world=front)[0]


def _planned(given: GivenGeometry, grasp: Grasp | None, table_z_m: float, view: OrthographicView) -> UInt8:
    points = [given.obstacles, given.points]
    colors = [np.full((len(p), 3), _KNOWN, np.uint8) for p in points]
    if grasp is not None:
        for box in hand_boxes(grasp.opening_m):
            frame = transform_points(grasp.T_world_grasp, _edges(box)).astype(np.float32)
            points.append(frame)
            colors.append(np.full((len(frame), 3), _HAND, np.uint8))
    return splat_cloud(np.concatenate(points), np.concatenate(colors), view, point_m=0.004)


def _edges(box: Box) -> Float64:
    """Return points along the twelve edges of a box."""
    corner = corners(box)
    pairs = [(i, j) for i in range(8) for j in range(i) if np.sum(corner[i] != corner[j]) == 1]
    share = np.linspace(0.0, 1.0, 60)[:, None]
    return np.concatenate([corner[i] * share + corner[j] * (1 - share) for i, j in pairs])


class _Scene:
    """The world of a trial, drawn at any of its moments."""

    def __init__(self, true: TrueObject, physics: Physics, surface: TriangleMesh, grasp: Grasp) -> None:
        self._mujoco = load_mujoco()
        self._model: Any = make_model(true, physics, grasp.T_world_grasp)
        self._data: Any = self._mujoco.MjData(self._model)
        self._surface = surface
        self._T_object_world = inverse(pose(np.eye(3), true.centre_of_mass_world))
        middle = surface.vertices_world.mean(axis=0)
        low = np.array([middle[0] - _TABLE_M / 2, middle[1] - _TABLE_M / 2, true.table_z_m - _TABLE_THICK_M])
        self._table = Box(low, low + np.array([_TABLE_M, _TABLE_M, _TABLE_THICK_M]))

    def drawn(self, moment: Snapshot, view: OrthographicView) -> UInt8:
        """Return the image of a moment."""
        self._data.qpos[:] = moment.qpos
        self._mujoco.mj_kinematics(self._model, self._data)
        moved = self._pose(OBJECT) @ self._T_object_world
        thing = transform_points(moved, self._surface.vertices_world.astype(np.float64))
        parts = [_Painted(thing, self._surface.faces, _THING), _solid(self._table, np.eye(4), _TOP)]
        parts.append(_solid(palm_box(), self._pose("hand"), _HAND))
        for name, side in zip(FINGERS, (1.0, -1.0), strict=True):
            for box, color in zip(finger_boxes(), (_PAD, _HAND), strict=True):
                flip = np.array([1.0, side, 1.0])
                both = np.stack([box.low * flip, box.high * flip])
                parts.append(_solid(Box(both.min(axis=0), both.max(axis=0)), self._pose(name), color))
        return _shaded(parts, view)

    def _pose(self, name: str) -> Float64:
        body = self._data.body(name)
        return pose(np.asarray(body.xmat).reshape(3, 3), body.xpos)


def _solid(box: Box, T_world_box: Float64, color: tuple[int, int, int]) -> _Painted:
    return _Painted(transform_points(T_world_box, corners(box)), _BOX_FACES, color)


def _shaded(parts: Sequence[_Painted], view: OrthographicView) -> UInt8:
    # Corners of their own for every face, so that edges of boxes stay sharp.
    vertices = np.concatenate([p.vertices[p.faces].reshape(-1, 3) for p in parts]).astype(np.float32)
    faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    colors = np.concatenate([np.full((3 * len(p.faces), 3), p.color, np.uint8) for p in parts])
    return shade_mesh(TriangleMesh(vertices, faces), [view], colors)[0]
