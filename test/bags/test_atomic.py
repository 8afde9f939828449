"""Folders that appear whole or not at all, also when the program is interrupted between the two renames."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparse_recon.bags.atomic import whole_folder


@pytest.mark.parametrize(("after", "kept"), [(1, "old"), (2, "new")])
def test_interrupt_between_the_renames_leaves_a_whole_result(
    tmp_path: Path, after: int, kept: str, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "object_0"
    target.mkdir()
    (target / "mesh.ply").write_text("old")
    renames, rename = [0], Path.rename

    def interrupted(path: Path, to: Path) -> Path:
        renames[0] += 1
        moved = rename(path, to)
        if renames[0] == after:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(target, "the result") as new:
        (new / "mesh.ply").write_text("new")
    assert (target / "mesh.ply").read_text() == kept
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]
