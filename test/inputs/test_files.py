"""Whatever a path leads to, nothing waits for it, and only regular files are read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from processor_time import processor_time_below

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.inputs.files import check_file, check_folder, open_file, read_bytes, what_is_there

ANSWER_S = 2.0


def special(folder: Path, kind: str) -> Path:
    """Return a path that leads to no regular file."""
    path = folder / "input"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    elif kind == "dangling link":
        path.symlink_to(folder / "nothing")
    elif kind == "inside a file":
        path.touch()
        return path / "input"
    else:
        return {
            "device": Path("/dev/zero"),
            "long": folder / ("x" * 300),
            "long path": folder / "/".join(["x" * 200] * 30),
            "null": folder / "a\0b",
            "missing": path,
        }[kind]
    return path


WORDS = {
    "pipe": "named pipe",
    "folder": "folder",
    "socket": "socket",
    "loop": "leads to itself",
    "link to a pipe": "named pipe",
    "dangling link": "does not exist",
    "inside a file": "does not exist",
    "device": "device",
    "long": "too long",
    "long path": "too long",
    "null": "no file can have",
    "missing": "does not exist",
}


@pytest.mark.parametrize("kind", WORDS)
def test_what_is_no_file_is_refused_with_what_it_is(tmp_path: Path, kind: str):
    path = special(tmp_path, kind)
    for opened in (check_file, open_file, lambda path, what: read_bytes(path, what, 10)):
        with processor_time_below(ANSWER_S), pytest.raises(FileError, match=WORDS[kind]) as caught:
            opened(path, "a file of words")
        assert caught.value.code is ErrorCode.INPUT_MISSING and "must be a file of words" in caught.value.message
        assert len(caught.value.message) < 400


def test_a_file_is_read_and_one_that_is_too_large_refused(tmp_path: Path):
    path = tmp_path / "words"
    path.write_bytes(b"twelve bytes")
    assert what_is_there(path) == "file" and check_file(path, "words") == 12
    assert read_bytes(path, "words", 12) == b"twelve bytes"
    with pytest.raises(FileError, match="more than 11 bytes"):
        read_bytes(path, "words", 11)
    (tmp_path / "link").symlink_to(path)
    assert read_bytes(tmp_path / "link", "words", 12) == b"twelve bytes"


def test_folders_are_told_from_files(tmp_path: Path):
    check_folder(tmp_path, "a folder of words")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="is a file; it must be a folder of words"):
        check_folder(tmp_path / "file", "a folder of words")
