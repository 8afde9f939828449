"""A denoiser begins with its noisy latents as the answer."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")

from sparse_recon.complete.latent.architectures import UNetSize, unet  # noqa: E402
from sparse_recon.complete.sparsefusion.sizes import VldmSize  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm import ViewDenoiser  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm_schedule import log_snr  # noqa: E402
from sparse_recon.lab.training.views.initial_weights import answer_the_latents, begin_with_the_input  # noqa: E402

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


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_view_denoiser_answers_its_latents_and_learns_from_there(blocks):
    torch.manual_seed(0)
    size = VldmSize(8, 16, 16, (1, 2), blocks, 2, 8, (3, 5), 4, 2, 1, 4)
    net = ViewDenoiser(size)
    answer_the_latents(net)
    x, features = torch.randn(4, LATENTS, 8, 8), torch.randn(4, 16, 8, 8)
    answer = net(x, log_snr(torch.tensor([0.0, 0.4, 0.8, 0.999])), features)
    torch.testing.assert_close(answer, x, rtol=0, atol=1e-5)
    (answer - features[:, :LATENTS]).pow(2).mean().backward()
    assert net.conv_out.weight.grad.abs().sum() > 0 and net.up[0].first.conv1.weight.grad is not None
    torch.optim.SGD(net.parameters(), 0.1).step()
    assert not torch.allclose(net(x, torch.zeros(4), features), x, atol=1e-3)


def test_where_groups_are_too_few_nothing_is_set():
    net = denoiser(16, 2)
    before = {name: p.clone() for name, p in net.named_parameters()}
    assert not begin_with_the_input(net, LATENTS)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
