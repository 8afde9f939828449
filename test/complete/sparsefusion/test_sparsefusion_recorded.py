"""The networks and samplers of SparseFusion answer as they did when they were compared with the authors' code.

recorded.json holds sixteen values of each of our answers, every `numel // 16`-th of the flat tensor, for the tiny
files of `published_sparsefusion` and the inputs made here. docs/sparsefusion.md says how far we and the authors' code
differed then.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from published_sparsefusion import TINY, tiny_layout, write_files  # noqa: E402

from sparse_recon.complete.latent.weights import find_weights  # noqa: E402
from sparse_recon.complete.sparsefusion.cameras import ndc_cameras  # noqa: E402
from sparse_recon.complete.sparsefusion.model import SparseFusionModel  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm_samplers import ancestral, multistep  # noqa: E402
from sparse_recon.geometry.poses import look_at  # noqa: E402
from sparse_recon.types import CameraIntrinsics  # noqa: E402

RECORDED = Path(__file__).parent / "recorded.json"
LENS = CameraIntrinsics(32, 32, np.array([[60.0, 0, 14.0], [0, 58.0, 17.0], [0, 0, 1]]))


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answers(folder: Path) -> dict[str, torch.Tensor]:
    """Return what is recorded."""
    model = SparseFusionModel(find_weights(write_files(folder), tiny_layout()).tensors, TINY, "cpu", torch.float32)
    poses = [look_at((8.0, 2.0 * k, 5.0 - k), (0.0, 0.1, 0.0)) for k in range(4)]
    cameras = ndc_cameras(poses, [LENS] * 4)
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    shown = model.shown(pictures, cameras[1:])
    told = model.told(shown, cameras[:1], (4.0, 14.0), 0)
    latents, features = drawn(2, *model.latent_shape, seed=2), drawn(2, 32, 8, 8, seed=3)

    def noise_from(first):
        seeds = iter(range(first, first + 1000))
        return lambda: drawn(2, *model.latent_shape, seed=next(seeds))

    def predict(x, ratio):
        # Random weights alone would drive latents to where they are held.
        return torch.sigmoid(-ratio)[:, None, None, None].sqrt() * x + 0.1 * model.predict_noise(x, ratio, features)

    return {
        "maps": shown.maps,
        "features": told.features,
        "rgb": told.rgb,
        "noise": model.predict_noise(latents, torch.tensor([1.0, -3.0]), features),
        "guided": model.predict_noise(latents, torch.tensor([1.0, -3.0]), features, 2.0),
        "ancestral_10": ancestral(predict, noise_from(100), 10),
        "multistep_from_0.1": multistep(predict, noise_from(200), latents, 0.1),
        "multistep_50": multistep(predict, noise_from(300)),
    }


def some(found: torch.Tensor) -> torch.Tensor:
    return found.detach().flatten()[:: max(1, found.numel() // 16)][:16]


def test_answers_are_those_recorded(tmp_path):
    recorded = json.loads(RECORDED.read_text())
    found = answers(tmp_path)

    assert found.keys() == recorded.keys()
    off = {name: float((some(value) - torch.tensor(recorded[name])).abs().max()) for name, value in found.items()}
    loose = {"ancestral_10": 1e-3, "multistep_from_0.1": 1e-3, "multistep_50": 1e-3}
    assert {name: value for name, value in off.items() if value > loose.get(name, 1e-4)} == {}
