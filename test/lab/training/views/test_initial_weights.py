"""A denoiser begins with its noisy latents as the answer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from sparse_recon.complete.latent.architectures import UNetSize, unet  # noqa: E402
from sparse_recon.lab.training.views.initial_weights import begin_with_the_input  # noqa: E402

LATENTS = 4


def denoiser(width: int, groups: int):
    torch.manual_seed(0)
    return unet(UNetSize(2 * LATENTS, LATENTS, width, (1, 2), 1, 4, 16, 16, groups))


def test_the_answer_is_the_noise_at_any_time_and_learns_from_there():
    net = denoiser(32, 8)
    assert begin_with_the_input(net, LATENTS)
    x = torch.randn(4, 2 * LATENTS, 16, 16)
    answer = net(x, torch.tensor([0, 400, 800, 999]), encoder_hidden_states=torch.randn(4, 1, 16)).sample
    # Divided by the signal at the noisiest time, 0.068, a hundredth of a deviation is left.
    assert (answer - x[:, :LATENTS]).pow(2).mean().sqrt() < 0.068 / 50
    answer.pow(2).mean().backward()
    untouched = [name for name, p in net.named_parameters() if "conv_out" in name and not p.grad.abs().sum() > 0]
    assert untouched == []


def test_where_groups_are_too_few_nothing_is_set():
    net = denoiser(16, 2)
    before = {name: p.clone() for name, p in net.named_parameters()}
    assert not begin_with_the_input(net, LATENTS)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
