"""A run killed at each of its steps on the file system: every object is the old or the new one, nothing is left over.

The steps that change something are known from Python's audit events (PEP 578).
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sparse_recon.types import CompletedObject

# An older run left two objects; the one that is killed replaces one, writes another, and removes the second.
RUNS = """
import errno, gc, os, pickle, shutil, signal, sys, warnings
from pathlib import Path
from PIL import Image
import rosbags.rosbag2
from sparse_recon.bags.writer import ResultBag
from sparse_recon.cli.output_folder import output_folder, remove_earlier
from sparse_recon.files import exchange
from sparse_recon.files.results import write_results
from sparse_recon.viz.sheet import save_png

CHANGES = {f"os.{name}" for name in ("mkdir", "rename", "remove", "rmdir", "link", "symlink", "chmod", "truncate")}
warnings.simplefilter("ignore")
base, can_exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
old, new = pickle.loads((base / "objects.pickle").read_bytes())

def refused(one, other):
    sys.audit("os.rename", str(one), str(other), -1, -1)
    raise OSError(errno.EINVAL, "this file system cannot exchange")

if not can_exchange:
    exchange.exchange = refused

def run(out, objects, colour):
    with output_folder(out, overwrite=True):
        with ResultBag(out / "completed_bag") as bag:
            written = set()
            for completed in objects:
                bag.write(completed)
                written.add(write_results(completed, out))
        remove_earlier(out, written)
        save_png(Image.new("RGB", (4, 4), colour), out / "overview.png")

def contents(folder):
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files} or None

def killed(out, step):
    if child := os.fork():
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended in (0, -signal.SIGKILL)
        return ended != 0
    steps = iter(range(step))
    def watch(event, arguments):
        if event == "open":
            changes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changes = event in CHANGES
        if changes and next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    run(out, new, "red")
    os._exit(0)

whole = {}
for name, objects, colour in (("old", old, "blue"), ("new", new, "red")):
    run(base / name, objects, colour)
    for path in (base / name).iterdir():
        whole.setdefault(path.name, []).append(contents(path))
assert len(whole) == 5, whole.keys()
may_go = {"object_1", "object_2"}

def bad(out, gone):
    found = {path.name: contents(path) for path in out.iterdir()}
    wrong = [name for name, there in found.items() if name in whole and there not in whole[name]]
    return wrong + [name for name in whole.keys() - found.keys() - gone]

gc.freeze()
steps, torn, lost, left = 0, 0, 0, 0
while True:
    out = base / "out"
    shutil.copytree(base / "old", out)
    if not killed(out, steps):
        break
    torn += len(bad(out, may_go if can_exchange else set(whole)))
    with output_folder(out, overwrite=True):
        pass
    lost += len(bad(out, may_go))
    left += len({path.name for path in out.iterdir()} - whole.keys())
    shutil.rmtree(out)
    steps += 1
print(steps, torn, lost, left)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder in memory where there is one: on a disk all that flushing takes ten times as long."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_a_run_killed_at_any_step_loses_no_object_and_leaves_no_folder(
    completed_box: CompletedObject, folder: Path, how: str
):
    older = [replace(completed_box, object_id=f"object_{k}", seed=1) for k in (0, 1)]
    newer = [replace(completed_box, object_id=f"object_{k}", seed=2) for k in (0, 2)]
    (folder / "objects.pickle").write_bytes(pickle.dumps((older, newer)))
    result = subprocess.run([sys.executable, "-c", RUNS, str(folder), how], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    steps, *faults = map(int, result.stdout.split())
    assert steps > 50 and faults == [0, 0, 0]
