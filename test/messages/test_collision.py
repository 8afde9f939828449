"""Messages for a planning scene have the fields of MoveIt's definition and the shape where the object stands."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import trimesh
from completed import make_object
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sparse_recon.geometry.near import put_into_world
from sparse_recon.messages.cdr import serialised
from sparse_recon.messages.collision import collision_object_fields, removal_fields
from sparse_recon.messages.fields import pose_fields
from sparse_recon.types import CompletedObject, TriangleMesh

KIND = "moveit_msgs/msg/CollisionObject"
ADD, REMOVE = 0, 1

# The names, types and order of the fields in MoveIt 2; the package itself is not installed here.
COLLISION_OBJECT = """
std_msgs/Header header
geometry_msgs/Pose pose
string id
object_recognition_msgs/ObjectType type
shape_msgs/SolidPrimitive[] primitives
geometry_msgs/Pose[] primitive_poses
shape_msgs/Mesh[] meshes
geometry_msgs/Pose[] mesh_poses
shape_msgs/Plane[] planes
geometry_msgs/Pose[] plane_poses
string[] subframe_names
geometry_msgs/Pose[] subframe_poses
byte ADD=0
byte REMOVE=1
byte APPEND=2
byte MOVE=3
byte operation
"""
OBJECT_TYPE = "string key\nstring db\n"


@lru_cache(maxsize=1)
def moveit_store():
    store = get_typestore(Stores.ROS2_JAZZY)
    types = get_types_from_msg(OBJECT_TYPE, "object_recognition_msgs/msg/ObjectType")
    types.update(get_types_from_msg(COLLISION_OBJECT, KIND))
    store.register(types)
    return store


def received(fields: dict):
    """Return the message that a subscriber reads from the bytes."""
    store = moveit_store()
    return store.deserialize_cdr(serialised(store, KIND, fields), KIND)


@pytest.fixture
def obj() -> CompletedObject:
    return make_object()


def vertices(mesh) -> np.ndarray:
    return np.array([[v.x, v.y, v.z] for v in mesh.vertices])


def test_fields_are_those_of_the_definition_in_its_order(obj):
    names = [line.split()[1] for line in COLLISION_OBJECT.split("\n") if line and "=" not in line]
    assert list(collision_object_fields(obj)) == names
    assert [list(fields) for fields in removal_fields(["a"], "world", 5)] == [names]


def test_mesh_stands_where_the_object_does(obj):
    obj = replace(obj, collision_parts=())
    message = received(collision_object_fields(obj))
    assert (message.id, message.operation, message.header.frame_id) == ("object_0", ADD, "world")
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == obj.stamp_ns
    T = obj.box.T_world_box
    (mesh,) = message.meshes
    np.testing.assert_allclose(vertices(mesh) @ T[:3, :3].T + T[:3, 3], obj.conservative.vertices_world, atol=1e-6)
    np.testing.assert_array_equal([t.vertex_indices for t in mesh.triangles], obj.conservative.faces)


def test_pose_is_that_of_the_box_and_meshes_are_not_moved_from_it(obj):
    fields = collision_object_fields(obj)
    assert fields["pose"] == pose_fields(obj.box.T_world_box)
    assert fields["mesh_poses"] == [pose_fields(np.eye(4))]


def test_convex_parts_stand_for_the_mesh_where_there_are_any(obj):
    part = TriangleMesh(obj.conservative.vertices_world * np.float32(0.5), obj.conservative.faces, True)
    fields = collision_object_fields(replace(obj, collision_parts=(part, part, part)))
    assert len(fields["meshes"]) == len(fields["mesh_poses"]) == 3
    assert np.ptp([v["z"] for v in fields["meshes"][0]["vertices"]]) == pytest.approx(0.5, abs=1e-6)


def test_object_without_a_surface_has_no_empty_mesh(obj):
    empty = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    fields = collision_object_fields(replace(obj, collision_parts=(), conservative=empty))
    assert fields["meshes"] == fields["mesh_poses"] == []


def test_removal_names_the_object_and_carries_no_shape():
    first, second = (received(fields) for fields in removal_fields({"b", "a"}, "world", 1_500_000_000))
    assert [(m.id, m.operation, len(m.meshes)) for m in (first, second)] == [("a", REMOVE, 0), ("b", REMOVE, 0)]
    assert (first.header.frame_id, first.header.stamp.sec) == ("world", 1)


def test_a_collision_object_keeps_its_budget_and_holds_the_conservative_mesh(obj):
    ball = trimesh.creation.icosphere(4, 0.06)
    vertices = (ball.vertices + obj.box.T_world_box[:3, 3]).astype(np.float32)
    fine = replace(obj, conservative=TriangleMesh(vertices, np.asarray(ball.faces, np.int32), True), collision_parts=())
    message = received(collision_object_fields(fine, 200))
    (mesh,) = message.meshes
    corners = np.array([[v.x, v.y, v.z] for v in mesh.vertices])
    assert len(mesh.triangles) <= 200 < len(ball.faces)
    planes = corners[np.array([t.vertex_indices for t in mesh.triangles])].mean(axis=1)
    assert np.linalg.norm(planes, axis=1).min() > 0.06 - 1e-4  # no triangle cuts into the ball
    assert np.linalg.norm(corners, axis=1).max() < 0.07
    assert len(received(collision_object_fields(fine)).meshes[0].triangles) == len(ball.faces)


def test_convex_parts_share_the_budget(obj):
    def ball(at: tuple[float, float, float], detail: int) -> TriangleMesh:
        made = trimesh.creation.icosphere(detail, 0.03)
        return TriangleMesh((made.vertices + at).astype(np.float32), np.asarray(made.faces, np.int32), True)

    parts = (ball((0.0, 0.0, 0.0), 4), ball((0.05, 0.0, 0.0), 3))
    message = received(collision_object_fields(replace(obj, collision_parts=parts), 300))
    faces = [len(mesh.triangles) for mesh in message.meshes]
    assert len(faces) == 2 and sum(faces) <= 300 and faces[0] > faces[1] >= 12


@pytest.mark.parametrize("max_faces", [0, 100, 12])
def test_far_from_the_origin_meshes_have_the_same_shape(obj, max_faces: int):
    ball = trimesh.creation.icosphere(3, 0.06)
    vertices = (ball.vertices + obj.box.T_world_box[:3, 3]).astype(np.float32)
    near = replace(obj, conservative=TriangleMesh(vertices, np.asarray(ball.faces, np.int32), True), collision_parts=())
    far = put_into_world(near, np.array([99_000.0, -60_000.0, 412.0]))
    (there,), (here,) = (received(collision_object_fields(o, max_faces)).meshes for o in (far, near))
    corners = [np.array([[v.x, v.y, v.z] for v in mesh.vertices]) for mesh in (there, here)]
    assert len(there.triangles) == len(here.triangles)
    np.testing.assert_allclose(*corners, rtol=0, atol=1e-6)
