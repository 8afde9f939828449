"""An evaluation runs, stops, goes on, and gives the same numbers whatever the order of work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trimesh

from sparse_recon.config.session_config import load_config
from sparse_recon.errors import ErrorCode, FileError, InputError
from sparse_recon.lab.evaluate.objects import folder_objects, procedural_objects
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.results import Results, Score
from sparse_recon.lab.evaluate.runner import Study, evaluate
from sparse_recon.lab.evaluate.store import FILE_NAME

SMALL = {"width_px": 160, "height_px": 120, "samples": 1000, "volume_samples": 2000, "novel_views": 1}
STUDY = Study(
    procedural_objects(2),
    Protocol(views=(1, 2), conditions=("mild",), distance_far_m=0.5, **SMALL),  # type: ignore[arg-type]
    ("observed", "carve", "truth"),
)
CHEAP = replace(STUDY, methods=("observed", "hull", "truth"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return evaluate(CHEAP, tmp_path_factory.mktemp("cheap"))[0]


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return evaluate(STUDY, folder)[0]


def score_of(results: Results, method: str, views: int = 1) -> Score:
    return results.group("mild", views, method)[0]


def test_every_case_is_scored_once(results: Results):
    assert len(results.scores) == 2 * 2 * 3
    assert all(score.answered for score in results.scores), [s.message for s in results.scores]


def test_truth_is_perfect_and_all_others_are_not(results: Results):
    truth = score_of(results, "truth").metrics
    assert truth["chamfer_mm"] == pytest.approx(0.0, abs=1e-3)
    assert (truth["iou_pct"], truth["f_2pct"], truth["in_empty_pct"]) == (100.0, 100.0, 0.0)
    assert (truth["missed_pct"], truth["wasted_pct"]) == (0.0, 0.0)
    for method in ("observed", "carve"):
        assert score_of(results, method).metrics["chamfer_mm"] > 0.3


def test_scores_hold_what_a_method_can_be_asked(results: Results):
    observed, carve = score_of(results, "observed"), score_of(results, "carve")
    assert "iou_pct" not in observed.metrics and observed.reliability is None
    assert {"iou_pct", "ece", "coverage90_pct", "psnr_db", "in_empty_conservative_pct"} <= set(carve.metrics)
    assert carve.reliability is not None and sum(row[0] for row in carve.reliability) > 100
    assert carve.metrics["peak_memory_mb"] > 50 and carve.metrics["seconds"] > 0
    assert observed.metrics["chamfer_mm_inferred"] > observed.metrics["chamfer_mm_observed"]


def test_completing_beats_the_measured_points_where_nobody_looked(results: Results):
    for i in (0, 1):
        observed, carve = (results.group("mild", 1, name)[i].metrics for name in ("observed", "carve"))
        assert carve["chamfer_mm_inferred"] < observed["chamfer_mm_inferred"]


def test_a_finished_evaluation_is_not_done_again(results: Results, folder: Path):
    scored: list[Score] = []
    again, _ = evaluate(STUDY, folder, on_score=lambda score, done, wanted: scored.append(score))
    assert scored == [] and again.fingerprint() == results.fingerprint()


def test_processes_give_what_one_gives(cheap: Results, tmp_path: Path):
    done: list[tuple[int, int]] = []
    parallel, _ = evaluate(CHEAP, tmp_path, jobs=2, on_score=lambda score, i, n: done.append((i, n)))
    assert parallel.fingerprint() == cheap.fingerprint()
    assert done == [(i, 12) for i in range(1, 13)]


def test_a_stopped_evaluation_goes_on_where_it_was(cheap: Results, tmp_path: Path):
    def stop(score: Score, done: int, wanted: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(CHEAP, tmp_path, on_score=stop)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"object": "bott')  # as a killed run leaves its last line
    done: list[int] = []
    rest, _ = evaluate(CHEAP, tmp_path, on_score=lambda score, i, n: done.append(i))
    assert done == list(range(6, 13)) and rest.fingerprint() == cheap.fingerprint()


def test_another_protocol_does_not_go_on_in_the_same_folder(results: Results, folder: Path):
    other = replace(STUDY, protocol=replace(STUDY.protocol, samples=1001))
    with pytest.raises(FileError, match="samples") as caught:
        evaluate(other, folder)
    assert caught.value.code == ErrorCode.USAGE


def test_a_method_that_refuses_is_scored_with_its_reason(tmp_path: Path):
    config = load_config({"segment.min_points": 100_000})
    study = replace(STUDY, objects=STUDY.objects[:1], methods=("carve",), config=config)
    results, _ = evaluate(study, tmp_path)
    assert {s.code for s in results.scores} == {"OBJECT_TOO_SMALL"}
    assert all("point" in s.message for s in results.scores)


def test_a_mesh_that_is_not_closed_is_measured_without_volumes(tmp_path: Path):
    meshes = tmp_path / "meshes"
    meshes.mkdir()
    box = trimesh.creation.box((0.08, 0.06, 0.1))
    box.update_faces(box.face_normals[:, 2] > -0.5)  # no bottom
    box.export(meshes / "open_box.ply")
    study = replace(STUDY, objects=folder_objects(meshes), methods=("hull",))
    results, warnings = evaluate(study, tmp_path / "out")
    assert any("open_box is not watertight" in warning for warning in warnings)
    assert all("chamfer_mm" in s.metrics and "iou_pct" not in s.metrics for s in results.scores)


def test_a_mesh_without_area_is_refused_before_anything_is_run(tmp_path: Path):
    (tmp_path / "flat.ply").write_bytes(
        trimesh.Trimesh([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]], [[0, 1, 2]], process=False).export(file_type="ply")
    )
    with pytest.raises(InputError, match="flat") as caught:
        evaluate(replace(STUDY, objects=folder_objects(tmp_path)), tmp_path / "out")
    assert caught.value.code == ErrorCode.MESH_INVALID
    assert not (tmp_path / "out").exists()
