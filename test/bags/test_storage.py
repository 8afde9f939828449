"""Packed recordings take room in the temporary folder, which nothing keeps."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sparse_recon.bags.storage import open_storage
from sparse_recon.errors import FileError

KILLED = """
import os, sys
from pathlib import Path
from sparse_recon.bags.storage import open_storage
held = open_storage(Path(sys.argv[1]))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that takes what is temporary."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def packed(bag: Path, folder: Path, count: int = 1) -> Path:
    zstd = pytest.importorskip("backports.zstd")
    folder.mkdir()
    data = zstd.compress(next(bag.glob("*.mcap")).read_bytes())
    for k in range(count):
        (folder / f"bag_{k}.mcap.zstd").write_bytes(data)
    return folder


def test_what_a_killed_process_unpacked_goes_with_the_next(small_bag: Path, tmp_path: Path, temporary: Path):
    recording = packed(small_bag, tmp_path / "bag")
    command = [sys.executable, "-c", KILLED, str(recording)]
    assert subprocess.run(command, timeout=120, check=False).returncode == -9
    (left,) = temporary.iterdir()
    assert list(left.rglob("*.mcap"))
    storage = open_storage(recording)
    assert not left.exists() and len(list(temporary.iterdir())) == 1
    assert len(list(storage.messages([channel.topic for channel in storage.channels]))) > 10
    storage.close()
    assert list(temporary.iterdir()) == []


def test_all_files_of_a_recording_share_one_folder(small_bag: Path, tmp_path: Path, temporary: Path):
    recording = packed(small_bag, tmp_path / "bag", 3)
    storage = open_storage(recording)
    assert len(list(temporary.rglob("*.mcap"))) == 3 and len(list(temporary.iterdir())) == 1
    storage.close()
    assert list(temporary.iterdir()) == []


def test_a_single_file_and_one_that_cannot_be_read_leave_nothing(small_bag: Path, tmp_path: Path, temporary: Path):
    recording = packed(small_bag, tmp_path / "bag")
    file = recording / "bag_0.mcap.zstd"
    open_storage(file).close()
    assert list(temporary.iterdir()) == []
    file.write_bytes(file.read_bytes()[:40])
    for path in (file, recording):
        with pytest.raises(FileError, match="cannot be read"):
            open_storage(path)
    assert list(temporary.iterdir()) == []
