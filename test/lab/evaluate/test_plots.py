"""Plots show what the results hold: every method is named, intervals and counts are right, nothing overlaps."""

import builtins
from pathlib import Path

import numpy as np
import pytest
import synthetic_scores
from PIL import Image

from sparse_recon.errors import DependencyError, ErrorCode, FileError
from sparse_recon.lab.evaluate import plots
from sparse_recon.lab.evaluate.plot_style import apart, looks
from sparse_recon.lab.evaluate.results import Results

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install matplotlib")

RESULTS = synthetic_scores.results(12, methods=("observed", "hull", "carve", "compact", "truth"))


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def pixels(path: Path, color: str) -> int:
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture(path) - wanted).max(axis=2) <= 3).sum())


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return plots.write_plots(RESULTS, tmp_path_factory.mktemp("plots") / "new")


def test_all_plots_are_written_and_wide_enough_to_read(paths: tuple[Path, ...]):
    names = ["error_by_views.png", "inferred_error_by_views.png", "reliability.png", "time_by_error.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        assert Image.open(path).width >= 800


def test_same_results_give_the_same_pixels(paths: tuple[Path, ...], tmp_path: Path):
    plots.error_by_views(Results(RESULTS.protocol, RESULTS.objects, RESULTS.scores[::-1]), tmp_path / "b.png")
    assert np.array_equal(picture(paths[0]), picture(tmp_path / "b.png"))


def test_each_model_has_its_colour_in_every_plot(paths: tuple[Path, ...]):
    styles = looks(["observed", "hull", "carve", "compact", "truth"])
    assert styles["carve"].color != styles["compact"].color
    for path in paths:
        assert min(pixels(path, styles[method].color) for method in ("carve", "compact")) > 300


def test_methods_look_the_same_whoever_else_is_there():
    assert looks(["observed", "tsdf", "hull"])["hull"] == looks(["hull"])["hull"]
    assert list(looks(["truth", "carve", "observed"])) == ["observed", "carve", "truth"]


def test_plots_without_numbers_are_not_written(tmp_path: Path):
    only = synthetic_scores.results(4, methods=("observed",), conditions=("clean",))
    assert plots.reliability(only, tmp_path / "reliability.png") is None
    assert plots.error_by_views(only, tmp_path / "colour.png", "psnr_db") is None
    assert list(tmp_path.iterdir()) == []
    assert len(plots.write_plots(Results(only.protocol, {}, ()), tmp_path)) == 0


def test_one_number_of_views_and_one_object_are_drawn(tmp_path: Path):
    single = synthetic_scores.results(1, methods=("carve",), conditions=("noisy",), views=(1,), refusals=0.0)
    assert len(plots.write_plots(single, tmp_path)) == 4


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written") as refused:
        plots.error_by_views(RESULTS, tmp_path / "file" / "a.png")
    assert refused.value.code == ErrorCode.OUTPUT_UNWRITABLE


def test_a_missing_library_is_told_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match="pip install matplotlib") as refused:
        plots.error_by_views(RESULTS, tmp_path / "a.png")
    assert refused.value.code == ErrorCode.DEPENDENCY_MISSING


def test_labels_are_moved_apart_and_keep_their_order():
    heights = np.array([10.0, 12.0, 11.0, 100.0])
    moved = apart(heights, 15.0)
    assert np.diff(np.sort(moved)).min() >= 15.0 - 1e-9
    assert np.array_equal(np.argsort(moved), np.argsort(heights))
    assert moved[3] == 100.0 and moved[:3].mean() == pytest.approx(11.0)
    assert apart([], 15.0).tolist() == []
