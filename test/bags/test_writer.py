"""The result bag, read by readers that know nothing of this package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse_recon.bags.reader import Bag
from sparse_recon.bags.writer import CLOUD_TOPIC, OBJECT_TOPIC, ResultBag
from sparse_recon.messages import unpack_cloud
from sparse_recon.types import CompletedObject


def written(path: Path, *objects: CompletedObject) -> Path:
    with ResultBag(path) as bag:
        for completed in objects:
            bag.write(completed)
    return path


def test_stock_reader_needs_no_definitions_of_ours(completed_box: CompletedObject, tmp_path: Path):
    reader = pytest.importorskip("mcap.reader")
    decoder = pytest.importorskip("mcap_ros2.decoder")
    file = next(written(tmp_path / "bag", completed_box).glob("*.mcap"))
    with file.open("rb") as stream:
        messages = list(
            reader.make_reader(stream, decoder_factories=[decoder.DecoderFactory()]).iter_decoded_messages()
        )
    objects = [message for _, channel, _, message in messages if channel.topic == OBJECT_TOPIC]
    (completed,) = objects
    assert (completed.object_id, completed.model, completed.seed) == ("object_0", "carve", 7)
    assert completed.header.frame_id == "world" and completed.header.stamp.sec == 1_700_000_000
    assert len(completed.nominal_mesh.triangles) == len(completed_box.nominal.faces)
    assert completed.quality.views_used == 3 and list(completed.quality.stage_names) == ["observe", "mesh"]
    cloud = next(message for _, channel, _, message in messages if channel.topic == CLOUD_TOPIC)
    assert cloud.width == len(completed_box.points_world)


def test_own_reader_gets_the_same_numbers(completed_box: CompletedObject, tmp_path: Path):
    with Bag(written(tmp_path / "bag", completed_box)) as bag:
        assert bag.types[OBJECT_TOPIC] == "sparse_recon/msg/CompletedObject"
        ((_, log_ns, message),) = bag.messages([OBJECT_TOPIC])
    assert log_ns == completed_box.stamp_ns
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
        assert len(list(read.messages([OBJECT_TOPIC]))) == 1


def test_no_object_leaves_the_older_bag(completed_box: CompletedObject, tmp_path: Path):
    written(tmp_path / "bag", completed_box)
    written(tmp_path / "bag")
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


def test_newer_bag_replaces_the_older(completed_box: CompletedObject, tmp_path: Path):
    written(tmp_path / "bag", completed_box)
    written(tmp_path / "bag", completed_box, replace(completed_box, object_id="object_1"))
    with Bag(tmp_path / "bag") as bag:
        assert [m.object_id for _, _, m in bag.messages([OBJECT_TOPIC])] == ["object_0", "object_1"]
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]
