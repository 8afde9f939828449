"""The dicts have exactly the fields of the definitions, and clouds survive packing bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from completed import make_object

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.messages import fields as messages
from sparse_recon.requests import ObjectCandidate, Progress
from sparse_recon.types import CompletedObject


def definition_fields(name: str, section: int = 0) -> list[str]:
    """Field names of a definition file, in order; constants and comments are left out."""
    text = messages.definition_files()[name].read_text().split("\n---\n")[section]
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return [words[1] for words in lines if len(words) >= 2 and "=" not in words[1]]


@pytest.fixture
def obj() -> CompletedObject:
    return make_object()


def test_completed_object_has_the_fields_of_its_definition(obj):
    assert list(messages.completed_object_fields(obj)) == definition_fields("sparse_recon/msg/CompletedObject")


def test_quality_has_the_fields_of_its_definition(obj):
    assert list(messages.quality_fields(obj.quality)) == definition_fields("sparse_recon/msg/CompletionQuality")


def test_hypotheses_have_the_fields_of_their_definition_and_go_without_geometry(obj):
    first, second = messages.completed_object_fields(obj)["hypotheses"]
    assert list(first) == definition_fields("sparse_recon/msg/SurfaceHypothesis")
    assert [first["weight"], second["weight"]] == [0.75, 0.25]
    np.testing.assert_array_equal(first["mesh"]["triangles"]["vertex_indices"], obj.hypotheses[0].mesh.faces)
    assert messages.completed_object_fields(obj, with_geometry=False)["hypotheses"] == []


def test_array_has_the_fields_of_its_definition(obj):
    fields = messages.completed_object_array_fields([obj, obj], "world", 5)
    assert list(fields) == definition_fields("sparse_recon/msg/CompletedObjectArray")
    assert len(fields["objects"]) == 2


def test_candidate_has_the_fields_of_its_definition(obj):
    fields = messages.candidate_fields(ObjectCandidate("object_1", None, obj.box, 200))
    assert list(fields) == definition_fields("sparse_recon/msg/ObjectCandidate")
    assert fields["label"] == messages.NO_LABEL


def test_feedback_has_the_fields_of_its_definition():
    fields = messages.feedback_fields(Progress("fuse", 1, 4, 0.5))
    assert list(fields) == definition_fields("sparse_recon/action/CompleteObject", section=2)


def test_stamp_is_split_without_loss(obj):
    stamp = messages.completed_object_fields(obj)["header"]["stamp"]
    assert stamp["sec"] * 10**9 + stamp["nanosec"] == obj.stamp_ns


def test_pose_is_a_unit_quaternion_of_a_quarter_turn(obj):
    orientation = messages.pose_fields(obj.box.T_world_box)["orientation"]
    assert orientation == pytest.approx({"x": 0, "y": 0, "z": 0.5**0.5, "w": 0.5**0.5})


def test_cloud_round_trip_keeps_every_bit(obj):
    columns = messages.unpack_cloud(messages.completed_object_fields(obj)["cloud"])
    assert np.array_equal(np.stack([columns[c] for c in "xyz"], 1), obj.points_world)
    assert np.array_equal(np.stack([columns[f"normal_{c}"] for c in "xyz"], 1), obj.normals_world)
    assert np.array_equal(messages.unpack_rgb(columns["rgb"]), obj.colors)
    assert np.array_equal(columns["confidence"], obj.confidence)
    assert np.array_equal(columns["provenance"], obj.provenance)


def test_rgb_bits_are_those_rviz_reads():
    packed = messages.pack_rgb(np.array([[0x12, 0x34, 0x56]], np.uint8))
    assert packed.view(np.uint32)[0] == 0x00123456


def test_cloud_layout_is_stable(obj):
    cloud = messages.completed_object_fields(obj)["cloud"]
    assert cloud["point_step"] == 36
    assert {f["name"]: f["offset"] for f in cloud["fields"]} == {
        "x": 0, "y": 4, "z": 8, "rgb": 12, "normal_x": 16, "normal_y": 20, "normal_z": 24, "confidence": 28,
        "provenance": 32,
    }  # fmt: skip


def test_unpack_reads_big_endian_rows_with_padding():
    row = np.array([[(1.0, 2.0), (3.0, 4.0)]], dtype=[("x", ">f4"), ("y", ">f4")])
    data = row.tobytes() + b"\xff" * 4
    fields = [{"name": n, "offset": o, "datatype": 7, "count": 1} for n, o in (("x", 0), ("y", 4))]
    columns = messages.unpack_cloud(
        {"width": 2, "height": 1, "point_step": 8, "row_step": 20, "is_bigendian": True, "fields": fields, "data": data}
    )
    assert columns["x"].tolist() == [1.0, 3.0]
    assert columns["y"].tolist() == [2.0, 4.0]


def test_unpack_refuses_short_data(obj):
    cloud = messages.completed_object_fields(obj)["cloud"]
    with pytest.raises(InputError, match="bytes") as error:
        messages.unpack_cloud({**cloud, "data": cloud["data"][:-1]})
    assert error.value.code == ErrorCode.SIZE_MISMATCH


def test_unpack_refuses_other_types(obj):
    cloud = messages.completed_object_fields(obj)["cloud"]
    cloud["fields"][0]["datatype"] = 8
    with pytest.raises(InputError, match="float32") as error:
        messages.unpack_cloud(cloud)
    assert error.value.code == ErrorCode.ENCODING_UNSUPPORTED


def test_pack_refuses_columns_of_other_length(obj):
    with pytest.raises(InputError, match="confidence"):
        messages.pack_points(messages.COMPLETED_POINT, {"xyz": obj.points_world, "confidence": obj.confidence[1:]})


def test_array_refuses_objects_of_another_frame():
    with pytest.raises(InputError, match="camera"):
        messages.completed_object_array_fields([make_object(frame_id="camera")], "world", 0)


def test_definitions_use_only_common_packages():
    allowed = ("std_msgs/", "sensor_msgs/", "geometry_msgs/", "shape_msgs/", "builtin_interfaces/")
    for path in messages.definition_files().values():
        for line in path.read_text().splitlines():
            word = (line.split("#")[0].split() or [""])[0]
            assert "/" not in word or word.startswith(allowed), f"{path.name}: {word}"


def test_clouds_of_all_objects_are_one_after_the_other(obj):
    second = make_object(3)
    completed = messages.unpack_cloud(messages.completed_cloud_fields([obj, second], "world", 1))
    np.testing.assert_array_equal(completed["confidence"], [*obj.confidence, *second.confidence])
    observed = messages.unpack_cloud(messages.observed_cloud_fields([obj, second], "world", 1))
    np.testing.assert_array_equal(
        observed["z"], [*obj.observed_points_world[:, 2], *second.observed_points_world[:, 2]]
    )
    assert messages.completed_cloud_fields([], "world", 1)["width"] == 0


def test_vertices_take_the_colour_of_the_nearest_point(obj):
    distance = np.linalg.norm(obj.nominal.vertices_world[:, None] - obj.points_world[None], axis=2)
    np.testing.assert_array_equal(messages.vertex_colors(obj), obj.colors[distance.argmin(axis=1)])
