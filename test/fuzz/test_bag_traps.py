"""Small recordings that would fill memory or disk, or never end, are read as far as they are harmless."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.bag_bytes import MEGABYTE, frames_of, good_frames, rewritten, stock_mcap
from fuzz.ingest_world import memory_growth
from processor_time import processor_time_below

from sparse_recon.bags import decompression as packed
from sparse_recon.bags import indexed_mcap, mcap_records, reader, storage
from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag
from sparse_recon.errors import ErrorCode, FileError

LIMIT_BYTES = 2 * MEGABYTE
BOMB = bytes(100 * MEGABYTE)
ANSWER_S = 10.0


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch):
    """Set limits that are soon reached."""
    for module in (packed, indexed_mcap, mcap_records, storage, reader):
        for name in ("MAX_CHUNK_BYTES", "MAX_MESSAGE_BYTES", "FREE_BYTES"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, LIMIT_BYTES)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_frames(good_frames(), path, world_frame="world")
    return path


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("indexed", [True, False])
def test_chunk_that_grows_is_refused(good, tmp_path, small_limits, compression: str, indexed: bool):
    path = stock_mcap(good, tmp_path / "bomb.mcap", compression, bomb=BOMB)
    assert path.stat().st_size < MEGABYTE
    if not indexed:
        path.write_bytes(path.read_bytes()[:-200])
    with memory_growth() as growth:
        frames, problem = frames_of(path)
    assert growth[0] < 20 * MEGABYTE
    assert problem is not None and f"beyond {LIMIT_BYTES} bytes" in problem.message
    assert len(frames) <= 3


def test_chunk_that_states_less_than_it_holds_is_refused(good, tmp_path, small_limits):
    path = stock_mcap(good, tmp_path / "bomb.mcap", "zstd", bomb=BOMB)
    whole = path.read_bytes()
    chunk = next(at for at in range(len(whole)) if whole[at] == 0x06 and whole[at + 37 : at + 45] == b"\4\0\0\0zstd")
    stated = whole[chunk + 25 : chunk + 33]
    assert struct.unpack("<Q", stated)[0] > len(BOMB)
    path.write_bytes(whole.replace(stated, struct.pack("<Q", 1000)))  # in the index too
    with memory_growth() as growth:
        _, problem = frames_of(path)
    assert growth[0] < 20 * MEGABYTE
    assert problem is not None and "beyond 1000 bytes" in problem.message


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("mode", ["FILE", "MESSAGE"])
def test_compressed_recording_that_grows_is_refused(good, tmp_path, small_limits, mode: str, metadata: bool):
    path = rewritten(good, tmp_path / "bag", mode, bomb=BOMB)
    if not metadata:
        (path / "metadata.yaml").unlink()
    with memory_growth() as growth:
        frames, problem = frames_of(path)
    assert growth[0] < 40 * MEGABYTE
    assert len(frames) == 3
    assert (problem is None) == (mode == "MESSAGE")


def test_definition_of_a_known_type_is_not_taken_from_the_recording(good, tmp_path):
    def trap(text: str) -> str:
        return text.replace("uint32 height", "string[30000000] trap\nuint32 height")

    with processor_time_below(ANSWER_S):
        frames, problem = frames_of(stock_mcap(good, tmp_path / "trap.mcap", "none", definition=trap))
    assert problem is None and len(frames) == 3


@pytest.mark.parametrize(
    ("name", "form", "definition"),
    [
        ("large", "ros2msg", "string[30000000] trap\n"),
        ("large", "ros2msg", "string[<=9999999999999999999999] trap\n" + "# \n" * 100_000),
        ("nested", "ros2idl", "const uint32 X = " + "(" * 40 + "1" + ")" * 40 + ";"),
        ("shifted", "ros2idl", "const uint32 X = 1 << 99999999999;"),
        ("damaged", "ros2msg", "@\0=\n"),
    ],
)
def test_definition_of_another_type_is_no_trap(good, tmp_path, name: str, form: str, definition: str):
    path = stock_mcap(good, tmp_path / "trap.mcap", "none", other=(f"trap_msgs/msg/{name.title()}", form, definition))
    with processor_time_below(ANSWER_S), memory_growth() as growth, Bag(path) as bag:
        assert [message for _, _, message in bag.messages(["/trap"])] == [None] * 3
    assert growth[0] < 20 * MEGABYTE


ENDLESS = "WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) SELECT {} FROM c"


@pytest.mark.parametrize(
    "statements",
    [
        [
            "DROP TABLE messages",
            f"CREATE VIEW messages AS {ENDLESS.format('id, 1 AS topic_id, id AS timestamp, x00 AS data')}",
        ],
        [
            "DROP TABLE message_definitions",
            f"CREATE VIEW message_definitions AS {ENDLESS.format('id, id AS topic_type, id AS encoding')}",
        ],
        ["ALTER TABLE messages ADD COLUMN trap BLOB AS (zeroblob(900000000))"],
        ["CREATE TRIGGER trap AFTER INSERT ON messages BEGIN DELETE FROM topics; END"],
    ],
    ids=["messages", "definitions", "column", "trigger"],
)
@pytest.mark.parametrize("damaged", [False, True])
def test_database_that_computes_is_refused(tmp_path, statements: list[str], damaged: bool):
    write_frames(good_frames(), tmp_path / "bag", world_frame="world", storage="sqlite3")
    file = tmp_path / "bag" / "bag.db3"
    database = sqlite3.connect(file)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    if damaged:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    with pytest.raises(FileError, match="which no recorder writes") as caught:
        Bag(tmp_path / "bag")
    assert caught.value.code is ErrorCode.BAG_UNREADABLE


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b} {{<<: [*{a}, *{a}, *{a}, *{a}]}}\n"
            for a, b in zip("abcdefghijklmn", "bcdefghijklmno", strict=True)
        ),
        "[" * 100_000,
        "rosbag2_bagfile_information: 5\n",
        "rosbag2_bagfile_information: {relative_file_paths: [/etc/passwd, ../../bag.mcap]}\n",
        "\0\0",
        "!!python/object/apply:os.system ['touch /tmp/never']",
        "x" * 3 * MEGABYTE,
    ],
    ids=["merges", "nested", "number", "elsewhere", "binary", "object", "large"],
)
def test_metadata_is_no_trap_and_the_files_are_read_without_it(good, tmp_path, text: str):
    bag = rewritten(good, tmp_path / "bag")
    (bag / "metadata.yaml").write_text(text)
    with processor_time_below(ANSWER_S):
        frames, problem = frames_of(bag)
    assert len(frames) == 3
    with Bag(bag) as opened:
        assert "metadata.yaml" in opened.note + opened.damage
    # Only a file that is named and missing is a loss.
    assert (problem is not None) == ("relative_file_paths" in text)


def test_files_are_read_in_the_order_that_metadata_gives(tmp_path):
    frames = good_frames()
    (tmp_path / "bag").mkdir()
    for name, frame in zip(("late", "early", "between"), (frames[2], frames[0], frames[1]), strict=True):
        write_frames([frame], tmp_path / name, world_frame="world")
        (tmp_path / name / f"{name}.mcap").rename(tmp_path / "bag" / f"{name}.mcap")
    (tmp_path / "bag" / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  relative_file_paths: [early.mcap, between.mcap, late.mcap]\n"
    )
    found, problem = frames_of(tmp_path / "bag")
    assert [frame.stamp_ns for frame in found] == [frame.stamp_ns for frame in frames]
    assert problem is None
    with Bag(tmp_path / "bag") as bag:
        assert bag.counts["/camera/color/image_raw"] == 3
        assert len(bag.offered_qos["/tf_static"]) == 1


def test_attachments_are_passed_over_and_records_longer_than_any_message_end_the_reading(good, tmp_path, small_limits):
    whole = next(good.glob("*.mcap")).read_bytes()
    start = 8 + 9 + struct.unpack_from("<Q", whole, 9)[0]  # after the header
    path = tmp_path / "long.mcap"
    path.write_bytes(whole[:start] + record(0x09) + whole[start:-100])
    with memory_growth() as growth:
        assert len(frames_of(path)[0]) == 3
    assert growth[0] < 20 * MEGABYTE
    path.write_bytes(whole[:start] + record(0x05) + whole[start:-100])
    with memory_growth() as growth, pytest.raises(FileError, match="accepted are 2000000"):
        Bag(path)
    assert growth[0] < 20 * MEGABYTE


def record(opcode: int) -> bytes:
    return struct.pack("<BQ", opcode, len(BOMB)) + BOMB


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE topics SET name = NULL WHERE id = 1",
        "UPDATE topics SET name = 5 WHERE id = 1",
        "UPDATE topics SET name = x'00ff' WHERE id = 1",
        "UPDATE topics SET type = NULL",
        "UPDATE topics SET type = 7 WHERE id = 1",
        "UPDATE topics SET id = 'one' WHERE id = 1",
        "UPDATE topics SET offered_qos_profiles = 5",
        "UPDATE messages SET timestamp = 'late' WHERE id = 1",
        "UPDATE messages SET timestamp = NULL WHERE id = 1",
        "UPDATE messages SET timestamp = 1.5e300 WHERE id = 1",
        "UPDATE messages SET data = 'text' WHERE id = 3",
        "UPDATE messages SET data = 5 WHERE id = 3",
        "UPDATE messages SET data = NULL",
        "UPDATE messages SET topic_id = 1.5 WHERE id = 3",
        "UPDATE message_definitions SET encoded_message_definition = 5, encoding = NULL",
    ],
)
@pytest.mark.parametrize("salvaged", [False, True])
def test_values_of_another_type_than_recorders_write_are_passed_over(tmp_path, statement: str, salvaged: bool):
    write_frames(good_frames(), tmp_path / "bag", world_frame="world", storage="sqlite3")
    file = tmp_path / "bag" / "bag.db3"
    database = sqlite3.connect(file)
    for table in ("topics", "messages", "message_definitions"):  # without their constraints
        database.execute(f"CREATE TABLE free AS SELECT * FROM {table}")
        database.execute(f"DROP TABLE {table}")
        database.execute(f"ALTER TABLE free RENAME TO {table}")
    database.execute(statement)
    database.commit()
    database.close()
    if salvaged:
        file.write_bytes(file.read_bytes()[:-4096])
    assert len(frames_of(file)[0]) <= 3
    with suppress(FileError), Bag(file) as bag:
        messages = list(bag.messages(bag.types))
        assert all(isinstance(topic, str) and isinstance(log_ns, int) for topic, log_ns, _ in messages)
