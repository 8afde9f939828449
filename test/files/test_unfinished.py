"""What killed processes leave behind, and whose it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_recon.files.unfinished import MADE, PREFIX, REPLACED, own_folder, remove_left

HOLD = """
import os, sys
from pathlib import Path
from sparse_recon.files.unfinished import own_folder
with own_folder(Path(sys.argv[1])) as folder:
    print(folder.name, flush=True)
    sys.stdin.read()
    os._exit(9)
"""


def test_a_folder_of_a_living_process_stays_until_it_is_killed(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    name = process.stdout.readline().strip()
    remove_left(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name] and name.startswith(PREFIX)
    process.kill()
    process.communicate()
    with own_folder(tmp_path) as mine:
        assert [p.name for p in tmp_path.iterdir()] == [mine.name]
    assert list(tmp_path.iterdir()) == []


def test_what_others_made_under_such_a_name_stays(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    (tmp_path / f"{PREFIX}12345678" / "notes").mkdir(parents=True)
    (tmp_path / f"{PREFIX}abcdefgh").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    remove_left(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_what_another_user_left_stays(tmp_path: Path):
    left = tmp_path / f"{PREFIX}12345678"
    left.mkdir()
    os.chown(left, 12345, -1)
    remove_left(tmp_path)
    assert left.is_dir()


@pytest.mark.parametrize("there", [True, False])
def test_what_was_about_to_be_replaced_goes_back_where_nothing_took_its_place(tmp_path: Path, there: bool):
    old = tmp_path / f"{PREFIX}12345678" / REPLACED / "object_0"
    old.mkdir(parents=True)
    (old / "mesh.ply").write_text("old")
    (tmp_path / f"{PREFIX}12345678" / MADE / "object_0").mkdir(parents=True)
    if there:
        (tmp_path / "object_0").mkdir()
        (tmp_path / "object_0" / "mesh.ply").write_text("new")
    remove_left(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["object_0"]
    assert (tmp_path / "object_0" / "mesh.ply").read_text() == ("new" if there else "old")


def test_any_number_of_processes_may_begin_at_once(tmp_path: Path):
    """Each looks for what is left over while the others are about to lock what they have just made."""
    code = """
import sys
from pathlib import Path
from sparse_recon.files.atomic import whole_file
for k in range(60):
    with whole_file(Path(sys.argv[1]) / f"{sys.argv[2]}_{k}", "a file") as new:
        new.write_text(sys.argv[2])
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        f"{n}_{k}": str(n) for n in range(3) for k in range(60)
    }
