"""The mini weights that ship: a session completes with them, and pictures on black go through their autoencoder."""

from __future__ import annotations

import numpy as np
import pytest

for library in ("torch", "diffusers", "transformers"):
    pytest.importorskip(library)

import torch  # noqa: E402
from scenes import recording  # noqa: E402
from sessions import session_of  # noqa: E402

from sparse_recon.complete.latent.mini import mini_path  # noqa: E402
from sparse_recon.complete.sparsefusion.model import SparseFusionModel  # noqa: E402
from sparse_recon.complete.sparsefusion.weights import MINI_FILE, mini  # noqa: E402
from sparse_recon.config.session_config import load_config  # noqa: E402
from sparse_recon.errors import ErrorCode, ModelError  # noqa: E402
from sparse_recon.requests import CompletionRequest  # noqa: E402
from sparse_recon.types import Provenance  # noqa: E402

SMALL = {
    "model": "sparsefusion",
    "sparsefusion.weights": "mini",
    "sparsefusion.views": 10,
    "sparsefusion.steps": 15,
    "sparsefusion.device": "cpu",
    "sparsefusion.precision": "fp32",
    "evidence.grid": 40,
    "evidence.fine_voxel_m": 0.0025,
    "fit.iterations": 10,
    "fit.rays": 400,
    "fit.grid": 32,
    "fit.views": 4,
}


@pytest.mark.parametrize("generator", ["vldm", "eft"])
def test_a_session_completes_with_them_and_says_what_they_are(generator):
    config = load_config({**SMALL, "sparsefusion.generator": generator})
    result = session_of(recording().frames, config).complete(CompletionRequest())

    assert result.model == "sparsefusion" and result.quality.free_space_violation == 0
    assert set(result.provenance.tolist()) == {Provenance.OBSERVED, Provenance.INFERRED}
    assert any("mini" in warning for warning in result.quality.warnings)


def test_a_field_is_distilled_with_them():
    config = load_config(
        {**SMALL, "sparsefusion.geometry": "distill", "sparsefusion.iterations": 3, "distill.grid": 32}
    )
    result = session_of(recording().frames, config).complete(CompletionRequest())
    assert result.quality.free_space_violation == 0 and any("mini" in w for w in result.quality.warnings)


def test_pictures_on_black_come_back_from_their_autoencoder():
    size, tensors = mini()
    model = SparseFusionModel(tensors, size, "cpu", torch.float32)
    picture = np.zeros((size.image_side, size.image_side, 3), np.float32)
    picture[18:48, 14:50] = (0.7, 0.3, 0.2)
    images = torch.from_numpy(picture).permute(2, 0, 1)[None]

    back = model.decode_latents(model.encoded(images))[0].permute(1, 2, 0).numpy()

    error = np.abs(back - picture)
    assert error[:8].mean() < 0.02 and error[22:44, 18:46].mean() < 0.08


def test_the_file_is_small_and_the_error_without_weights_names_them():
    assert mini_path(MINI_FILE).stat().st_size < 10_000_000
    with pytest.raises(ModelError, match=r"sparsefusion\.weights: mini") as caught:
        config = load_config({**SMALL, "sparsefusion.weights": ""})
        session_of(recording().frames, config).complete(CompletionRequest())
    assert caught.value.code is ErrorCode.MODEL_WEIGHTS_MISSING
