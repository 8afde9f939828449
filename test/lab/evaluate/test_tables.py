"""Tables name their protocol, hold the right numbers, line up, and hide no refused case."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic_scores

from sparse_recon.lab.evaluate.markdown import aligned, interval, p_text, shown_difference
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.quantities import quantity
from sparse_recon.lab.evaluate.results import Results, Score, by_object
from sparse_recon.lab.evaluate.statistics import Estimate
from sparse_recon.lab.evaluate.tables import table, write_table

METHODS = ("observed", "tsdf", "carve", "compact", "truth")
RESULTS = synthetic_scores.results(20, methods=METHODS, conditions=("noisy",), refusals=0.3)
TEXT = table(RESULTS, draws=200)


def section(title: str, text: str = TEXT) -> str:
    return text.partition(f"### {title}")[2].partition("###")[0]


def row(title: str, method: str, text: str = TEXT) -> list[str]:
    lines = [line for line in section(title, text).splitlines() if line.startswith(f"| {method} ")]
    return [cell.strip() for cell in lines[0].strip("|").split("|")][1:]


def test_protocol_stands_before_any_number():
    plain = " ".join(TEXT.split())
    assert " ".join(Protocol.of(RESULTS.protocol).text().split()) in plain.partition("|")[0]
    for word in ("20 of ycb", "bootstrap", "Alignment: none", RESULTS.fingerprint()[:16], "sparse_recon 0.1.0"):
        assert word in plain.partition("|")[0]


def test_protocol_of_another_version_is_told_by_its_values():
    other = dataclasses.replace(RESULTS, protocol={"samples": 77, "rings": [1, 2]})
    assert "rings [1,2], samples 77" in table(other, draws=10)


def test_a_cell_is_the_median_over_objects_with_its_interval():
    values = list(by_object(RESULTS.group("noisy", 1, "compact"), "chamfer_mm").values())
    found = re.fullmatch(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", row("Distance of the surface", "compact")[0])
    value, low, high = map(float, found.groups())
    assert value == pytest.approx(np.median(values), abs=0.005)
    assert min(values) < low < value < high < max(values)


def test_safety_is_told_as_means():
    values = list(by_object(RESULTS.group("noisy", 2, "carve"), "in_empty_pct").values())
    assert row("Safety", "carve")[1] == f"{np.mean(values):.2f}" != f"{np.median(values):.2f}"


def test_time_of_three_stages_or_more_is_told_by_stage():
    def with_stages(score: Score, *names: str) -> Score:
        return dataclasses.replace(score, timings_s={name: 0.25 * (i + 1) for i, name in enumerate(names)})

    scores = [with_stages(s, "complete", "fuse", "observe") for s in RESULTS.scores if s.method == "carve"]
    scores += [with_stages(s, "observe", "tsdf") for s in RESULTS.scores if s.method == "tsdf"]
    text = table(dataclasses.replace(RESULTS, scores=tuple(scores)), draws=10)
    title = "Seconds of carve by stage (medians)"
    assert [row(title, stage, text)[0] for stage in ("complete", "fuse", "observe")] == ["0.25", "0.50", "0.75"]
    assert "Seconds of tsdf" not in text


def test_refused_cases_are_counted_with_their_codes():
    refused = sum(not score.answered for score in RESULTS.scores if score.method == "tsdf")
    first = [score.answered for score in RESULTS.group("noisy", 1, "tsdf")]
    cells = row("Cases answered", "tsdf")
    assert 0 < refused < 60 and cells[0] == f"{sum(first)} of 20" != "20 of 20"
    assert cells[3] == f"OBJECT_TOO_SMALL {refused}"
    assert row("Cases answered", "observed") == ["20 of 20"] * 3 + ["-"]


def test_all_methods_are_compared_on_the_cases_that_all_answered():
    groups = {method: RESULTS.group("noisy", 1, method) for method in METHODS}
    common = set.intersection(*({s.object for s in scores if s.answered} for scores in groups.values()))
    part = section("Only cases that every method answered")
    assert f"{len(common)} at 1 view" in part and len(common) < 20
    wanted = np.median([s.metrics["chamfer_mm"] for s in groups["observed"] if s.object in common])
    assert float(row("Only cases", "observed")[0]) == pytest.approx(wanted, rel=5e-3)


def test_a_method_that_refuses_most_leaves_the_common_cases_and_is_named():
    scores = [
        dataclasses.replace(s, code="MODEL_FAILED", metrics={}, reliability=None)
        if s.method == "tsdf" and s.object > "c"
        else s
        for s in RESULTS.scores
    ]
    text = table(dataclasses.replace(RESULTS, scores=tuple(scores)), draws=10)
    assert "fewer than half of their cases answered: tsdf" in " ".join(text.split())
    assert row("Only cases", "observed", text)
    assert "| tsdf" in section("Cases answered", text)


def test_nothing_refused_needs_no_common_cases():
    assert "Only cases" not in table(synthetic_scores.results(5, refusals=0.0), draws=10)


def test_methods_are_tested_against_the_reference_and_corrected():
    cells = row("Chamfer mm against carve", "compact")
    assert float(cells[0].split()[0]) < 0 and cells[1].endswith("%") and int(cells[1][:-1]) > 80
    assert cells[2] == "<0.001"
    assert row("Chamfer mm against carve", "observed")[1] == "0 %"
    # 2 metrics, 3 numbers of views, 4 methods beside the reference.
    assert "Holm-corrected over all 24 tests" in " ".join(section("Chamfer mm against carve").split())


def test_higher_is_better_keeps_its_sign():
    assert float(row("F(2 %) % against carve", "compact")[0].split()[0]) > 0
    shown = shown_difference(quantity("f_2pct"), Estimate(-2.0, -3.0, -1.0, 9))
    assert (shown.value, shown.low, shown.high) == (2.0, 1.0, 3.0)


def test_another_reference_and_none_at_all():
    assert "against observed" in table(RESULTS, reference="observed", draws=10)
    assert "against" not in table(RESULTS, reference="nobody", draws=10)


def test_calibration_is_pooled_over_points():
    bins = np.sum([score.reliability for score in RESULTS.group("noisy", 1, "compact")], axis=0)
    wanted = np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum()
    cells = row("Calibration", "compact")
    assert float(cells[0].split()[0]) == pytest.approx(wanted, abs=5e-4)
    assert float(cells[1].rstrip(" %")) > float(cells[2].rstrip(" %")) + 5  # it claims 0.12 too much
    assert len(re.findall(r"^\| \d\.\d\d to", section("Calibration"), re.MULTILINE)) == 15


def test_methods_that_claim_nothing_have_no_calibration():
    assert "| observed" not in section("Calibration")
    assert "Without them: observed, tsdf, truth" in " ".join(section("Confidence").split())


def test_a_metric_known_for_fewer_objects_says_for_how_many():
    scores = list(RESULTS.scores)
    for i, score in enumerate(scores):
        if score.method == "compact" and score.object < "c":
            scores[i] = dataclasses.replace(
                score, metrics={k: v for k, v in score.metrics.items() if k != "chamfer_mm_inferred"}
            )
    few = len({score.object for score in scores if score.object >= "c"})
    text = table(dataclasses.replace(RESULTS, scores=tuple(scores)), draws=50)
    assert row("Distance where", "compact", text)[0].endswith(f"({few})")
    assert not row("Distance where", "observed", text)[0].endswith(")")


def test_tables_line_up_and_fit_a_wide_terminal():
    for block in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        assert len({len(line) for line in block.splitlines()}) == 1
    assert max(map(len, TEXT.splitlines())) <= 160
    assert max(len(line) for line in TEXT.splitlines() if not line.startswith("|")) <= 120


def test_an_evaluation_where_nothing_was_answered_is_told():
    found = synthetic_scores.objects(2)
    scores = tuple(Score(name, "clean", 1, 0, "carve", "MODEL_FAILED", "it fell over") for name in found)
    text = table(Results(RESULTS.protocol, found, scores))
    assert "0 of 2" in text and "MODEL_FAILED 2" in text


def test_same_results_give_the_same_table(tmp_path: Path):
    write_table(RESULTS, tmp_path / "a.md")
    write_table(dataclasses.replace(RESULTS, scores=RESULTS.scores[::-1]), tmp_path / "b.md")
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("chamfer_mm", 12.934, "12.9"),
        ("chamfer_mm", 3.456, "3.46"),
        ("chamfer_mm", 0.0312, "0.03"),
        ("chamfer_mm", -0.0001, "0.00"),
        ("peak_memory_mb", 1234.5, "1234"),
        ("f_2pct", 99.96, "100.0"),
        ("f_2pct", 100.0, "100"),
        ("ece", 0.03251, "0.033"),
        ("ece", np.nan, "-"),
        ("of_another_time", 1.23456, "1.23"),
    ],
)
def test_numbers_have_sensible_digits(name, value, text):
    assert quantity(name).text(value) == text


def test_costs_turn_every_quantity_so_that_lower_is_better():
    assert quantity("chamfer_mm").cost([1.0, 2.0]).tolist() == [1.0, 2.0]
    assert quantity("iou_pct").cost([1.0, 2.0]).tolist() == [-1.0, -2.0]
    assert quantity("coverage90_pct").cost([80.0, 95.0]).tolist() == [10.0, 5.0]
    assert quantity("f_2pct_inferred").better == "higher"


def test_p_values_and_single_objects_are_shown():
    assert [p_text(p) for p in (0.0004, 0.0312, 1.0, np.nan)] == ["<0.001", "0.031", "1.000", "-"]
    assert interval(quantity("chamfer_mm"), Estimate(3.0, np.nan, np.nan, 1)) == "3.00"
    assert aligned(["a", "b"], [["xx", "1"]]) == "| a  | b |\n| :- | : |\n| xx | 1 |"
