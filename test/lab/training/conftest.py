"""Few, small samples, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sparse_recon.lab.training.config import load_training_config
from sparse_recon.lab.training.generate import HELD_OUT
from sparse_recon.lab.training.samples import samples_of
from sparse_recon.lab.training.shards import write_shard
from sparse_recon.machine.processor import torch_threads

SEED = 7


@pytest.fixture(scope="module", autouse=True)  # a folder is no package: that would last to the end of all tests
def one_thread() -> Iterator[None]:
    """Runs of training set the number of threads of their process; tests of nodes compare floats of two processes."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def samples():
    """Three samples of one object."""
    found = list(samples_of(SEED, 12, 3))
    assert len(found) == 3
    return found


@pytest.fixture(scope="session")
def data(tmp_path_factory, samples):
    """A folder of samples, the last of them held out."""
    folder = tmp_path_factory.mktemp("data")
    write_shard(folder / "00000.samples", samples[:2])
    write_shard(folder / HELD_OUT / "00000.samples", samples[2:])
    return folder


@pytest.fixture(scope="session")
def config():
    """A run of seconds."""
    return load_training_config(
        {
            "steps": 4,
            "batch_size": 2,
            "warmup_steps": 1,
            "measure_every": 100,
            "gate_step": 0,
            "threads": 1,
            "model": {"fine_width": 8, "middle_width": 8, "width": 32, "blocks": 1},
        }
    )
