"""The way from right pictures to geometry: what is wrong beyond this is the network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from sparse_recon.complete.registry import COMPLETERS
from sparse_recon.lab.evaluate.cases import Case, make_case
from sparse_recon.lab.evaluate.objects import procedural_objects
from sparse_recon.lab.evaluate.protocol import Protocol

PATH = Path(__file__).parents[2] / "benchmarks" / "oracle_views.py"
SMALL = {"fit.iterations": 120, "fit.grid": 48, "fit.rays": 1600, "fit.views": 6, "evidence.grid": 48}


@pytest.fixture(scope="module")
def oracle_views() -> ModuleType:
    spec = importlib.util.spec_from_file_location("oracle_views", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["oracle_views"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def case() -> Case:
    protocol = Protocol(views=(1, 2), width_px=320, height_px=240, novel_views=0, distance_far_m=0.6)
    return make_case(procedural_objects(1)[0], "clean", 0, protocol)


def test_right_pictures_become_right_geometry_also_where_the_set_is_drawn_too_large(oracle_views, case, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "syncdreamer", "")  # put back what `completed` sets
    true, _ = oracle_views.completed(case, "syncdreamer", 1, SMALL)
    assert oracle_views.figures(true, case.truth)["f_2pct"] > 0.95

    placed, left = (
        oracle_views.figures(
            oracle_views.completed(case, "syncdreamer", 1, SMALL | {"syncdreamer.align": align}, scale=1.15)[0],
            case.truth,
        )
        for align in (True, False)
    )
    assert placed["f_2pct"] > 0.95 and placed["chamfer_mm"] < 0.85 * left["chamfer_mm"]


def test_a_ring_of_right_views_becomes_right_geometry_and_colours(oracle_views, case, monkeypatch):
    monkeypatch.setitem(COMPLETERS, "sparsefusion", "")
    result, took = oracle_views.completed(case, "sparsefusion", 2, SMALL)
    assert oracle_views.figures(result, case.truth)["f_2pct"] > 0.95
    assert took["held_out_db"] > 20
