from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")

from published_syncdreamer import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint in the authors' layout, with left-overs."""
    return write_checkpoint(tmp_path_factory.mktemp("syncdreamer") / "syncdreamer-pretrain.ckpt")
