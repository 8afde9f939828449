"""Shards give back what was put in, and damaged ones are refused."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_recon.errors import ErrorCode, FileError
from sparse_recon.lab.training.shards import list_samples, read_sample, write_shard


@pytest.fixture
def shard(tmp_path, samples):
    write_shard(tmp_path / "00000.samples", samples[:2])
    return tmp_path / "00000.samples"


def test_round_trip(shard, samples):
    stored = list_samples([shard])
    assert len(stored) == 2
    for entry, sample in zip(stored, samples, strict=False):
        read = read_sample(entry)
        assert np.array_equal(read.volumes, sample.volumes)
        assert np.array_equal(read.target, sample.target)
        assert np.array_equal(read.scalars, sample.scalars)
        assert (read.family, read.number) == (sample.family, 12)


def test_nothing_else_is_left_in_the_folder(shard):
    assert [p.name for p in shard.parent.iterdir()] == [shard.name]


def test_cut_off_shard(shard):
    data = shard.read_bytes()
    stored = list_samples([shard])
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileError, match="generate it again") as caught:
        read_sample(stored[1])
    assert caught.value.code == ErrorCode.INPUT_MISSING


def test_shard_of_another_version(shard):
    shard.write_bytes(shard.read_bytes().replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(FileError, match="this version"):
        list_samples([shard])


def test_file_that_is_no_shard(tmp_path):
    (tmp_path / "x.samples").write_bytes(b"\xff" * 100)
    with pytest.raises(FileError, match="this version"):
        list_samples([tmp_path / "x.samples"])


def test_folder_that_cannot_be_written(tmp_path, samples):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError) as caught:
        write_shard(tmp_path / "file" / "00000.samples", samples[:1])
    assert caught.value.code == ErrorCode.OUTPUT_UNWRITABLE
