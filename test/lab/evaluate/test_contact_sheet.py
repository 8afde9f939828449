"""The contact sheet shows the best, median and worst answers that were kept, and says what it leaves out."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import synthetic_scores
import trimesh
from PIL import Image

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.evaluate.cases import Case, make_case
from sparse_recon.lab.evaluate.contact_sheet import Pick, ranked, write_sheet
from sparse_recon.lab.evaluate.examples import INPUT_PX, MAX_FACES, MAX_POINTS, example_path, load_example, save_example
from sparse_recon.lab.evaluate.objects import procedural_objects
from sparse_recon.lab.evaluate.prediction import Prediction
from sparse_recon.lab.evaluate.protocol import Protocol
from sparse_recon.lab.evaluate.results import Results
from sparse_recon.types import TriangleMesh
from sparse_recon.viz.sheet import INFERRED, OBJECT_COLORS, OBSERVED

PROTOCOL = Protocol(views=(1, 4), width_px=160, height_px=120, novel_views=0)


@pytest.fixture(scope="module")
def case() -> Case:
    seen = make_case(procedural_objects(4)[3], "noisy", 0, PROTOCOL)
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.04)
    vertices = np.asarray(ball.vertices + seen.truth.vertices_world.mean(axis=0), np.float32)
    return dataclasses.replace(seen, truth=TriangleMesh(vertices, np.asarray(ball.faces, np.int32)), diameter_m=0.08)


def answer(case: Case, grow: float = 1.0, surface: bool = True) -> Prediction:
    """Return the truth, grown about its middle, with every other point inferred."""
    middle = case.truth.vertices_world.mean(axis=0)
    vertices = ((case.truth.vertices_world - middle) * grow + middle).astype(np.float32)
    mesh = TriangleMesh(vertices, case.truth.faces)
    points = np.asarray(trimesh.Trimesh(vertices, mesh.faces, process=False).sample(3000, seed=0), np.float32)
    return Prediction(mesh if surface else None, points, points[:, 2] < middle[2])


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(image - color).max(axis=2) <= 3).sum())


def kept(folder: Path, case: Case, prediction: Prediction, results: Results) -> None:
    """Keep one answer for every score."""
    for score in results.scores:
        if score.answered:
            wanted = dataclasses.replace(
                case.seen_from(score.views), name=score.object, condition=score.condition, seed=score.seed
            )
            save_example(folder, wanted, prediction)


def test_an_example_comes_back_to_a_hundredth_of_a_millimetre(case: Case, tmp_path: Path):
    prediction = answer(case)
    path = save_example(tmp_path, case.seen_from(1), prediction)
    assert path == example_path(tmp_path, case.name, "noisy", 1, 0)
    back = load_example(path)
    assert np.abs(back.truth.vertices_world - case.truth.vertices_world).max() < 1e-5
    assert np.array_equal(back.truth.faces, case.truth.faces)
    assert np.array_equal(back.points_world, prediction.points_world)
    assert np.array_equal(back.inferred, prediction.inferred) and back.diameter_m == case.diameter_m
    towards = case.frames[0].T_world_cam[:3, 3] - case.truth.vertices_world.mean(axis=0)
    assert np.allclose(back.front_world, towards)


def test_large_answers_are_made_small(case: Case, tmp_path: Path):
    ball = trimesh.creation.icosphere(subdivisions=6, radius=0.05)
    mesh = TriangleMesh(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))
    mesh.faces.setflags(write=False)  # as meshes of a completion are
    points = np.repeat(mesh.vertices_world, 2, axis=0)
    path = save_example(tmp_path, case, Prediction(mesh, points, np.ones(len(points), bool)))
    back = load_example(path)
    assert len(mesh.faces) > 2 * MAX_FACES >= 2 * len(back.surface.faces) > 0
    assert len(back.points_world) == len(back.inferred) == MAX_POINTS
    assert np.abs(np.linalg.norm(back.surface.vertices_world, axis=1) - 0.05).max() < 2e-4
    assert path.stat().st_size < 600_000


def test_inputs_show_the_object_with_its_mask_outlined(case: Case, tmp_path: Path):
    one = load_example(save_example(tmp_path, case.seen_from(1), answer(case))).inputs
    four = load_example(save_example(tmp_path, case.seen_from(4), answer(case))).inputs
    assert one.shape == four.shape == (INPUT_PX, INPUT_PX, 3)
    line = (np.abs(one.astype(int) - OBJECT_COLORS[1]).max(axis=2) < 60).nonzero()
    assert len(line[0]) > 100 and min(np.ptp(line[0]), np.ptp(line[1])) > 0.3 * INPUT_PX
    assert (four[INPUT_PX // 2 - 2 : INPUT_PX // 2] == 255).all() and not np.array_equal(one, four)


def test_answers_without_surface_or_points_are_kept(case: Case, tmp_path: Path):
    nothing = Prediction(None, np.zeros((0, 3), np.float32), np.zeros(0, bool))
    assert load_example(save_example(tmp_path, case, answer(case, surface=False))).surface is None
    assert len(load_example(save_example(tmp_path, case, nothing)).points_world) == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"hello"])
def test_a_broken_example_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(FileError, match=r"broken\.npz holds no example") as refused:
        load_example(tmp_path / "broken.npz")
    assert refused.value.code == ErrorCode.INPUT_MISSING


def test_an_example_of_something_else_is_refused(tmp_path: Path):
    np.savez(tmp_path / "other.npz", format=np.array(9))
    with pytest.raises(FileError, match="format 9"):
        load_example(tmp_path / "other.npz")
    with pytest.raises(FileError, match="nowhere"):
        load_example(tmp_path / "nowhere.npz")


def groups(picks: list[Pick]) -> list[str]:
    return [pick.group for pick in picks]


def test_best_median_and_worst_are_chosen_once_each():
    results = synthetic_scores.results(20, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
    picks = ranked(results.scores, "chamfer_pct_inferred")
    values = sorted(score.metrics["chamfer_pct_inferred"] for score in results.scores)
    assert groups(picks) == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
    assert [pick.rank for pick in picks] == [1, 2, 3, 9, 10, 11, 18, 19, 20]
    assert [pick.score.metrics["chamfer_pct_inferred"] for pick in picks] == [values[pick.rank - 1] for pick in picks]


@pytest.mark.parametrize(("count", "best"), [(1, 1), (2, 2), (4, 3), (5, 3), (8, 3)])
def test_few_objects_are_shown_once(count: int, best: int):
    results = synthetic_scores.results(count, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
    picks = ranked(results.scores, "chamfer_pct")
    assert [pick.rank for pick in picks] == list(range(1, count + 1))
    assert groups(picks).count("best") == best


def test_higher_is_better_turns_the_order():
    results = synthetic_scores.results(9, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
    values = [pick.score.metrics["f_2pct"] for pick in ranked(results.scores, "f_2pct")]
    assert values == sorted(values, reverse=True)


def test_every_object_adds_a_row_of_what_was_seen_and_what_was_inferred(case: Case, tmp_path: Path):
    heights = {}
    for count in (1, 2):
        results = synthetic_scores.results(count, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
        kept(tmp_path / str(count), case, answer(case), results)
        path = write_sheet(results, "carve", tmp_path / str(count), tmp_path / f"{count}.png")
        image = picture(path)
        heights[count] = image.shape[0]
        for color in (OBSERVED, INFERRED):
            assert near(image[140:], color) > count * 1500
    assert heights[2] - heights[1] > INPUT_PX


def test_errors_have_the_colours_of_the_scale(case: Case, tmp_path: Path):
    results = synthetic_scores.results(1, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
    exact, worst = (253, 231, 37), (68, 1, 84)
    counts = []
    for grow in (1.0, 1.4):
        kept(tmp_path / "examples", case, answer(case, grow), results)
        image = picture(write_sheet(results, "carve", tmp_path / "examples", tmp_path / "sheet.png"))[140:]
        counts.append((near(image, exact), near(image, worst)))
    (right, none), (few, wrong) = counts
    assert right > 5000 and none < 100
    assert wrong > 2000 and few < 0.2 * right


def test_nothing_kept_draws_nothing(tmp_path: Path):
    results = synthetic_scores.results(3, methods=("carve",))
    assert write_sheet(results, "carve", tmp_path / "examples", tmp_path / "sheet.png") is None
    assert write_sheet(results, "nobody", tmp_path / "examples", tmp_path / "sheet.png") is None
    assert list(tmp_path.iterdir()) == []


def test_point_answers_and_empty_ones_are_drawn(case: Case, tmp_path: Path):
    results = synthetic_scores.results(2, methods=("observed",), conditions=("clean",), views=(1,))
    first, second = results.scores
    for score, prediction in (
        (first, answer(case, surface=False)),
        (second, Prediction(None, np.zeros((0, 3), np.float32), np.zeros(0, bool))),
    ):
        save_example(tmp_path, dataclasses.replace(case.seen_from(1), name=score.object, condition="clean"), prediction)
    assert write_sheet(results, "observed", tmp_path, tmp_path / "sheet.png").is_file()


def test_refused_and_lost_answers_are_named_below(case: Case, tmp_path: Path):
    results = synthetic_scores.results(2, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
    kept(tmp_path / "examples", case, answer(case), results)
    whole = picture(write_sheet(results, "carve", tmp_path / "examples", tmp_path / "whole.png"))
    scores = list(results.scores)
    scores[0] = dataclasses.replace(scores[0], code="OBJECT_TOO_SMALL", metrics={}, reliability=None)
    refused = dataclasses.replace(results, scores=tuple(scores))
    part = picture(write_sheet(refused, "carve", tmp_path / "examples", tmp_path / "part.png"))
    assert whole.shape[0] - part.shape[0] == INPUT_PX + 34 + 10 - 24  # a row less, a line more
    assert (part[-40:].min(axis=2) < 160).sum() > 100
