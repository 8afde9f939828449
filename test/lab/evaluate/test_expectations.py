"""Tolerances follow the spread between seeds: chance passes, a worse method does not."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import synthetic_scores

from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.lab.evaluate.expectations import (
    derive,
    improvements,
    read_expectations,
    regressions,
    write_expectations,
)
from sparse_recon.lab.evaluate.results import Results, summary


def run(seed: int, **changes: object) -> Results:
    wanted = {"methods": ("carve", "compact"), "conditions": ("noisy",), "views": (1, 4), "refusals": 0.0, **changes}
    return synthetic_scores.results(8, seed=seed, **wanted)


SEEDS = [run(seed) for seed in range(10)]
STORED = derive(SEEDS)


def entry(metric: str, method: str = "carve", views: int = 1):
    return next(e for e in STORED.entries if (e.metric, e.method, e.views) == (metric, method, views))


def test_expected_value_and_tolerance_come_from_the_seeds():
    values = [summary(run.group("noisy", 1, "carve"), "chamfer_mm") for run in SEEDS]
    found = entry("chamfer_mm")
    assert found.expected == pytest.approx(np.mean(values))
    assert found.tolerance == pytest.approx(5.013 * np.std(values, ddof=1), rel=1e-3)  # t(0.9995; 9) sqrt(1 + 1/10)
    assert STORED.seeds == tuple(range(10))
    wider = next(e for e in derive(SEEDS, spreads=20.0).entries if e.metric == "chamfer_mm")
    assert wider.tolerance == pytest.approx(20 * np.std(values, ddof=1))


def test_a_tolerance_has_a_floor():
    same = [dataclasses.replace(s, metrics={"chamfer_mm": 3.0}) for run in SEEDS for s in run.scores]
    runs = [dataclasses.replace(run, scores=tuple(s for s in same if s.seed == i)) for i, run in enumerate(SEEDS)]
    assert {round(e.tolerance, 9) for e in derive(runs).entries if e.metric == "chamfer_mm"} == {0.06}
    assert {e.tolerance for e in derive(runs).entries if e.metric == "answered_pct"} == {2.0}


def test_repeats_within_one_run_are_seeds_too():
    assert derive([run(0, repeats=10)]).entries == STORED.entries


def test_other_seeds_are_no_regression():
    for seed in range(10, 18):
        assert regressions(STORED, run(seed)) == []


def test_a_worse_method_is_told_with_all_numbers():
    found = regressions(STORED, run(0, factors={"carve": 1.6}))
    wanted = entry("chamfer_mm_inferred")
    text = next(line for line in found if line.startswith("inferred Chamfer mm of carve at 1 view (noisy)"))
    assert "is worse" in text and f"expected {wanted.expected:.2f} with tolerance {wanted.tolerance:.2f}" in text
    assert (
        f"found {summary(run(0, factors={'carve': 1.6}).group('noisy', 1, 'carve'), 'chamfer_mm_inferred'):.1f}" in text
    )
    assert not any("compact" in line for line in found)


def test_a_better_method_is_an_improvement_and_no_regression():
    new = run(0, factors={"carve": 0.5})
    assert regressions(STORED, new) == []
    assert any("Chamfer mm of carve at 1 view (noisy) is better" in line for line in improvements(STORED, new))


def test_coverage_may_leave_its_target_on_neither_side():
    new = [dataclasses.replace(s, metrics={**s.metrics, "coverage90_pct": 100.0}) for s in SEEDS[0].scores]
    found = regressions(STORED, dataclasses.replace(SEEDS[0], scores=tuple(new)))
    assert [line for line in found if "in radius90 % of carve" in line]


def test_refusals_and_missing_metrics_are_regressions():
    scores = [
        dataclasses.replace(s, code="MODEL_FAILED", metrics={}, reliability=None) if s.method == "compact" else s
        for s in SEEDS[0].scores
    ]
    found = regressions(STORED, dataclasses.replace(SEEDS[0], scores=tuple(scores)))
    assert any("answered % of compact at 4 views (noisy) is worse" in line and "found 0.0" in line for line in found)
    assert any("Chamfer mm of compact at 1 view (noisy) is not there" in line for line in found)
    assert not any("carve" in line for line in found)


def test_expectations_come_back_as_they_were_written(tmp_path: Path):
    write_expectations(STORED, tmp_path / "expected.json")
    back = read_expectations(tmp_path / "expected.json")
    assert back.entries == STORED.entries and back.objects == STORED.objects and back.seeds == STORED.seeds
    assert regressions(back, run(12)) == []


def test_another_protocol_or_object_is_refused():
    other = dataclasses.replace(SEEDS[0], protocol={**SEEDS[0].protocol, "samples": 9})
    with pytest.raises(InputError, match="samples: 20000 -> 9") as refused:
        regressions(STORED, other)
    assert refused.value.code == ErrorCode.USAGE
    fewer = synthetic_scores.results(7, methods=("carve", "compact"), conditions=("noisy",), views=(1, 4))
    with pytest.raises(InputError, match="object can_07"):
        regressions(STORED, fewer)


def test_too_few_seeds_are_refused():
    with pytest.raises(InputError, match="needs 3 seeds or more, got 2") as refused:
        derive(SEEDS[:2])
    assert refused.value.code == ErrorCode.USAGE
    with pytest.raises(InputError, match="at least one run"):
        derive([])


@pytest.mark.parametrize("change", [{"format": 2}, {"entries": [{"metric": "ece"}]}, {"mood": 1}, {"seeds": 3}])
def test_foreign_files_are_refused(tmp_path: Path, change: dict):
    path = tmp_path / "expected.json"
    write_expectations(STORED, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError, match="expectations") as refused:
        read_expectations(path)
    assert refused.value.code == ErrorCode.INPUT_MISSING
