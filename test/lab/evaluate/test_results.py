"""Results come back as they were written, the same bytes each time, and foreign files are refused with a sentence."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import synthetic_scores

from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.lab.evaluate.environment import machine, versions
from sparse_recon.lab.evaluate.results import (
    Results,
    Score,
    by_object,
    differences,
    read_results,
    write_results,
)

SMALL = synthetic_scores.results(4, methods=("observed", "carve"), refusals=0.3)


def changed(results: Results, index: int, **metrics: float) -> Results:
    scores = list(results.scores)
    scores[index] = dataclasses.replace(scores[index], metrics={**scores[index].metrics, **metrics})
    return dataclasses.replace(results, scores=tuple(scores))


def test_results_come_back_as_they_were_written(tmp_path: Path):
    write_results(SMALL, tmp_path / "results.json")
    back = read_results(tmp_path)
    assert back.scores == SMALL.scores
    assert (back.objects, back.versions, back.machine) == (SMALL.objects, SMALL.versions, SMALL.machine)
    assert back.fingerprint() == SMALL.fingerprint()
    assert not differences(back.protocol, SMALL.protocol)


def test_order_of_scores_changes_no_byte(tmp_path: Path):
    write_results(SMALL, tmp_path / "one.json")
    write_results(dataclasses.replace(SMALL, scores=SMALL.scores[::-1]), tmp_path / "other.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_file_is_json_of_the_agreed_names_with_a_line_a_score(tmp_path: Path):
    write_results(SMALL, tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text()
    content = json.loads(text)
    assert set(content) == {"format", "protocol", "versions", "machine", "objects", "scores"}
    assert set(content["scores"][0]) == {f.name for f in dataclasses.fields(Score)}
    assert sum(line.startswith('{"code"') for line in text.splitlines()) == len(SMALL.scores)
    assert "NaN" not in text and content["format"] == 1


def test_metrics_that_are_nan_are_left_out():
    score = Score("mug", "clean", 1, 0, "observed", metrics={"iou_pct": np.nan, "chamfer_mm": np.float32(2.5)})
    assert score.metrics == {"chamfer_mm": 2.5}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"metrics": {"chamfer_mm": np.inf}}, "not finite"),
        ({"timings_s": {"fuse": np.nan}}, "not finite"),
        ({"code": "TIRED"}, "TIRED"),
        ({"reliability": ((1.0, 0.5),)}, "rows of 3"),
    ],
)
def test_scores_that_no_evaluation_makes_are_refused(fields, word):
    with pytest.raises(InputError, match=word) as refused:
        Score("mug", "clean", 1, 0, "carve", **fields)
    assert refused.value.code == ErrorCode.USAGE


def test_fingerprint_tells_measurements_and_not_times_or_versions():
    same = changed(SMALL, 0, seconds=99.0, peak_memory_mb=1.0)
    same = dataclasses.replace(same, versions={"numpy": "9"}, machine={"cpu": "another"})
    assert same.fingerprint() == SMALL.fingerprint()
    assert changed(SMALL, 0, chamfer_mm=1.0).fingerprint() != SMALL.fingerprint()
    other = dataclasses.replace(SMALL, protocol={**SMALL.protocol, "samples": 100})
    assert other.fingerprint() != SMALL.fingerprint()


def test_a_case_scored_twice_and_an_object_without_record_are_refused():
    with pytest.raises(InputError, match="scored twice"):
        dataclasses.replace(SMALL, scores=(*SMALL.scores, SMALL.scores[0]))
    with pytest.raises(InputError, match="mug_00"):
        dataclasses.replace(SMALL, objects={n: o for n, o in SMALL.objects.items() if n != "mug_00"})


def test_groups_hold_every_score_once():
    assert sum(len(scores) for scores in SMALL.groups.values()) == len(SMALL.scores)
    assert {s.method for s in SMALL.group("noisy", 2, "carve")} == {"carve"}
    assert SMALL.group("noisy", 3, "carve") == ()


def test_values_by_object_average_seeds_and_leave_out_refusals():
    scores = [
        Score("mug", "clean", 1, 0, "carve", metrics={"chamfer_mm": 1.0}),
        Score("mug", "clean", 1, 1, "carve", metrics={"chamfer_mm": 3.0}),
        Score("can", "clean", 1, 0, "carve", "OBJECT_TOO_SMALL", "too few points"),
        Score("box", "clean", 1, 0, "carve", metrics={"iou_pct": 50.0}),
    ]
    assert by_object(scores, "chamfer_mm") == {"mug": 2.0}


def test_differences_of_protocols_are_named():
    old, new = {"samples": 1000, "views": (1, 2), "seed": 0}, {"samples": 2000, "views": [1, 2], "extra": True}
    assert differences(old, new) == ["extra: not there -> true", "samples: 1000 -> 2000", "seed: 0 -> not there"]
    assert differences(old, new, ("samples", "seed", "extra")) == []


def broken(content: dict, **changes: object) -> str:
    return json.dumps({**content, **changes})


def test_foreign_files_are_refused_with_what_was_found(tmp_path: Path):
    path = tmp_path / "results.json"
    write_results(SMALL, path)
    content = json.loads(path.read_text())
    first = content["scores"][0]
    cases = {
        "not JSON": "{",
        "NaN": path.read_text().replace('"views":1', '"views":NaN', 1),
        "format 1, found 7": broken(content, format=7),
        "found none": "[]",
        "unknown fields colour": broken(content, colour=1),
        "lacks machine": json.dumps({k: v for k, v in content.items() if k != "machine"}),
        "a score has unknown fields mood": broken(content, scores=[{**first, "mood": 1}]),
        "a score lacks method": broken(content, scores=[{k: v for k, v in first.items() if k != "method"}]),
        "views of a score must be of type int": broken(content, scores=[{**first, "views": "one"}]),
        "no error code is named": broken(content, scores=[{**first, "code": "TIRED"}]),
        "scored twice": broken(content, scores=[first, first]),
        "an object must be": broken(content, objects={"mug": 3}),
    }
    for word, text in cases.items():
        path.write_text(text)
        with pytest.raises(FileError, match=word) as refused:
            read_results(path)
        assert refused.value.code == ErrorCode.INPUT_MISSING
        assert str(path) in refused.value.message


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(FileError, match="nowhere") as refused:
        read_results(tmp_path / "nowhere.json")
    assert refused.value.code == ErrorCode.INPUT_MISSING


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written") as refused:
        write_results(SMALL, tmp_path / "file" / "results.json")
    assert refused.value.code == ErrorCode.OUTPUT_UNWRITABLE


def test_writing_leaves_no_temporary_files(tmp_path: Path):
    for _ in range(2):
        write_results(SMALL, tmp_path / "results.json")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_versions_and_machine_are_named():
    assert {"sparse_recon", "python", "numpy", "open3d"} <= set(versions())
    assert machine()["cores"] >= 1 and machine()["cpu"]
