"""Scores from several processes: how they fail and end, and that they run nothing of the current folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from evaluation_work import Dying, Failing, Refusing

from sparse_recon.errors import ErrorCode, ModelError, SparseReconError
from sparse_recon.lab.evaluate.processes import scores_of


def test_a_process_that_dies_is_told():
    with pytest.raises(ModelError, match="--jobs 1") as caught:
        list(scores_of(Dying(), [0, 1, 2], 2))
    assert caught.value.code is ErrorCode.MODEL_FAILED


def test_what_the_work_refuses_keeps_its_code():
    with pytest.raises(SparseReconError, match="the disk is full") as caught:
        list(scores_of(Refusing(), [0, 1], 2))
    assert caught.value.code is ErrorCode.DISK_FULL


def test_a_mistake_comes_with_its_trace():
    with pytest.raises(RuntimeError, match="evaluation_work"):
        list(scores_of(Failing(), [0, 1], 2))


def running(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if Path(f"/proc/{path.name}").exists()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_end_with_the_first_one(tmp_path: Path, number: signal.Signals):
    """The children write their names into the folder, and would work for an hour."""
    code = """
import signal, sys
from pathlib import Path
from evaluation_work import Lasting
from sparse_recon.lab.evaluate.processes import scores_of
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)
list(scores_of(Lasting(Path(sys.argv[1])), [0, 1], 2))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120.0
    while len(list(tmp_path.iterdir())) < 2:
        assert first.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    assert len(running(tmp_path)) == 2
    first.send_signal(number)
    assert first.wait(60) != 0
    while running(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.02)
    left = [path.read_text() for path in tmp_path.iterdir()]
    assert left == ["cleaned up"] * 2


def test_a_library_of_the_current_folder_is_never_run(tmp_path: Path):
    for name in ("numpy", "cv2", "multiprocessing", "pickle", "struct", "trap"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'run')!r}, 'a').write(__name__)\nraise SystemExit(9)"
        )
    code = """
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", sys.argv[1])]
import numpy, cv2, multiprocessing, pickle, struct
from evaluation_work import Counting
from sparse_recon.lab.evaluate.processes import scores_of
import os
os.environ.pop("PYTHONSAFEPATH")  # it was for this process alone
sys.path.insert(0, "")
print(sorted(scores_of(Counting(), [10, 20, 30], 2)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), ""]), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[10, 11, 20, 21, 30, 31]" and not (tmp_path / "run").exists()
