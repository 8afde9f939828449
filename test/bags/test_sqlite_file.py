"""SQLite recordings as killed recorders leave them, and under names that mean something in a URI."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from bags.test_reader import assert_same, read

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag


@pytest.fixture
def killed(small_frames, tmp_path: Path) -> Path:
    """A recording of which two thirds lie in the write-ahead log, as the kill of its recorder leaves it."""
    write_frames(small_frames, tmp_path / "source", world_frame="world", storage="sqlite3")
    statements = list(sqlite3.connect(tmp_path / "source" / "source.db3").iterdump())
    messages = [text for text in statements if text.startswith('INSERT INTO "messages"')]
    work, left = tmp_path / "work", tmp_path / "left"
    work.mkdir()
    left.mkdir()
    database = sqlite3.connect(work / "rec_0.db3", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    for text in statements:
        if not text.startswith(("BEGIN", "COMMIT", 'INSERT INTO "messages"')):
            database.execute(text)
    for number, text in enumerate(messages):
        if number == len(messages) // 3:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute(text)
    for file in work.iterdir():
        shutil.copy(file, left)
    database.close()
    return left


def test_what_lies_in_the_write_ahead_log_is_read(killed: Path, small_frames):
    assert (killed / "rec_0.db3-wal").stat().st_size > 0
    frames, error = read(killed / "rec_0.db3")
    assert error is None
    assert_same(frames, small_frames)
    with Bag(killed) as bag:
        assert bag.counts["/camera/color/image_raw"] == len(small_frames)


def test_the_log_is_found_through_a_link(killed: Path, small_frames, tmp_path: Path):
    (tmp_path / "link.db3").symlink_to(killed / "rec_0.db3")
    assert_same(read(tmp_path / "link.db3")[0], small_frames)


def test_a_log_that_cannot_be_used_is_named_with_its_size(killed: Path, small_frames):
    log_bytes = (killed / "rec_0.db3-wal").stat().st_size
    (killed / "rec_0.db3-shm").unlink()
    (killed / "rec_0.db3-shm").symlink_to(killed / "missing" / "file")  # cannot be made, as in a read-only folder
    frames, error = read(killed / "rec_0.db3")
    assert error is not None and f"rec_0.db3-wal of {log_bytes} bytes" in error.message
    assert "left out" in error.message and 0 < len(frames) < len(small_frames)


def test_an_empty_log_changes_nothing(small_frames, tmp_path: Path):
    write_frames(small_frames, tmp_path / "bag", world_frame="world", storage="sqlite3")
    (tmp_path / "bag" / "bag.db3-wal").touch()
    frames, error = read(tmp_path / "bag")
    assert error is None
    assert_same(frames, small_frames)


@pytest.mark.parametrize("name", ["my%20bag", "50%", "what?", "take#2", "a&b"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_the_file_that_is_named_is_opened(small_frames, tmp_path: Path, name: str, storage: str):
    write_frames(small_frames, tmp_path / "right", world_frame="world", storage=storage)
    write_frames(small_frames[:2], tmp_path / "wrong", world_frame="world", storage=storage)
    suffix = ".db3" if storage == "sqlite3" else ".mcap"
    shutil.copy(tmp_path / "wrong" / f"wrong{suffix}", tmp_path / f"my bag{suffix}")  # what %20 stands for
    shutil.copy(tmp_path / "right" / f"right{suffix}", tmp_path / f"{name}{suffix}")
    frames, error = read(tmp_path / f"{name}{suffix}")
    assert error is None
    assert_same(frames, small_frames)
