"""The default model is no worse than it was: the stored expectations of `benchmarks/regression.json` hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparse_recon.cli.main import main

EXPECTATIONS = Path(__file__).parents[3] / "benchmarks" / "regression.json"


def test_no_metric_is_worse_than_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--profile", "regression", "--against", str(EXPECTATIONS), "--out", str(tmp_path)]
    status = main(["evaluate", *arguments, "--no-pictures", "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    summary = json.loads(captured.out)
    assert summary["scores"] == 8 * 2 * 3 and summary["refused"] == 0
