"""The result bag, read by readers that know nothing of this package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse_recon.bags.reader import Bag
from sparse_recon.bags.writer import (
    CLOUD_TOPIC,
    MARKERS_TOPIC,
    OBJECTS_TOPIC,
    OBSERVED_TOPIC,
    OUTPUT_TOPICS,
    ResultBag,
)
from sparse_recon.messages.fields import unpack_cloud
from sparse_recon.messages.markers import BOX, MESH, NAME
from sparse_recon.types import CompletedObject


def written(path: Path, *objects: CompletedObject) -> Path:
    with ResultBag(path) as bag:
        for completed in objects:
            bag.write(completed)
    return path


def names(bag: Bag) -> list[str]:
    ((_, _, array),) = bag.messages([OBJECTS_TOPIC])
    return [completed.object_id for completed in array.objects]


def test_stock_reader_needs_no_definitions_of_ours(completed_box: CompletedObject, tmp_path: Path):
    reader = pytest.importorskip("mcap.reader")
    decoder = pytest.importorskip("mcap_ros2.decoder")
    file = next(written(tmp_path / "bag", completed_box).glob("*.mcap"))
    with file.open("rb") as stream:
        messages = list(
            reader.make_reader(stream, decoder_factories=[decoder.DecoderFactory()]).iter_decoded_messages()
        )
    by_topic = {channel.topic: message for _, channel, _, message in messages}
    assert by_topic.keys() == OUTPUT_TOPICS.keys()
    (completed,) = by_topic[OBJECTS_TOPIC].objects
    assert (completed.object_id, completed.model, completed.seed) == ("object_0", "carve", 7)
    assert completed.header.frame_id == "world" and completed.header.stamp.sec == 1_700_000_000
    assert len(completed.nominal_mesh.triangles) == len(completed_box.nominal.faces)
    assert completed.quality.views_used == 3 and list(completed.quality.stage_names) == ["observe", "mesh"]
    assert by_topic[CLOUD_TOPIC].width == len(completed_box.points_world)
    assert by_topic[OBSERVED_TOPIC].width == len(completed_box.observed_points_world)
    assert by_topic[OBJECTS_TOPIC].whole
    kinds = [(m.ns, m.id, len(m.points), len(m.colors)) for m in by_topic[MARKERS_TOPIC].markers]
    assert kinds == [("", 0, 0, 0), ("object_0", MESH, 36, 36), ("object_0", BOX, 24, 0), ("object_0", NAME, 0, 0)]


def test_own_reader_gets_the_same_numbers(completed_box: CompletedObject, tmp_path: Path):
    with Bag(written(tmp_path / "bag", completed_box)) as bag:
        assert bag.types[OBJECTS_TOPIC] == "sparse_recon/msg/CompletedObjectArray"
        ((_, log_ns, array),) = bag.messages([OBJECTS_TOPIC])
    assert log_ns == completed_box.stamp_ns
    (message,) = array.objects
    np.testing.assert_array_equal(message.vertex_confidence, completed_box.vertex_confidence)
    corners = np.array([t.vertex_indices for t in message.conservative_mesh.triangles])
    np.testing.assert_array_equal(corners, completed_box.conservative.faces)
    names = ("height", "width", "point_step", "row_step", "data", "is_bigendian")
    cloud = {name: getattr(message.cloud, name) for name in names}
    cloud["fields"] = [vars(field) | {"name": field.name} for field in message.cloud.fields]
    columns = unpack_cloud(cloud)
    np.testing.assert_array_equal(columns["confidence"], completed_box.confidence)
    np.testing.assert_array_equal(columns["provenance"], completed_box.provenance)


def test_interrupt_keeps_what_is_finished(completed_box: CompletedObject, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), ResultBag(tmp_path / "bag") as bag:
        bag.write(completed_box)
        raise KeyboardInterrupt
    with Bag(tmp_path / "bag") as read:
        assert names(read) == ["object_0"]


def test_no_object_leaves_the_older_bag(completed_box: CompletedObject, tmp_path: Path):
    written(tmp_path / "bag", completed_box)
    written(tmp_path / "bag")
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


def test_newer_bag_replaces_the_older(completed_box: CompletedObject, tmp_path: Path):
    written(tmp_path / "bag", completed_box)
    written(tmp_path / "bag", completed_box, replace(completed_box, object_id="object_1"))
    with Bag(tmp_path / "bag") as bag:
        assert names(bag) == ["object_0", "object_1"]
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]


def test_topics_are_latched_and_those_of_the_node(completed_box: CompletedObject, tmp_path: Path):
    metadata = (written(tmp_path / "bag", completed_box) / "metadata.yaml").read_text()
    assert metadata.count("durability: transient_local") == len(OUTPUT_TOPICS)
    assert all(topic.startswith("/completion_node/") for topic in OUTPUT_TOPICS)


def test_transforms_are_copied_and_results_come_after_them(
    completed_box: CompletedObject, small_bag: Path, tmp_path: Path
):
    with Bag(small_bag) as source, ResultBag(tmp_path / "bag") as bag:
        for topic, log_ns, data in source.serialised(["/tf", "/tf_static"]):
            bag.copy_transforms(topic, log_ns, data)
        bag.write(completed_box)
    with Bag(tmp_path / "bag") as read, Bag(small_bag) as source:
        assert list(read.serialised(["/tf", "/tf_static"])) == list(source.serialised(["/tf", "/tf_static"]))
        times = [log_ns for _, log_ns, _ in read.serialised(read.types)]
        ((_, result_ns, _),) = read.serialised([OBJECTS_TOPIC])
    assert result_ns == max(times)


def test_transforms_alone_leave_the_older_bag(completed_box: CompletedObject, small_bag: Path, tmp_path: Path):
    written(tmp_path / "bag", completed_box)
    with Bag(small_bag) as source, ResultBag(tmp_path / "bag") as bag:
        for topic, log_ns, data in source.serialised(["/tf"]):
            bag.copy_transforms(topic, log_ns, data)
    with Bag(tmp_path / "bag") as read:
        assert names(read) == ["object_0"] and "/tf" not in read.types
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]
