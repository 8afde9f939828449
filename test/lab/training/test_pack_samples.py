"""Shapes of a pack are learned from by kind, at their true size, and some never are."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest

from sparse_recon.cli.main import main
from sparse_recon.errors import FileError
from sparse_recon.lab.training import scans
from sparse_recon.lab.training.config import DataConfig
from sparse_recon.lab.training.generate import HELD_OUT, SHAPE_PREFIX, generate, shard_count
from sparse_recon.lab.training.pack import HELD_OUT_SOURCES, draw_packed, packed_shapes
from sparse_recon.lab.training.scans import LARGEST, PACK_FAMILY, SMALLEST, draw_shape
from sparse_recon.lab.training.shards import list_samples, shard_paths

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * 65535
FACES = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4]]
FACES += [[1, 5, 7], [1, 7, 3]]
COLUMNS = ("name", "shard", "index", "category", "source", "tabletop", "suggested_longest_m")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """64 boxes, 4 mugs and a chair of somebody whose things are held out; all of them cubes."""
    folder = tmp_path_factory.mktemp("pack")
    rows = [(f"box_{k}", "cc0", 0, "box", "maker", 1, 0.1) for k in range(64)]
    rows += [(f"mug_{k}", "cc0", 0, "mug", "maker", 1, 0.3) for k in range(4)]
    rows += [("chair", "cc0", 0, "chair", HELD_OUT_SOURCES[0], 0, 0.4)]
    faces = np.array(FACES, np.uint16)
    offsets = {"vertex_offsets": np.array([0, 8]), "face_offsets": np.array([0, 12])}
    np.savez(folder / "cc0.npz", vertices=CORNERS.astype(np.uint16), faces=faces, **offsets)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return packed_shapes(folder, ("cc0",))


def test_rare_kinds_are_drawn_often(shapes):
    rng = np.random.default_rng(0)
    tabletop = [s for s in shapes if s.tabletop]
    drawn = Counter(draw_packed(rng, tabletop).category for _ in range(1000))
    assert drawn["box"] / drawn["mug"] == pytest.approx(4, rel=0.3)  # roots of 64 and 4
    assert len({draw_packed(rng, tabletop).name for _ in range(1000)}) > 60


def test_a_shape_has_the_size_that_the_list_says(shapes):
    mugs = [s for s in shapes if s.category == "mug"]
    made = [draw_shape(np.random.default_rng(seed), mugs) for seed in range(10)]
    assert all(SMALLEST * 0.3 <= m.size_m <= LARGEST * 0.3 for m in made)
    assert {m.family for m in made} == {f"{PACK_FAMILY}: mug"}


def test_what_is_held_out_is_never_learned_from(shapes):
    kept_out = {s.name for s in shapes if s.held_out(16)}
    assert "chair" in kept_out
    assert 1 < len(kept_out) < 15
    assert kept_out == {s.name for s in shapes[::-1] if s.held_out(16)}


def test_shards_of_shapes_lie_beside_procedural_ones_on_both_sides(shapes, tmp_path):
    sizes = {"objects_per_shard": 1, "samples_per_object": 1, "held_out_objects": 1, "held_out_shapes": 2}
    config = DataConfig(**sizes, shards=1, shape_shards=3)
    assert shard_count(config, (), shapes) == 1 + 2 + 1 + 3
    assert generate(tmp_path, config, shapes=shapes) >= 5
    for folder, count in ((tmp_path, 3), (tmp_path / HELD_OUT, 2)):
        paths = shard_paths(folder)
        assert sum(path.name.startswith(SHAPE_PREFIX) for path in paths) == count
        families = [s.family for s in list_samples(paths)]
        assert any(f.startswith(PACK_FAMILY) for f in families)
    assert generate(tmp_path, config, shapes=shapes) == 0


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (("", "cc0", 0, "box", "maker", 1, 0.1), "has no name"),
        (("a", "cc0", 0, "box", "maker", "yes", 0.1), "tabletop of a"),
        (("a", "cc0", 0, "box", "maker", "", 0.1), "tabletop of a"),
        (("a", "cc0", 0, "box", "maker", 1, "nan"), "suggested_longest_m of a"),
        (("a", "cc0", 0, "box", "maker", 1, "inf"), "suggested_longest_m of a"),
        (("a", "cc0", 0, "box", "maker", 1, -0.2), "suggested_longest_m of a"),
    ],
)
def test_a_row_that_cannot_be_is_told(tmp_path, row, word):
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, row])
    with pytest.raises(FileError, match=word):
        packed_shapes(tmp_path, ("cc0",))


def test_fields_of_a_pack_do_not_fill_the_memory(shapes, monkeypatch):
    monkeypatch.setattr(scans, "FINEST", 8)
    scans._packed_field.cache_clear()
    for shape in shapes[:20]:
        scans.unit_field(shape)
    assert scans._packed_field.cache_info().currsize == 16
    scans._packed_field.cache_clear()  # of coarse ones


def test_a_pack_without_files_to_make_of_it_and_files_without_a_pack_are_refused(shapes, tmp_path, capsys):
    begun = ["train", "--generate", "--data", str(tmp_path / "data")]
    assert main([*begun, "--shapes", str(shapes[0].folder)]) != 0
    assert "set data.shape_shards to" in capsys.readouterr().err
    assert main([*begun, "--set", "data.shape_shards=3"]) != 0
    assert "--shapes DIR" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
