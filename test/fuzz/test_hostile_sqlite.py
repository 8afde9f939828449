"""SQLite files that compute, lie or never end are refused by name; nothing of them is run."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from fuzz.bag_bytes import good_frames
from fuzz.bounded import assert_bounded, tried

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.errors import ErrorCode

ENDLESS = (
    "WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) "
    "SELECT id, 1 AS topic_id, id AS timestamp, NULL AS data FROM c"
)
UNDECODABLE = 100_000
READ_FRAMES = """
from sparse_recon.bags.reader import Bag, FrameReader
def tried():
    with Bag(path) as bag:
        return len(list(FrameReader(bag)))
"""
DRESSED = (  # what sqlite_master calls a table is a view
    "PRAGMA writable_schema = ON",
    f"UPDATE sqlite_master SET sql = 'CREATE VIEW messages AS {ENDLESS}', rootpage = 0 WHERE name = 'messages'",
    "DELETE FROM sqlite_master WHERE type = 'index'",
)
SCHEMAS = {
    "view dressed as a table": DRESSED,
    "view without parentheses": ("DROP TABLE messages", f"CREATE VIEW messages AS {ENDLESS}"),
    "view of another name": (f"CREATE VIEW other AS {ENDLESS}",),
    "generated column": ("ALTER TABLE messages ADD COLUMN trap AS (zeroblob(900000000))",),
    "stored column": ("CREATE TABLE trap(a, b GENERATED ALWAYS AS (zeroblob(a)) STORED)",),
    "trigger": ("CREATE TRIGGER trap AFTER INSERT ON messages BEGIN DELETE FROM topics; END",),
    "index of an expression": ("CREATE INDEX trap ON messages(abs(timestamp))",),
    "index of a part": ("CREATE INDEX trap ON messages(timestamp) WHERE timestamp > 5",),
    "check": ("CREATE TABLE trap(a CHECK (a > zeroblob(5)))",),
    "without rowid": ("CREATE TABLE trap(a INTEGER PRIMARY KEY, b) WITHOUT ROWID",),
    "text that is none": (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = CAST(x'435245415445205441424c4520ff' AS TEXT) WHERE name = 'messages'",
    ),
    "name that is no text": (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = CAST(x'435245415445205441424c4520ff2861290a' AS TEXT) WHERE name = 'messages'",
    ),
    "comment": ("CREATE TABLE trap(a /* AS */)",),
    "thousands of tables": tuple(f"CREATE TABLE t{k}(a)" for k in range(1100)),
}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_frames(good_frames(), tmp_path / "bag", world_frame="world", storage="sqlite3")
    return tmp_path / "bag" / "bag.db3"


def changed(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            database.execute(statement)
        database.commit()
    return path


@pytest.mark.parametrize("kind", SCHEMAS)
def test_what_no_recorder_writes_is_refused(recording: Path, kind: str):
    answer = tried(changed(recording, *SCHEMAS[kind]))
    assert_bounded(answer)
    assert answer.code == ErrorCode.BAG_UNREADABLE.name
    assert "no recorder writes" in answer.message or "malformed" in answer.message or "UTF-8" in answer.message


def test_what_other_recorders_write_is_read(recording: Path):
    answer = tried(
        changed(
            recording,
            "CREATE TABLE more(id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(255) UNIQUE NOT NULL)",
            'CREATE INDEX "by topic" ON messages ("topic_id" ASC)'.replace("by topic", "by_topic"),
        )
    )
    assert answer.code == "OK" and answer.count == 14


def test_long_texts_are_not_repeated(recording: Path):
    answer = tried(
        changed(
            recording,
            "UPDATE topics SET name = '/' || hex(zeroblob(2000000)) WHERE name = '/camera/color/camera_info'",
            "UPDATE topics SET offered_qos_profiles = '- [' || hex(zeroblob(2000000))",
        )
    )
    assert_bounded(answer)
    assert answer.code == ErrorCode.TOPIC_UNKNOWN.name


def test_pages_that_list_each_other_again_and_again_end(recording: Path):
    """Fifteen inner pages, each with three hundred times the next one below it, stand for 300^15 rows."""
    with closing(sqlite3.connect(recording)) as database:
        rows = [(k,) for k in range(600)]
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, zeroblob(3000))", rows)
        database.commit()
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    file = bytearray(recording.read_bytes())
    at, count = (root - 1) * size, len(file) // size
    (cell,) = struct.unpack_from(">H", file, at + 12)
    (leaf,) = struct.unpack_from(">I", file, at + cell)
    pages = [inner_page(size, leaf if k == 14 else count + k + 2) for k in range(15)]
    file[at : at + size] = inner_page(size, count + 1)
    file += b"".join(pages)
    struct.pack_into(">I", file, 28, len(file) // size)
    recording.write_bytes(file)
    answer = tried(recording)
    assert_bounded(answer)
    assert answer.code == ErrorCode.BAG_UNREADABLE.name and "again and again" in answer.message


def test_twelve_megabytes_of_pages_that_list_each_other_end(recording: Path):
    with closing(sqlite3.connect(recording)) as database:
        rows = [(k, bytes(60)) for k in range(150_000)]
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, ?)", rows)
        database.commit()
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    file = bytearray(recording.read_bytes())
    (cell,) = struct.unpack_from(">H", file, (root - 1) * size + 12)
    (below,) = struct.unpack_from(">I", file, (root - 1) * size + cell)
    file[(root - 1) * size : root * size] = inner_page(size, below)
    recording.write_bytes(file)
    assert len(file) > 12e6
    answer = tried(recording)
    assert_bounded(answer)
    assert answer.code == ErrorCode.BAG_UNREADABLE.name and "again and again" in answer.message


@pytest.mark.parametrize("below", [0, 2**32 - 1])
def test_pages_that_no_file_has_are_malformed(recording: Path, below: int):
    with closing(sqlite3.connect(recording)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    file = bytearray(recording.read_bytes())
    file[(root - 1) * size : root * size] = inner_page(size, below, cells=0)
    recording.write_bytes(file)
    answer = tried(recording)
    assert_bounded(answer)
    assert answer.code == ErrorCode.BAG_UNREADABLE.name


@pytest.mark.parametrize("root", [-1, 2**62])
def test_roots_that_no_file_has_are_malformed(recording: Path, root: int):
    answer = tried(
        changed(
            recording,
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_master SET rootpage = {root} WHERE name = 'messages'",
        )
    )
    assert_bounded(answer)
    assert answer.code == ErrorCode.BAG_UNREADABLE.name


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0" + bytes(range(200)), b"\0" * 64], ids=["empty", "noise", "zeros"])
def test_a_hundred_thousand_messages_that_cannot_be_decoded_cost_little_and_hide_no_other(recording: Path, data: bytes):
    with closing(sqlite3.connect(recording)) as database:
        (topic,) = database.execute("SELECT id FROM topics WHERE name = '/camera/color/image_raw'").fetchone()
        (first_ns,) = database.execute("SELECT MIN(timestamp) FROM messages").fetchone()
        rows = ((topic, first_ns + k, data) for k in range(UNDECODABLE))
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", rows)
        database.commit()
    answer = tried(recording, READ_FRAMES)
    assert_bounded(answer)
    assert answer.code == "OK" and answer.count == 3


def inner_page(size: int, child: int, cells: int = 300) -> bytes:
    """Return an inner page of a table all of whose entries lead to one page."""
    page = bytearray(size)
    for k in range(cells):
        at = size - 5 * (k + 1)
        page[at : at + 5] = struct.pack(">IB", child, k % 127 + 1)
        struct.pack_into(">H", page, 12 + 2 * k, at)
    struct.pack_into(">BHHHBI", page, 0, 5, 0, cells, size - 5 * cells, 0, child)
    return bytes(page)
