"""Inputs tried in a process of their own, so that its time and its largest memory are theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ANSWER_S, MEMORY_MB, HANG_S = 2.0, 500, 60.0

_BEGIN = """
import json, re, sys, time
from sparse_recon.errors import SparseReconError, exit_code
from pathlib import Path
path = Path(sys.argv[1])
"""
_READ = """
from sparse_recon.bags.reader import Bag, FrameReader
def tried():
    with Bag(path) as bag:
        count = sum(len(data) >= 0 for _, _, data in bag.serialised(bag.types))
        list(FrameReader(bag))
    return count
"""
_END = r"""
answer = {"code": "OK", "message": ""}
begun_s = time.process_time()
try:
    answer["count"] = tried()
except SparseReconError as error:
    answer = {"code": error.code.name, "message": error.message, "exit": exit_code(error)}
answer["seconds"] = time.process_time() - begun_s
# What getrusage tells includes the process that this one was forked from.
answer["memory_mb"] = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e3
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Answer:
    """What came of an input: `OK` or a code, its sentence, processor seconds and the largest memory in megabytes."""

    code: str
    message: str
    seconds: float
    memory_mb: float
    count: int = -1
    exit: int = 0


def tried(path: Path, code: str = _READ) -> Answer:
    """Read a recording, or run `code`, which defines `tried()`, on `path`; a traceback or a hang fails the test."""
    command = [sys.executable, "-c", _BEGIN + code + _END, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return Answer(**json.loads(result.stdout.splitlines()[-1]))


def assert_bounded(answer: Answer) -> None:
    """Hold an answer against the bounds on what an input may cost, whatever it is."""
    assert answer.seconds < ANSWER_S, answer
    assert answer.memory_mb < MEMORY_MB, answer
    assert (answer.code == "OK") == (not answer.message)
    assert len(answer.message) < 1500
    assert all(len(word) <= 200 for word in answer.message.split())
    assert answer.message.replace("\n", "").isprintable()
