"""A frame near to what is looked at: the axes of the world, and an origin from which float32 is enough.

Maps in UTM have their origin hundreds of kilometres away, where neighbouring float32 numbers are centimetres apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparse_recon.types import CompletedObject, Float64, Frame, OrientedBox, Positions, TriangleMesh

# So far from an origin neighbouring float32 numbers are 0.06 mm apart.
REACH_M = 1000.0


def near_origin(point_world: Float64) -> Float64:
    """Return the origin (3,), whole metres in the world, of the frame near a point (3,)."""
    return np.asarray(np.round(point_world), np.float64)


def is_within_reach(point_world: Float64, origin_world: Float64) -> bool:
    """Return whether a point (3,) is so near to an origin that float32 is enough."""
    return bool(np.abs(point_world - origin_world).max() <= REACH_M)


def moved_frame(frame: Frame, by_m: Float64) -> Frame:
    """Return a frame whose world is moved by (3,) metres; itself where that is nothing."""
    return replace(frame, T_world_cam=_moved(frame.T_world_cam, by_m)) if by_m.any() else frame


def moved_box(box: OrientedBox, by_m: Float64) -> OrientedBox:
    """Return a box moved by (3,) metres; itself where that is nothing."""
    return OrientedBox(_moved(box.T_world_box, by_m), box.size_m) if by_m.any() else box


def moved_mesh(mesh: TriangleMesh, by_m: Float64) -> TriangleMesh:
    """Return a mesh moved by (3,) metres, its vertices in float64; itself where that is nothing."""
    return replace(mesh, vertices_world=_moved_points(mesh.vertices_world, by_m)) if by_m.any() else mesh


def put_into_world(completed: CompletedObject, origin_world: Float64) -> CompletedObject:
    """Return an object of the frame with an origin (3,), metres, in the world; its positions become float64."""
    return replace(_moved_object(completed, origin_world), origin_world=origin_world)


def put_near(completed: CompletedObject, origin_world: Float64) -> CompletedObject:
    """Return an object of the world in the frame with an origin (3,), metres, for what computes in float32."""
    return replace(_moved_object(completed, -origin_world), origin_world=completed.origin_world - origin_world)


def _moved_object(completed: CompletedObject, by_m: Float64) -> CompletedObject:
    if not by_m.any():
        return completed
    return replace(
        completed,
        points_world=_moved_points(completed.points_world, by_m),
        observed_points_world=_moved_points(completed.observed_points_world, by_m),
        nominal=moved_mesh(completed.nominal, by_m),
        conservative=moved_mesh(completed.conservative, by_m),
        collision_parts=tuple(moved_mesh(part, by_m) for part in completed.collision_parts),
        hypotheses=tuple(replace(h, mesh=moved_mesh(h.mesh, by_m)) for h in completed.hypotheses),
        box=moved_box(completed.box, by_m),
    )


def _moved(T_world_x: Float64, by_m: Float64) -> Float64:
    moved = T_world_x.copy()
    moved[:3, 3] += by_m
    return moved


def _moved_points(points_world: Positions, by_m: Float64) -> Float64:
    return points_world.astype(np.float64) + by_m
