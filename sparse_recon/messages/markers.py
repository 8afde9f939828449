"""Completed objects and previews as the fields of `visualization_msgs` markers, for RViz."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

from sparse_recon.geometry.poses import transform_points
from sparse_recon.messages.fields import COLOR, POINT, Fields, header_fields, pose_fields, records, vertex_colors
from sparse_recon.types import CompletedObject, Float64, TriangleMesh

_LINE_LIST, _TEXT, _TRIANGLE_LIST = 5, 9, 11  # visualization_msgs/Marker types
_ADD, _DELETE, _DELETE_ALL = 0, 2, 3
MESH, BOX, NAME = 0, 1, 2  # numbers of an object's markers in its namespace
_LINE_WIDTH_M, _TEXT_HEIGHT_M = 0.0015, 0.025
_BOX_COLOR, _TEXT_COLOR = (0.0, 0.63, 0.47, 1.0), (1.0, 1.0, 1.0, 1.0)
_PREVIEW_COLOR = (0.93, 0.55, 0.2, 0.6)


def marker_array_fields(
    objects: Iterable[CompletedObject],
    frame_id: str,
    stamp_ns: int,
    *,
    whole: bool = True,
    removed_ids: Iterable[str] = (),
) -> Fields:
    """Turn objects into the fields of `visualization_msgs/MarkerArray`.

    Every object has its id as namespace, and in it the markers `MESH` (TRIANGLE_LIST, 3 points and 3 colours a face),
    `BOX` (LINE_LIST, 12 edges) and `NAME` (TEXT_VIEW_FACING above the box). They replace those of an earlier array.

    Parameters
    ----------
    whole : the first marker deletes all earlier ones, so that no objects leave an empty picture.
    removed_ids : objects whose markers are deleted.
    """
    header = header_fields(frame_id, stamp_ns)
    markers = [_marker(header, "", 0, 0, action=_DELETE_ALL)] if whole else []
    for object_id in removed_ids:
        markers += [_marker(header, object_id, number, 0, action=_DELETE) for number in (MESH, BOX, NAME)]
    for completed in objects:
        if len(completed.nominal.faces):
            markers.append(_mesh(header, completed))
        elif not whole:
            markers.append(_marker(header, completed.object_id, MESH, 0, action=_DELETE))
        markers += [_box(header, completed), _name(header, completed)]
    return {"markers": markers}


def preview_fields(mesh: TriangleMesh, frame_id: str, stamp_ns: int) -> Fields:
    """Turn a mesh that is not final into the fields of one translucent `visualization_msgs/Marker` (TRIANGLE_LIST).

    The next one replaces it, and `preview_end_fields` removes it.
    """
    points = records(POINT, mesh.vertices_world[mesh.faces.ravel()])
    look: Fields = {"color": _color(*_PREVIEW_COLOR), "points": points}
    return _marker(header_fields(frame_id, stamp_ns), "preview", 0, _TRIANGLE_LIST, **look)


def preview_end_fields(frame_id: str, stamp_ns: int) -> Fields:
    """Return the fields of the `visualization_msgs/Marker` that removes the preview."""
    return _marker(header_fields(frame_id, stamp_ns), "preview", 0, _TRIANGLE_LIST, action=_DELETE)


def _mesh(header: Fields, completed: CompletedObject) -> Fields:
    corners = completed.nominal.faces.ravel()
    colors = np.ones((len(corners), 4), dtype=np.float32)
    colors[:, :3] = vertex_colors(completed)[corners] / np.float32(255.0)
    return _marker(
        header,
        completed.object_id,
        MESH,
        _TRIANGLE_LIST,
        scale=_vector(1.0, 1.0, 1.0),
        color=_color(1.0, 1.0, 1.0, 1.0),
        points=records(POINT, completed.nominal.vertices_world[corners]),
        colors=records(COLOR, colors),
    )


def _box(header: Fields, completed: CompletedObject) -> Fields:
    box = completed.box
    corners = [(np.array(signs), 0.5 * box.size_m * signs) for signs in product((-1.0, 1.0), repeat=3)]
    edges = [(p, q) for i, (s, p) in enumerate(corners) for t, q in corners[i + 1 :] if np.sum(s != t) == 1]
    points = records(POINT, np.array(edges).reshape(-1, 3))
    look: Fields = {"scale": _vector(_LINE_WIDTH_M, 0.0, 0.0), "color": _color(*_BOX_COLOR), "points": points}
    return _marker(header, completed.object_id, BOX, _LINE_LIST, pose=pose_fields(box.T_world_box), **look)


def _name(header: Fields, completed: CompletedObject) -> Fields:
    T_world_text: Float64 = np.eye(4)
    above = np.array([[0.0, 0.0, 0.5 * float(completed.box.size_m[2]) + _TEXT_HEIGHT_M]])
    T_world_text[:3, 3] = transform_points(completed.box.T_world_box, above)[0]
    look: Fields = {
        "scale": _vector(0.0, 0.0, _TEXT_HEIGHT_M),
        "color": _color(*_TEXT_COLOR),
        "text": completed.object_id,
    }
    return _marker(header, completed.object_id, NAME, _TEXT, pose=pose_fields(T_world_text), **look)


def _marker(header: Fields, namespace: str, number: int, kind: int, *, action: int = _ADD, **given: Any) -> Fields:
    blank_header = header_fields("", 0)
    return {
        "header": header,
        "ns": namespace,
        "id": number,
        "type": kind,
        "action": action,
        "pose": pose_fields(np.eye(4)),
        "scale": _vector(1.0, 1.0, 1.0),
        "color": _color(1.0, 1.0, 1.0, 1.0),
        "lifetime": {"sec": 0, "nanosec": 0},
        "frame_locked": False,
        "points": [],
        "colors": [],
        "texture_resource": "",
        "texture": {"header": blank_header, "format": "", "data": np.zeros(0, np.uint8)},
        "uv_coordinates": [],
        "text": "",
        "mesh_resource": "",
        "mesh_file": {"filename": "", "data": np.zeros(0, np.uint8)},
        "mesh_use_embedded_materials": False,
        **given,
    }


def _vector(x: float, y: float, z: float) -> Fields:
    return {"x": x, "y": y, "z": z}


def _color(r: float, g: float, b: float, a: float) -> Fields:
    return {"r": r, "g": g, "b": b, "a": a}
