"""Folders that appear whole or not at all, also when Ctrl-C comes while they are put in place."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sparse_recon.files.atomic import whole_folder


@pytest.fixture(autouse=True)
def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(("owner", "name"), [(Path, "rename"), (shutil, "rmtree")])
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


def test_interrupt_while_writing_keeps_the_old_result(tmp_path: Path):
    target = tmp_path / "object_0"
    target.mkdir()
    (target / "mesh.ply").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(target, "the result") as new:
        (new / "mesh.ply").write_text("new")
        signal.raise_signal(signal.SIGINT)
    assert (target / "mesh.ply").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]


def test_failed_swap_puts_the_old_result_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "object_0"
    target.mkdir()
    (target / "mesh.ply").write_text("old")
    rename = Path.rename

    def failing(path: Path, to: Path) -> Path:
        if to == target and path.name == target.name:
            raise MemoryError
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(MemoryError), whole_folder(target, "the result") as new:
        (new / "mesh.ply").write_text("new")
    assert (target / "mesh.ply").read_text() == "old"
