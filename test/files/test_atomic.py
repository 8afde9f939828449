"""Folders that appear whole or not at all, also when Ctrl-C comes while they are put in place."""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.files import exchange
from sparse_recon.files.atomic import whole_file, whole_folder
from sparse_recon.files.unfinished import MADE


@pytest.fixture(autouse=True)
def hear_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("owner", "name"), [(exchange, "exchange"), (shutil, "rmtree")])
def test_interrupt_while_a_result_is_replaced_leaves_the_new_one_alone(
    tmp_path: Path, owner: object, name: str, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "object_0"
    target.mkdir()
    (target / "mesh.ply").write_text("old")
    original: Callable[..., object] = getattr(owner, name)

    def interrupted(*args: object, **options: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(target, "the result") as new:
        (new / "mesh.ply").write_text("new")
    assert (target / "mesh.ply").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_writing_keeps_the_old_result(tmp_path: Path, number: signal.Signals):
    target = tmp_path / "object_0"
    target.mkdir()
    (target / "mesh.ply").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(target, "the result") as new:
        (new / "mesh.ply").write_text("new")
        signal.raise_signal(number)
    assert (target / "mesh.ply").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]


def test_failed_swap_puts_the_old_result_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "object_0"
    target.mkdir()
    (target / "mesh.ply").write_text("old")
    rename = Path.rename

    def refused(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, "this file system cannot exchange")

    def failing(path: Path, to: Path) -> Path:
        if to == target and path.parent.name == MADE:
            raise MemoryError
        return rename(path, to)

    monkeypatch.setattr(exchange, "exchange", refused)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(MemoryError), whole_folder(target, "the result") as new:
        (new / "mesh.ply").write_text("new")
    assert (target / "mesh.ply").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "scores.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(target, "the scores") as new:
        new.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    with whole_file(target, "the scores") as new:
        new.write_text("new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


@pytest.mark.parametrize(
    ("name", "word"), [("f" * 300, "shorten"), ("file/object_0", "a file lies where a folder is needed")]
)
def test_what_keeps_a_folder_from_being_made_is_said(tmp_path: Path, name: str, word: str):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=word) as caught, whole_folder(tmp_path / name, "the result"):
        pass
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE and len(caught.value.message) < 500
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
