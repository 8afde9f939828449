from __future__ import annotations

from pathlib import Path

import pytest
from published_zero123 import TINY, write_checkpoint

pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint in the authors' layout, with moving averages and left-overs."""
    return write_checkpoint(tmp_path_factory.mktemp("zero123") / "105000.ckpt")


@pytest.fixture(scope="session")
def model(checkpoint: Path):
    """The model with the raw weights of `checkpoint`, in single precision."""
    import torch

    from sparse_recon.complete.latent.weights import find_weights
    from sparse_recon.complete.zero123.model import Zero123Model
    from sparse_recon.complete.zero123.weights import layout

    found = find_weights(checkpoint, layout(TINY), averaged=False)
    return Zero123Model(found.tensors, TINY, "cpu", torch.float32)
