"""The networks of SyncDreamer beside what the authors' code computes with the same weights.

recorded.json holds sixteen values of each of its answers, every `numel // 16`-th of the flat tensor, for the tiny
checkpoint of `published_syncdreamer` and the inputs made here. docs/syncdreamer.md says how far full size agrees.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.syncdreamer.network import Conditions  # noqa: E402
from sparse_recon.complete.syncdreamer.parameters import SyncDreamerConfig  # noqa: E402
from sparse_recon.complete.syncdreamer.sampling import released_sample  # noqa: E402
from sparse_recon.complete.syncdreamer.unet3d import time_embedding  # noqa: E402

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
ELEVATION_RAD = 0.2


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(name, found):
    some = found.detach().flatten()[:: max(1, found.numel() // 16)][:16]
    return float((some - torch.tensor(RECORDED[name])).abs().max())


@pytest.fixture(scope="module")
def latents():
    return drawn(1, 16, 4, 32, 32, seed=1)


@pytest.fixture(scope="module")
def tokens(model):
    return model.network.view_tokens(torch.tensor([ELEVATION_RAD]))


@pytest.fixture(scope="module")
def time(model):
    return model.network.time_embed(time_embedding(torch.tensor([301]), 32))


@pytest.fixture(scope="module")
def volume(model, latents, time, tokens):
    return model.network.spatial_volume(latents, time, tokens)


@pytest.fixture(scope="module")
def frusta(model, volume, time, tokens):
    return model.network.frustum_volume(volume, time, tokens, torch.tensor([[3, 12]]))


@pytest.fixture(scope="module")
def conditions(model):
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(3)) * 2 - 1
    told = model.conditions(image, ELEVATION_RAD, drawn(1, 4, 32, 32, seed=4))
    # The image tower is that of Zero-1-to-3, and compared there.
    return Conditions(drawn(1, 1, 768, seed=5), told.latents, told.view_tokens)


def test_time_and_views(time, tokens):
    assert error("time", time) < 1e-6 and error("view_tokens", tokens) < 1e-6


def test_encoder_of_noisy_views(model, latents, time, tokens):
    assert error("encoder", model.network.spatial_volume.encoder(latents[:, 5], time, tokens[:, 5])) < 1e-5


def test_features_at_vertices_and_spatial_volume(model, latents, time, tokens, volume):
    assert error("gathered", model.network.spatial_volume.gathered(latents, time, tokens)) < 1e-4
    assert error("spatial_volume", volume) < 1e-4


def test_frustum_volumes(model, volume, frusta):
    assert error("sampled", model.network.frustum_volume.sampled(volume, torch.tensor([[3, 12]]))) < 1e-4
    for level in range(4):
        assert error(f"frustum_{level}", frusta[level]) < 1e-4


@pytest.mark.parametrize("name", ["middle", *(f"decoder.{k}" for k in range(9))])
def test_depth_attention(model, frusta, name):
    module = model.network.depth_attention.get_submodule(name)
    level = next(k for k in range(4) if frusta[k].shape[1] == module.context.in_features and _fits(name, k))
    side = frusta[level].shape[-1]
    x = drawn(2, module.conv_in.in_channels, side, side, seed=7)
    assert error(f"depth_{name}", module(x, frusta[level]) - x) < 1e-4


def _fits(name, level):
    """Levels 1 and 2 of the tiny volumes are equally wide: blocks 0 and 1 see the coarser of them."""
    return level != 2 if name in ("decoder.2", "decoder.3", "decoder.4") else level != 1


def test_latents_of_the_picture_are_a_sample_and_not_scaled(conditions):
    assert error("posterior_sample", conditions.latents) < 1e-4


def test_noise_seen_in_one_view(model, latents, conditions):
    shared = model.network.shared(latents, torch.tensor([301]), conditions)
    view = torch.tensor([[5]])
    with torch.no_grad():
        assert error("unet_view5", model.network.view_noise(latents[:, 5:6], shared, conditions, view)) < 1e-4
        assert error("guided_view5", model.network.view_noise(latents[:, 5:6], shared, conditions, view, 2.0)) < 1e-4


def test_decoded_picture(model):
    with torch.no_grad():
        found = model.decode_latents(drawn(1, 4, 32, 32, seed=6) * 0.18215 * 0.5) * 2 - 1
    some = found.flatten()[:: found.numel() // 16][:16]
    assert np.allclose(some, np.clip(RECORDED["decoded"], -1, 1), atol=1e-4)


def test_released_steps_of_all_views_from_the_same_noise(model, conditions):
    seeds = iter(range(100, 200))

    def denoiser(latents, t):
        return model.predict_noise(latents, t, conditions, 2.0, at_once=16)

    def noise():
        return drawn(1, *model.latent_shape, seed=next(seeds))

    found = released_sample(denoiser, noise, SyncDreamerConfig(steps=4))

    # Latents reach 117 with random weights: a thousandth of that would be 0.1.
    assert error("trajectory_4", found) < 2e-3
    assert next(seeds) == 104  # one to begin with, and one after every step but the last


def test_loop_is_the_released_one_at_fifty_steps():
    """Against the update written out for one number, with the published table (arXiv 2010.02502, equation 12)."""
    asked = []

    def denoiser(latents, t):
        asked.append(t)
        return 0.1 * latents + 0.01

    found = released_sample(denoiser, lambda: torch.full((1, 16, 1, 1, 1), 0.5), SyncDreamerConfig())

    alpha_bar = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    x = 0.5
    for t in range(981, 0, -20):
        a, after = alpha_bar[t], alpha_bar[t - 20] if t > 1 else alpha_bar[0]
        sigma = np.sqrt((1 - after) / (1 - a) * (1 - a / after))
        noise = 0.1 * x + 0.01
        clean = (x - np.sqrt(1 - a) * noise) / np.sqrt(a)
        x = np.sqrt(after) * clean + np.sqrt(1 - after - sigma**2) * noise + (sigma * 0.5 if t > 1 else 0)
    assert asked == list(range(981, 0, -20))
    assert float(found.flatten()[0]) == pytest.approx(x, rel=1e-4)
