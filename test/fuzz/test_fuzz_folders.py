"""Damaged folders of frames, and damaged messages of Foxglove, are read as far as they go, or refused by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from bags import layouts
from bags.test_foxglove import record
from fuzz.bag_bytes import MEGABYTE, frames_of, good_frames
from fuzz.ingest_world import memory_growth
from fuzz.wild_messages import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processor_time import processor_time_below

from sparse_recon.bags.folders import open_folder
from sparse_recon.errors import SparseReconError

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ANSWER_S = 5.0
WRITERS = {
    "tum": layouts.tum,
    "nerfstudio": layouts.nerfstudio,
    "bop": layouts.bop,
    "scannet": layouts.scannet,
    "3dmatch": layouts.seven_scenes,
    "colmap": layouts.colmap,
    "colmap binary": lambda path, frames: layouts.colmap(path, frames, binary=True, depth="stereo"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a sound folder of each layout."""
    return {name: write(tmp_path_factory.mktemp("sound"), good_frames()) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def foxglove(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a recording of Foxglove's schemas in each encoding."""
    folder = tmp_path_factory.mktemp("foxglove")
    return {name: record(folder / name, good_frames(), name).read_bytes() for name in ("protobuf", "json", "cdr")}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave thousands of warnings about damaged files out of the report."""
    log = logging.getLogger("sparse_recon")
    log.propagate = False
    yield
    log.propagate = True


@settings(SEEDED, max_examples=100)
@given(st.sampled_from(sorted(WRITERS)), st.data())
def test_any_file_of_a_folder_is_read_or_refused(folders, name, data):
    file = data.draw(st.sampled_from(sorted(path for path in folders[name].rglob("*") if path.is_file())))
    sound = file.read_bytes()
    file.write_bytes(data.draw(mutated(sound)))
    try:
        with processor_time_below(ANSWER_S), memory_growth() as growth:
            frames = list(open_folder(folders[name], layout=name.split()[0], pose_unit_m=1.0))
        assert all(frame.rgb.ndim == 3 for frame in frames)
        assert growth[0] < 100 * MEGABYTE
    except SparseReconError as error:
        assert error.message
    finally:
        file.write_bytes(sound)


@settings(SEEDED, max_examples=40)
@given(st.sampled_from(["protobuf", "json", "cdr"]), st.data())
def test_any_bytes_of_foxglove_are_read_or_refused(foxglove, tmp_path_factory, encoding, data):
    path = tmp_path_factory.mktemp("damaged") / "fox.mcap"
    path.write_bytes(data.draw(mutated(foxglove[encoding])))
    with processor_time_below(ANSWER_S), memory_growth() as growth:
        frames, _ = frames_of(path)
    assert growth[0] < 100 * MEGABYTE
    assert all(frame.rgb.shape == (48, 64, 3) for frame in frames)
