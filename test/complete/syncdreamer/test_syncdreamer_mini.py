"""The mini weights that ship: a session completes with them."""

from __future__ import annotations

import pytest

for library in ("torch", "diffusers", "transformers"):
    pytest.importorskip(library)

from scenes import recording  # noqa: E402
from sessions import session_of  # noqa: E402

from sparse_recon.complete.latent.mini import mini_path, read_mini  # noqa: E402
from sparse_recon.complete.syncdreamer.weights import MINI_FILE, mini  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402

SMALL = {
    "model": "syncdreamer",
    "syncdreamer.weights": "mini",
    "syncdreamer.steps": 2,
    "syncdreamer.device": "cpu",
    "evidence.grid": 40,
    "evidence.fine_voxel_m": 0.0025,
    "fit.iterations": 10,
    "fit.rays": 400,
    "fit.grid": 32,
    "fit.views": 4,
}


def test_a_session_completes_with_them_and_says_what_they_are():
    result = session_of(recording().frames, load_config(SMALL)).complete(CompletionRequest())

    assert result.model == "syncdreamer" and result.quality.free_space_violation == 0
    assert any("mini" in warning for warning in result.quality.warnings)


def test_the_file_is_small_and_holds_the_cameras_that_it_was_trained_for():
    size, tensors = mini()
    assert size.volume.views == 16 and tensors["cameras.poses"].shape == (16, 3, 4)
    assert mini_path(MINI_FILE).stat().st_size < 15_000_000
    assert read_mini(mini_path("zero123-mini.safetensors")).sizes["unet"] == size.unet


def test_without_weights_the_error_names_them():
    with pytest.raises(ModelError, match=r"syncdreamer\.weights: mini") as caught:
        session_of(recording().frames, load_config({**SMALL, "syncdreamer.weights": ""})).complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING
