"""Our CDR bytes are those of rosbags, gaps and all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from sparse_recon.bags.writer import type_store
from sparse_recon.messages.cdr import serialised
from sparse_recon.messages.fields import POINT, completed_object_array_fields, header_fields, pose_fields, records
from sparse_recon.messages.markers import marker_array_fields
from sparse_recon.types import CompletedObject, SurfaceHypothesis

STORE = get_typestore(Stores.ROS2_JAZZY)


def same_as_rosbags(store, msgtype: str, fields: dict) -> bool:
    data = serialised(store, msgtype, fields)
    return bytes(store.serialize_cdr(store.deserialize_cdr(data, msgtype), msgtype)) == data


@pytest.mark.parametrize("name", ["", "a", "world", "camera_color_optical_frame"])
def test_gaps_before_numbers_depend_on_the_strings_before_them(name: str):
    fields = {"header": header_fields(name, 1_700_000_000_000_000_001), "child_frame_id": name}
    fields["transform"] = {
        "translation": {"x": 1.5, "y": -2.0, "z": 1e-9},
        "rotation": {"x": 0.0, "y": 0.0, "z": 0.6, "w": 0.8},
    }
    assert same_as_rosbags(STORE, "geometry_msgs/msg/TransformStamped", fields)
    assert same_as_rosbags(STORE, "tf2_msgs/msg/TFMessage", {"transforms": [fields, fields]})
    message = STORE.deserialize_cdr(
        serialised(STORE, "tf2_msgs/msg/TFMessage", {"transforms": [fields]}), "tf2_msgs/msg/TFMessage"
    )
    assert message.transforms[0].transform.rotation.w == 0.8 and message.transforms[0].child_frame_id == name


@pytest.mark.parametrize("count", [0, 1, 3])
def test_records_are_the_same_as_dicts(count: int):
    points = np.arange(3.0 * count).reshape(count, 3)
    dicts = [dict(zip("xyz", row, strict=True)) for row in points.tolist()]
    kind = "visualization_msgs/msg/Marker"
    marker = marker_array_fields([], "world", 5)["markers"][0]
    first, second = (serialised(STORE, kind, {**marker, "points": p}) for p in (dicts, records(POINT, points)))
    assert first == second
    assert [p.y for p in STORE.deserialize_cdr(first, kind).points] == points[:, 1].tolist()


def test_whole_objects_are_the_same(completed_box: CompletedObject):
    store = type_store()
    drawn = (SurfaceHypothesis(completed_box.conservative, 0.75), SurfaceHypothesis(completed_box.nominal, 0.25))
    objects = [completed_box, replace(completed_box, object_id="mug", collision_parts=(), hypotheses=drawn)]
    fields = completed_object_array_fields(objects, "world", 5)
    assert same_as_rosbags(store, "sparse_recon/msg/CompletedObjectArray", fields)
    assert same_as_rosbags(store, "visualization_msgs/msg/MarkerArray", marker_array_fields(objects, "world", 5))


def test_records_of_another_type_are_a_mistake_of_ours():
    marker = marker_array_fields([], "world", 5)["markers"][0]
    single = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    with pytest.raises(TypeError, match="points must be records"):
        serialised(STORE, "visualization_msgs/msg/Marker", {**marker, "points": single})


def test_array_of_fixed_length_has_that_length():
    with pytest.raises(TypeError, match="covariance must have 36 elements, got 35"):
        fields = {"pose": pose_fields(np.eye(4)), "covariance": np.zeros(35)}
        serialised(STORE, "geometry_msgs/msg/PoseWithCovariance", fields)


def test_missing_field_is_a_mistake_of_ours():
    with pytest.raises(KeyError, match="nanosec"):
        serialised(STORE, "builtin_interfaces/msg/Time", {"sec": 1})
