"""Damaged recordings are read as far as they go, or refused with a code and a sentence; soon, and in bounds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: make setup")

from fuzz.bag_bytes import MEGABYTE, frames_of, good_frames, rewritten, stock_mcap
from fuzz.ingest_world import memory_growth
from fuzz.wild_messages import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processor_time import processor_time_below

from sparse_recon.bags.frames_bag import write_frames
from sparse_recon.bags.reader import Bag
from sparse_recon.errors import SparseReconError

SEEDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
ANSWER_S = 5.0
KINDS = ("mcap", "chunks.mcap", "zstd.mcap", "lz4.mcap", "db3", "mcap.zstd", "db3.zstd", "yaml", "messages.db3")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the bytes of one file of each kind."""
    folder = tmp_path_factory.mktemp("recordings")
    for storage in ("mcap", "sqlite3"):
        write_frames(good_frames(), folder / storage, world_frame="world", storage=storage, compressed=True)
    source = folder / "mcap"
    files = {
        "mcap": source / "mcap.mcap",
        "db3": folder / "sqlite3" / "sqlite3.db3",
        "chunks.mcap": stock_mcap(source, folder / "chunks.mcap", "none"),
        "zstd.mcap": stock_mcap(source, folder / "zstd.mcap", "zstd"),
        "lz4.mcap": stock_mcap(source, folder / "lz4.mcap", "lz4"),
        "mcap.zstd": next(rewritten(source, folder / "packed", "FILE").glob("*.zstd")),
        "db3.zstd": next(rewritten(source, folder / "packed_db3", "FILE", "SQLITE3").glob("*.zstd")),
        "messages.db3": next(rewritten(source, folder / "messages", "MESSAGE", "SQLITE3").glob("*.db3")),
        "yaml": source / "metadata.yaml",
    }
    return {kind: files[kind].read_bytes() for kind in KINDS}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave thousands of warnings about damaged messages out of the report."""
    log = logging.getLogger("sparse_recon")
    log.propagate = False
    yield
    log.propagate = True


def written(folder: Path, kind: str, data: bytes, recordings: dict[str, bytes]) -> Path:
    """Write a file of its kind, or a sound recording with these metadata."""
    if kind != "yaml":
        path = folder / f"bag.{kind}"
        path.write_bytes(data)
        return path
    bag = folder / "bag"
    bag.mkdir(exist_ok=True)
    (bag / "mcap.mcap").write_bytes(recordings["mcap"])
    (bag / "metadata.yaml").write_bytes(data)
    return bag


@settings(SEEDED, max_examples=120)
@given(st.sampled_from(KINDS), st.data())
def test_any_bytes_are_read_or_refused(recordings, tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = written(folder, kind, data.draw(mutated(recordings[kind])), recordings)
    with processor_time_below(ANSWER_S), memory_growth() as growth:
        frames, _ = frames_of(path)
    assert growth[0] < 100 * MEGABYTE
    assert all(frame.rgb.shape == (48, 64, 3) for frame in frames)


@settings(SEEDED, max_examples=40)
@given(st.sampled_from(["mcap", "db3"]), st.data())
def test_all_messages_of_any_bytes_are_decoded_or_left_out(recordings, tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = written(folder, kind, data.draw(mutated(recordings[kind])), recordings)
    try:
        with Bag(path) as bag:
            count = sum(1 for _ in bag.messages(bag.types))
            assert count <= 30
    except SparseReconError as error:
        assert error.message
