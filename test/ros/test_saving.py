"""Objects into folders that people name, well or badly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sparse_recon.errors import CancelledError, ErrorCode, SparseReconError
from sparse_recon.files.locks import only_writer
from sparse_recon.ros.saving import save_objects
from sparse_recon.types import CompletedObject


@pytest.fixture
def completed(completed_box: CompletedObject) -> dict[str, CompletedObject]:
    return {name: replace(completed_box, object_id=name) for name in ("object_0", "box_0")}


def never() -> bool:
    return False


def test_all_or_those_that_are_named_are_written(completed: dict[str, CompletedObject], tmp_path: Path):
    everything = save_objects(completed, str(tmp_path / "all"), [], False, never)
    assert {path.parent.name for path in everything} >= {"object_0", "box_0"}
    paths = save_objects(completed, str(tmp_path / "one"), ["box_0"], False, never)
    assert all(path.is_file() and path.is_relative_to(tmp_path / "one" / "box_0") for path in paths)
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["box_0"]


def test_an_object_that_is_named_a_thousand_times_is_written_once(
    completed: dict[str, CompletedObject], tmp_path: Path
):
    paths = save_objects(completed, str(tmp_path), ["object_0"] * 1000, False, never)
    assert len(paths) == len(set(paths)) == 7


def test_a_home_is_filled_in(completed: dict[str, CompletedObject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save_objects(completed, "~/out", ["box_0"], False, never)[0].is_relative_to(tmp_path / "out")


@pytest.mark.parametrize(
    ("folder", "code", "word"),
    [
        ("", ErrorCode.USAGE, "save_folder"),
        ("out", ErrorCode.USAGE, "relative"),
        ("./out", ErrorCode.USAGE, "relative"),
        ("../out", ErrorCode.USAGE, "relative"),
        ("\n", ErrorCode.USAGE, "relative"),
        ("~nobody-of-this-name/x", ErrorCode.USAGE, "home"),
        ("/tmp/a\0b", ErrorCode.USAGE, "NUL"),
        ("/tmp/" + "f" * 5000, ErrorCode.USAGE, "shorten"),
        ("/dev/null/x", ErrorCode.OUTPUT_UNWRITABLE, "folder is needed"),
        ("/proc/none", ErrorCode.OUTPUT_UNWRITABLE, "cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(
    completed: dict[str, CompletedObject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    code: ErrorCode,
    word: str,
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SparseReconError, match=word) as caught:
        save_objects(completed, folder, [], True, never)
    assert caught.value.code is code and len(caught.value.message) < 700
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [["../x"], ["/etc/passwd"], ["object_0", "object_7"], [""], ["object_9" * 10_000]])
def test_what_is_not_completed_is_not_written(completed: dict[str, CompletedObject], tmp_path: Path, names: list[str]):
    with pytest.raises(SparseReconError, match="not completed yet") as caught:
        save_objects(completed, str(tmp_path / "out"), names, False, never)
    assert caught.value.code is ErrorCode.OBJECT_NOT_FOUND and len(caught.value.message) < 700
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(completed: dict[str, CompletedObject], tmp_path: Path):
    save_objects(completed, str(tmp_path), ["object_0"], False, never)
    with pytest.raises(SparseReconError, match="already holds object_0") as caught:
        save_objects(completed, str(tmp_path), [], False, never)
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE and not (tmp_path / "box_0").exists()
    assert save_objects(completed, str(tmp_path), [], True, never)


def test_a_folder_that_another_run_writes_is_refused(completed: dict[str, CompletedObject], tmp_path: Path):
    with only_writer(tmp_path, "results"), pytest.raises(SparseReconError, match="another run") as caught:
        save_objects(completed, str(tmp_path), [], True, never)
    assert caught.value.code is ErrorCode.BUSY and list(tmp_path.iterdir()) == []


def test_what_was_written_before_it_was_cancelled_stays(completed: dict[str, CompletedObject], tmp_path: Path):
    asked = iter([False, True])
    with pytest.raises(CancelledError, match="after 7 files"):
        save_objects(completed, str(tmp_path), [], False, lambda: next(asked))
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]
