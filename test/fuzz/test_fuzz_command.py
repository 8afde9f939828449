"""The command for longer fuzzing by hand (benchmarks/fuzz.py): its inputs are good, and it runs one of them again."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from sparse_recon.session.session import CompletionSession

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def targets():
    """Load the targets as the command does, without atheris."""
    spec = spec_from_file_location("fuzz_targets", BENCHMARKS / "fuzz_targets.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TARGETS


@pytest.mark.parametrize(
    ("name", "least"),
    [("images", 16), ("messages", 20), ("bags", 7), ("documents", 3), ("results", 3), ("checkpoints", 3)],
)
def test_target_takes_its_seeds_and_what_is_near_them(targets, name: str, least: int):
    target, rng = targets[name](), random.Random(5)
    seeds = list(target.seeds())
    assert len(seeds) >= least
    for seed in (*seeds, b"", b"\0"):
        target.run(seed)
        damaged = bytearray(seed)
        for _ in range(3 * bool(seed)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        target.run(bytes(damaged))


def test_seed_messages_make_frames(targets, monkeypatch: pytest.MonkeyPatch):
    kept, add_frame = [], CompletionSession.add_frame
    monkeypatch.setattr(
        CompletionSession, "add_frame", lambda self, frame: kept.append(frame) or add_frame(self, frame)
    )
    target = targets["messages"]()
    for seed in target.seeds():
        kept.clear()
        target.run(seed)
        assert len(kept) == 2


def test_one_input_is_run_again(targets, tmp_path: Path):
    file = tmp_path / "input"
    file.write_bytes(next(targets["images"]().seeds()))
    words = [sys.executable, BENCHMARKS / "fuzz.py", "--target", "images", "--input", file]
    subprocess.run(words, check=True, timeout=600)
