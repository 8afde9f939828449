"""MCAP files that are whole and say so, however they are written: nothing of them is damage, nothing is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from bags.test_reader import assert_same, read

from sparse_recon.bags.reader import Bag
from sparse_recon.errors import ErrorCode, FileError

pytest.importorskip("mcap.writer", reason="the stock writer of MCAP is not installed")

ORDERS = {
    "as recorded": lambda position, item: position,
    "by topic": lambda position, item: (item[0].topic, position),
    "backwards": lambda position, item: -position,
}


def stock(source: Path, target: Path, order: str, profile: str = "ros2", encoding: str = "cdr", **how: object) -> Path:
    """Copy a recording with the stock writer, its messages in another order of the file."""
    from mcap.writer import Writer
    from rosbags.rosbag2 import Reader

    with target.open("wb") as file, Reader(source) as reader:
        writer = Writer(file, chunk_size=20_000, **how)
        writer.start(profile, "test")
        channels = {}
        for c in reader.connections:
            schema = writer.register_schema(c.msgtype, "ros2msg", c.msgdef.data.encode())
            channels[c.id] = writer.register_channel(c.topic, encoding, schema)
        messages = sorted(enumerate(reader.messages()), key=lambda item: ORDERS[order](*item))
        for _, (connection, stamp_ns, data) in messages:
            writer.add_message(channels[connection.id], stamp_ns, bytes(data), stamp_ns)
        writer.finish()
    return target


INDEXES = {
    "indexed": {},
    "chunks without index": {"use_chunking": True, "index_types": "none"},
    "no index of messages": {"use_chunking": True, "index_types": "chunk"},
    "no chunks": {"use_chunking": False},
    "no statistics": {"use_statistics": False},
    "no summary": {"use_chunking": True, "index_types": "none", "use_statistics": False, "repeat_channels": False},
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("index", INDEXES)
def test_messages_in_any_order_are_all_read(small_bag: Path, small_frames, tmp_path: Path, order: str, index: str):
    from mcap.writer import IndexType

    how = dict(INDEXES[index])
    if "index_types" in how:
        how["index_types"] = {"none": IndexType.NONE, "chunk": IndexType.CHUNK}[how["index_types"]]
    path = stock(small_bag, tmp_path / "bag.mcap", order, **how)
    frames, error = read(path)
    assert error is None
    assert_same(frames, small_frames)
    with Bag(path) as bag:
        assert sorted(bag.counts.values()) == [2, 12, 12, 12, 12]
        times = [log_ns for _, log_ns, _ in bag.serialised(bag.types)]
    assert times == sorted(times) and len(times) == sum(bag.counts.values())


def test_a_profile_that_is_not_stated_is_no_damage(small_bag: Path, small_frames, tmp_path: Path):
    frames, error = read(stock(small_bag, tmp_path / "bag.mcap", "as recorded", profile=""))
    assert error is None
    assert_same(frames, small_frames)


def test_disorder_is_read_up_to_a_cut(small_bag: Path, tmp_path: Path):
    whole = stock(small_bag, tmp_path / "whole.mcap", "backwards").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    _, error = read(tmp_path / "cut.mcap")
    assert error is not None and error.code is ErrorCode.BAG_UNREADABLE
    with Bag(tmp_path / "cut.mcap") as bag:
        times = [log_ns for _, log_ns, _ in bag.serialised(bag.types)]
    assert len(times) > 20 and times == sorted(times)


@pytest.mark.parametrize(
    ("profile", "encoding", "words"),
    [("ros1", "ros1", ["ROS 1", "rosbags-convert"]), ("", "protobuf", ["protobuf", "cdr"]), ("", "json", ["json"])],
)
def test_messages_that_are_not_of_ros_2_are_named(
    small_bag: Path, tmp_path: Path, profile: str, encoding: str, words: list[str]
):
    path = stock(small_bag, tmp_path / "bag.mcap", "as recorded", profile=profile, encoding=encoding)
    with pytest.raises(FileError) as caught:
        Bag(path)
    assert caught.value.code is ErrorCode.BAG_UNREADABLE
    for word in [*words, "sensor_msgs"]:
        assert word in caught.value.message
