from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")

from published_syncdreamer import TINY, tiny_layout, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint in the authors' layout, with left-overs."""
    return write_checkpoint(tmp_path_factory.mktemp("syncdreamer") / "syncdreamer-pretrain.ckpt")


@pytest.fixture(scope="session")
def model(checkpoint: Path):
    """The model with the weights of `checkpoint`, in single precision."""
    import torch

    from sparse_recon.complete.latent.weights import find_weights
    from sparse_recon.complete.syncdreamer.model import SyncDreamerModel

    return SyncDreamerModel(find_weights(checkpoint, tiny_layout()).tensors, TINY, "cpu", torch.float32)
