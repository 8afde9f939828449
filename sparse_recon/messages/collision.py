"""Completed objects as the fields of `moveit_msgs/CollisionObject`, for planning around them and grasping them."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import numpy as np

from sparse_recon.geometry.enclosing import enclosing
from sparse_recon.geometry.poses import inverse, transform_points
from sparse_recon.messages.fields import Fields, header_fields, mesh_fields, pose_fields
from sparse_recon.types import CompletedObject, Float32, TriangleMesh

_ADD, _REMOVE = 0, 1  # moveit_msgs/CollisionObject operations; ADD replaces an object of that id


# A part of an object has so many triangles at least, however small the budget: a box has as many.
MIN_FACES = 12


def collision_object_fields(obj: CompletedObject, max_faces: int = 0) -> Fields:
    """Return the message that adds an object to a planning scene, or replaces its older shape there.

    The object's pose is that of its box, so that it can be grasped or attached by it; its meshes are in the frame of
    that pose: the convex parts where there are any, which checkers treat faster, else the conservative mesh.

    Parameters
    ----------
    max_faces : of all its meshes; they are replaced by coarser ones that hold them. 0: they stay as they are.
    """
    T_box_world = inverse(obj.box.T_world_box)
    meshes = [mesh_fields(_moved(T_box_world, part)) for part in _parts(obj, max_faces)]
    return _collision_object(
        obj.frame_id,
        obj.stamp_ns,
        obj.object_id,
        pose=pose_fields(obj.box.T_world_box),
        meshes=meshes,
        mesh_poses=[pose_fields(np.eye(4)) for _ in meshes],
        operation=_ADD,
    )


def removal_fields(object_ids: Iterable[str], frame_id: str, stamp_ns: int) -> list[Fields]:
    """Return the messages that take objects out of a planning scene, in the order of their ids."""
    return [_collision_object(frame_id, stamp_ns, name, operation=_REMOVE) for name in sorted(object_ids)]


def _parts(obj: CompletedObject, max_faces: int) -> list[TriangleMesh]:
    parts = [part for part in obj.collision_parts or (obj.conservative,) if len(part.faces)]
    faces = sum(len(part.faces) for part in parts)
    if not 0 < max_faces < faces:
        return parts
    known = _coarser.setdefault(obj, {})
    if max_faces not in known:
        shares = [max(MIN_FACES, max_faces * len(part.faces) // faces) for part in parts]
        known[max_faces] = [enclosing(part, share) for part, share in zip(parts, shares, strict=True)]
    return known[max_faces]


# An object is sent again for who comes late, and a coarser mesh takes up to a second or two.
_coarser: WeakKeyDictionary[CompletedObject, dict[int, list[TriangleMesh]]] = WeakKeyDictionary()


def _moved(T_box_world: np.ndarray, mesh: TriangleMesh) -> TriangleMesh:
    vertices: Float32 = transform_points(T_box_world, mesh.vertices_world.astype(np.float64)).astype(np.float32)
    return TriangleMesh(vertices, mesh.faces, mesh.watertight)


def _collision_object(frame_id: str, stamp_ns: int, object_id: str, **given: object) -> Fields:
    return {
        "header": header_fields(frame_id, stamp_ns),
        "pose": pose_fields(np.eye(4)),
        "id": object_id,
        "type": {"key": "", "db": ""},
        "primitives": [],
        "primitive_poses": [],
        "meshes": [],
        "mesh_poses": [],
        "planes": [],
        "plane_poses": [],
        "subframe_names": [],
        "subframe_poses": [],
        "operation": _ADD,
        **given,
    }
