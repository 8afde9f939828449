"""A comparison finds what got better and worse, case by case, and says nothing where nothing did."""

import dataclasses

import pytest
import synthetic_scores

from sparse_recon.errors import ErrorCode, InputError
from sparse_recon.lab.evaluate.compare import compare, report
from sparse_recon.lab.evaluate.results import Results

METHODS = ("observed", "carve", "compact")


def run(**changes: object) -> Results:
    return synthetic_scores.results(18, methods=METHODS, conditions=("noisy",), **{"refusals": 0.0, **changes})


OLD = run()


def verdicts(old: Results, new: Results, method: str) -> set[str]:
    return {c.verdict for c in compare(old, new, draws=100).judged if c.method == method}


def edited(results: Results, method: str, **fields: object) -> Results:
    scores = [dataclasses.replace(s, **fields) if s.method == method else s for s in results.scores]
    return dataclasses.replace(results, scores=tuple(scores))


def test_the_same_results_agree():
    found = compare(OLD, run())
    assert found.agree and found.exit_status == 0
    assert {change.verdict for change in found.judged} == {"same"}
    assert "no number has changed" in report(found, OLD, run())


def test_better_and_worse_are_told_apart():
    new = run(factors={"compact": 0.9, "carve": 1.1})
    assert verdicts(OLD, new, "observed") == {"same"}
    assert "better" in verdicts(OLD, new, "compact") and "worse" not in verdicts(OLD, new, "compact")
    assert "worse" in verdicts(OLD, new, "carve") and "better" not in verdicts(OLD, new, "carve")


def test_worse_alone_fails():
    assert compare(OLD, run(factors={"compact": 0.9})).exit_status == 0
    assert compare(OLD, run(factors={"compact": 1.1})).exit_status == 1


def test_chance_is_neither_better_nor_worse():
    other = synthetic_scores.results(18, methods=METHODS, conditions=("noisy",), refusals=0.0, seed=1)
    renumbered = dataclasses.replace(
        other, protocol=OLD.protocol, scores=tuple(dataclasses.replace(s, seed=0) for s in other.scores)
    )
    found = compare(OLD, renumbered)
    assert {change.verdict for change in found.judged if change.metric == "chamfer_mm"} == {"unclear"}
    assert {change.verdict for change in found.judged} <= {"unclear", "same"}
    assert found.exit_status == 0 and not found.agree


def test_how_much_and_which_objects_are_told():
    new = run(factors={"compact": 1.1})
    change = next(
        c for c in compare(OLD, new).judged if (c.method, c.views, c.metric) == ("compact", 1, "chamfer_mm_inferred")
    )
    assert change.new / change.old == pytest.approx(1.1)
    assert 0 < change.test.difference.low <= change.test.difference.value <= change.test.difference.high
    sizes = [new_value - old_value for _, old_value, new_value in change.most]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 3
    assert change.most[0][0] in report(compare(OLD, new), OLD, new)


def test_a_nearer_target_is_better():
    scores = [
        dataclasses.replace(s, metrics={**s.metrics, "coverage90_pct": 90 + 0.5 * (s.metrics["coverage90_pct"] - 90)})
        if s.method == "compact"
        else s
        for s in OLD.scores
    ]
    found = compare(OLD, dataclasses.replace(OLD, scores=tuple(scores)))
    assert {c.verdict for c in found.judged if c.metric == "coverage90_pct" and c.method == "compact"} == {"better"}


def test_time_is_reported_and_not_judged():
    slower = [dataclasses.replace(s, metrics={**s.metrics, "seconds": 9.0}) for s in OLD.scores]
    new = dataclasses.replace(OLD, scores=tuple(slower))
    found = compare(OLD, new)
    assert found.exit_status == 0 and found.agree
    assert all(change.new == 9.0 for change in found.reported if change.metric == "seconds")


def test_answers_lost_and_gained_are_listed():
    key = next(s.key for s in OLD.scores if s.method == "carve")
    new = dataclasses.replace(
        OLD,
        scores=tuple(
            dataclasses.replace(s, code="MODEL_FAILED", metrics={}, reliability=None) if s.key == key else s
            for s in OLD.scores
        ),
    )
    lost, gained = compare(OLD, new), compare(new, OLD)
    assert lost.codes == ((key, "OK", "MODEL_FAILED"),)
    assert (lost.answers_lost, lost.exit_status) == ({"carve": 1}, 1)
    assert (gained.answers_lost, gained.exit_status) == ({}, 0)
    assert "OK -> MODEL_FAILED" in report(lost, OLD, new) and "carve answers 1 fewer" in report(lost, OLD, new)


def test_a_metric_that_is_gone_is_noted():
    new = edited(OLD, "compact", metrics={"chamfer_mm": 1.0})
    assert any("compact has no iou_pct in 54 cases" in note for note in compare(OLD, new).notes)


def test_only_cases_of_both_are_compared():
    new = dataclasses.replace(OLD, scores=OLD.scores[:100])
    found = compare(OLD, new)
    assert (found.cases, found.only_old, found.only_new) == (100, len(OLD.scores) - 100, 0)


def test_another_protocol_and_another_mesh_are_noted():
    name = next(iter(OLD.objects))
    objects = {**OLD.objects, name: dataclasses.replace(OLD.objects[name], sha256="0" * 64)}
    new = dataclasses.replace(OLD, objects=objects, protocol={**OLD.protocol, "samples": 5})
    found = compare(OLD, new)
    assert "samples: 20000 -> 5" in found.notes[0] and name in found.notes[1]
    assert found.cases == len(OLD.scores) - 9
    assert "samples: 20000 -> 5" in report(found, OLD, new)


def test_nothing_in_common_is_refused():
    new = synthetic_scores.results(18, methods=METHODS, conditions=("noisy",), seed=7)
    with pytest.raises(InputError, match=r"no case in common.*same objects and seeds") as refused:
        compare(OLD, new)
    assert refused.value.code == ErrorCode.USAGE
