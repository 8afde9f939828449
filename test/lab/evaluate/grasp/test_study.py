"""A small study from cameras to table: real methods, real trials, and the same again when it goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import solids
import trimesh
from PIL import Image

from sparse_recon.lab.evaluate.cases import make_case
from sparse_recon.lab.evaluate.grasp.attempt import EXCLUDED, EXCLUSION, FALLBACK, OUTCOME, SUCCESS, GraspCase
from sparse_recon.lab.evaluate.grasp.examples import write_examples
from sparse_recon.lab.evaluate.grasp.report import table, write_report
from sparse_recon.lab.evaluate.grasp.study import run_study
from sparse_recon.lab.evaluate.grasp.trial import Outcome
from sparse_recon.lab.evaluate.methods import Contestant
from sparse_recon.lab.evaluate.objects import folder_objects
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.results import Results
from sparse_recon.lab.evaluate.runner import Study

METHODS = ("observed", "truth")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A box that can be grasped, one that is wider than the jaw, and a pole that leans and falls."""
    pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install .[sim]")
    pytest.importorskip("coacd", reason="CoACD is not installed: pip install coacd")
    folder = tmp_path_factory.mktemp("objects")
    turned = trimesh.transformations.rotation_matrix(np.deg2rad(30.0), [0, 1, 0])
    for name, size, T in (
        ("small", (0.05, 0.10, 0.08), np.eye(4)),
        ("wide", (0.12, 0.12, 0.12), np.eye(4)),
        ("leaning", (0.03, 0.03, 0.12), turned),
    ):
        mesh = trimesh.creation.box(size).subdivide().subdivide()
        mesh.apply_transform(T)
        mesh.export(folder / f"{name}.ply")
    protocol = Protocol.of({"views": [1], "conditions": ["clean"], "width_px": 240, "height_px": 180})
    return Study(folder_objects(folder), protocol, METHODS)


@pytest.fixture(scope="module")
def done(study, tmp_path_factory) -> tuple[Results, object]:
    folder = tmp_path_factory.mktemp("study")
    return run_study(study, folder), folder


def test_the_truth_succeeds_where_the_case_counts(done):
    results, _ = done
    (truth,) = (s for s in results.group("clean", 1, "truth") if s.object == "small")
    assert truth.metrics[SUCCESS] == 1.0 and truth.metrics[OUTCOME] == Outcome.SUCCESS


def test_cases_that_say_nothing_about_methods_are_excluded_for_all(done):
    results, _ = done
    found = {(s.object, s.method): s.metrics.get(EXCLUSION) for s in results.scores}
    assert {found["wide", m] for m in METHODS} == {1.0}
    assert {found["leaning", m] for m in METHODS} == {2.0}
    assert {found["small", m] for m in METHODS} == {None}
    assert {s.message for s in results.scores if s.object == "wide"} == {EXCLUDED[1]}


def test_all_methods_grasp_with_the_same_mass_and_friction(done):
    results, _ = done
    drawn = {(s.metrics["mass_kg"], s.metrics["friction"]) for s in results.scores if s.object == "small"}
    assert len(drawn) == 1


def test_a_study_that_is_done_runs_nothing_and_gives_the_same(study, done):
    results, folder = done
    ran = []
    again = run_study(study, folder, on_score=lambda *score: ran.append(score))
    assert not ran
    assert again.fingerprint() == results.fingerprint()


def test_another_run_agrees_to_the_last_bit(study, done, tmp_path):
    results, folder = done
    assert run_study(study, tmp_path, cache=folder / "parts").fingerprint() == results.fingerprint()


def test_the_table_says_how_it_was_measured(done):
    text = table(done[0])
    assert "antipodal grasps on 2000 points" in text and "1 view" in text
    assert "1 because no grasp is found on the true object itself" in text.replace("\n", " ")
    assert any(line.startswith("| truth") and "100.0 % [20.7 %, 100.0 %]" in line for line in text.splitlines())


def test_results_table_and_pictures_are_written(study, done, tmp_path):
    results, folder = done
    names = {path.name for path in write_report(results, tmp_path)}
    assert {"results.json", "table.md"} <= names
    pictures = write_examples(study, results, tmp_path, method="truth", cache=folder / "parts")
    assert "grasp_success.png" in {path.name for path in pictures}
    for path in pictures:
        picture = np.asarray(Image.open(path))
        assert picture.shape[1] >= 324 and picture.std() > 10


def test_where_the_conservative_mesh_blocks_all_grasps_the_fallback_gives_it_up(study, done):
    _, folder = done
    case = make_case(study.objects[1], "clean", 0, study.protocol).seen_from(1)
    assert case.name == "small"
    scene = GraspCase(case, folder / "parts")
    truth = Contestant().predict("truth", case)
    low, high = case.truth.vertices_world.min(axis=0), case.truth.vertices_world.max(axis=0)
    blocked = replace(truth, conservative=solids.box((0.25, 0.25, 0.2), (*(low + high)[:2] / 2, 0.1)))
    attempt = scene.attempt(blocked)
    assert attempt.grasp is None and attempt.trial.outcome is Outcome.NO_GRASP
    assert attempt.fallback.outcome is Outcome.SUCCESS
    score = scene.score("truth", attempt, {})
    assert (score.metrics[SUCCESS], score.metrics[FALLBACK]) == (0.0, 1.0)
