"""The networks of SyncDreamer at published size (counted) and small enough to run."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="pip install .[models]")
pytest.importorskip("transformers", reason="pip install .[models]")

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize  # noqa: E402
from sparse_recon.complete.syncdreamer.depth_attention import DepthAttention  # noqa: E402
from sparse_recon.complete.syncdreamer.network import SyncDreamerNetwork  # noqa: E402
from sparse_recon.complete.syncdreamer.sizes import SyncDreamerSize, VolumeSize, mini_size  # noqa: E402

SMALL = SyncDreamerSize(
    UNetSize(width=32, multipliers=(1, 2), layers=1, heads=4, context=32, sample=8),
    VaeSize(width=32, multipliers=(1, 1)),
    ClipSize(width=32, layers=1, heads=4, patch=8, side=16, projection=32),
    VolumeSize(features=8, vertices=8, planes=8, widths=(8, 16), time=16),
)


def drawn(*shape: int, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network() -> SyncDreamerNetwork:
    torch.manual_seed(0)
    made = SyncDreamerNetwork(SMALL)
    for module in made.modules():  # as after training: what begins at zero speaks
        if isinstance(module, DepthAttention):
            torch.nn.init.normal_(module.conv2.weight, std=0.1)
    return made


@pytest.fixture
def conditions(network):
    elevation = torch.tensor([0.1, 0.5])
    return network.conditions(drawn(2, 3, 16, 16).clamp(-1, 1), drawn(2, 4, 8, 8, seed=1), elevation)


def test_published_size_has_the_published_parameters():
    with torch.device("meta"):
        made = SyncDreamerNetwork(SyncDreamerSize())

    def count(module):
        return len(module.state_dict()), sum(p.numel() for p in module.parameters())

    assert count(made.unet) == (686, 859_532_484)
    assert count(made.depth_attention) == (170, 57_321_472)
    assert count(made.spatial_volume.encoder) == (42, 29_632)
    assert count(made.spatial_volume.net) == (80, 29_254_208)
    assert count(made.frustum_volume) == (74, 19_283_712)
    assert count(made.time_embed) == (4, 131_584)
    assert count(made.cc_projection) == (2, 593_664)
    assert count(made.image_encoder) == (392, 303_966_208)
    assert [count(m)[1] for m in (made.depth_attention.middle, *made.depth_attention.decoder)] == [
        25_960_448,
        *(9_768_960, 9_768_960, 4_081_664),
        *(2_443_264, 2_443_264, 1_020_928),
        *(611_328, 611_328, 611_328),
    ]


def test_sizes_that_do_not_fit_each_other_are_refused():
    mini = mini_size()
    with pytest.raises(ValueError, match="levels"):
        replace(mini, volume=VolumeSize())
    with pytest.raises(ValueError, match="planes"):
        replace(mini, volume=replace(mini.volume, planes=22))
    assert mini.image_side == 64 and SyncDreamerSize().image_side == 256


def test_it_learns_the_noise_of_one_view():
    torch.manual_seed(0)
    network = SyncDreamerNetwork(SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    clean, noise, t = drawn(2, 16, 4, 8, 8), drawn(2, 16, 4, 8, 8, seed=1), torch.tensor([300, 700])
    views = torch.tensor([[3], [9]])
    losses = []
    for _ in range(12):
        told = network.conditions(drawn(2, 3, 16, 16), drawn(2, 4, 8, 8), torch.tensor([0.1, 0.5]))
        found = network(0.8 * clean + 0.6 * noise, t, told, views, torch.tensor([1.0, 1.0]))
        loss = (found - noise.gather(1, views[..., None, None, None].expand_as(found))).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    # All of it is trained: the volumes through the attention, the tower through the context.
    silent = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent <= {"image_encoder", "unet"}  # the tower's last norm of other tokens, queries to a single token


def test_at_first_the_volumes_say_nothing():
    torch.manual_seed(0)
    network = SyncDreamerNetwork(SMALL)
    told = network.conditions(drawn(1, 3, 16, 16), drawn(1, 4, 8, 8), torch.zeros(1))
    latents, t = drawn(1, 16, 4, 8, 8), torch.tensor([500])
    views = torch.tensor([[2]])
    with torch.no_grad():
        with_volumes = network(latents, t, told, views)
        tokens = torch.cat([told.picture_token[0], told.view_tokens[0, 2:3]], 1)
        x = torch.cat([latents[:, 2], told.latents], 1).contiguous(memory_format=torch.channels_last)
        plain = network.unet(x, t, network.cc_projection(tokens)[None])[0]
    assert float((with_volumes[:, 0] - plain).abs().max()) < 1e-6


@torch.no_grad()
def test_every_view_hears_of_every_other(network, conditions):
    latents, t, views = drawn(2, 16, 4, 8, 8), torch.tensor([300, 700]), torch.tensor([[3], [9]])
    before = network(latents, t, conditions, views)
    changed = latents.clone()
    changed[0, 12] += 1.0
    after = network(changed, t, conditions, views)
    # View 12 of the first object speaks to its view 3, and to nothing of the second object.
    assert float((after[0] - before[0]).abs().max()) > 1e-4
    assert float((after[1] - before[1]).abs().max()) < 1e-6


@torch.no_grad()
def test_views_of_a_pass_do_not_depend_on_each_other(network, conditions):
    latents, t = drawn(2, 16, 4, 8, 8), torch.tensor([300, 700])
    shared = network.shared(latents, t, conditions)

    def noise(chunk: int):
        rows = torch.arange(16).split(chunk)
        made = [network.view_noise(latents[:, r], shared, conditions, r.expand(2, -1), 2.0) for r in rows]
        return torch.cat(made, 1)

    whole = noise(16)
    assert float((noise(1) - whole).abs().max()) < 1e-5
    assert float((noise(4) - whole).abs().max()) < 1e-5


@torch.no_grad()
def test_without_conditions_all_of_them_are_zero(network, conditions, monkeypatch):
    asked = []

    def look(x, t, context, volumes):
        asked.append((x, context, volumes))
        return torch.arange(len(x), dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 4, 8, 8)

    monkeypatch.setattr(network, "_noise", look)
    latents, views = drawn(2, 2, 4, 8, 8), torch.tensor([[3, 4], [9, 1]])
    shared = network.shared(drawn(2, 16, 4, 8, 8), torch.tensor([300, 700]), conditions)
    found = network.view_noise(latents, shared, conditions, views, guidance=3.0)
    network.view_noise(latents, shared, conditions, views, kept=torch.tensor([1.0, 0.0]))

    (x, context, volumes), (dropped_x, dropped_context, dropped_volumes) = asked
    assert len(x) == 8 and all(len(v) == 4 for v in volumes)  # no volume: zero, as `DepthAttention` has it
    assert context[:4].any() and not context[4:].any()
    assert x[:4, 4:].any() and not x[4:, 4:].any() and torch.equal(x[:4, :4], x[4:, :4])
    assert found[0, 0, 0, 0, 0] == 4 + 3 * (0 - 4)
    assert not dropped_x[2:, 4:].any() and dropped_x[:2, 4:].any()
    assert not dropped_context[2:].any() and not any(v[2:].any() for v in dropped_volumes)


class TestDepthAttention:
    @pytest.fixture
    def module(self) -> DepthAttention:
        torch.manual_seed(1)
        made = DepthAttention(24, 16, 4)
        torch.nn.init.normal_(made.conv2.weight, std=0.1)
        torch.nn.init.normal_(made.norm_context.bias)
        return made.eval().requires_grad_(False)

    def test_is_the_attention_that_it_is_written_as(self, module):
        x, volume = drawn(2, 24, 5, 5), drawn(2, 16, 6, 5, 5, seed=1)
        silu, relu = torch.nn.functional.silu, torch.nn.functional.relu
        query = silu(module.norm_in(module.conv_in(x)))
        told = relu(module.norm_context(torch.einsum("oc,ncdhw->nodhw", module.context.weight, volume)))
        q = torch.einsum("oc,nchw->nohw", module.to_q.weight, query).unflatten(1, (4, 8))
        k = torch.einsum("oc,ncdhw->nodhw", module.to_k.weight, told).unflatten(1, (4, 8))
        v = torch.einsum("oc,ncdhw->nodhw", module.to_v.weight, told).unflatten(1, (4, 8))
        share = (torch.einsum("nkchw,nkcdhw->nkdhw", q, k) / 8**0.5).softmax(2)
        found = torch.einsum("nkdhw,nkcdhw->nkchw", share, v).flatten(1, 2)
        out = torch.einsum("oc,nchw->nohw", module.to_out.weight, found)
        out = module.conv2(relu(module.norm2(module.conv1(relu(module.norm1(out))))))
        assert torch.allclose(module(x, volume), x + out, atol=1e-5)

    def test_order_of_depths_does_not_matter_but_that_of_pixels_does(self, module):
        x, volume = drawn(1, 24, 5, 5), drawn(1, 16, 6, 5, 5, seed=1)
        plain = module(x, volume)
        assert torch.allclose(module(x, volume.flip(2)), plain, atol=1e-5)
        assert float((module(x, volume.flip(3)) - plain).abs().max()) > 1e-2

    def test_alike_depths_make_the_query_pointless(self, module):
        alike = drawn(1, 16, 1, 5, 5).expand(-1, -1, 6, -1, -1)
        one, other = module(drawn(1, 24, 5, 5), alike), module(drawn(1, 24, 5, 5, seed=7), alike)
        added = [y - x for y, x in ((one, drawn(1, 24, 5, 5)), (other, drawn(1, 24, 5, 5, seed=7)))]
        assert torch.allclose(*added, atol=1e-5)

    def test_maps_beyond_the_volumes_have_zero_ones_which_is_not_nothing(self, module):
        x, volume = drawn(2, 24, 5, 5), drawn(1, 16, 6, 5, 5, seed=1)
        zeros = torch.cat([volume, torch.zeros_like(volume)])
        assert torch.allclose(module(x, volume), module(x, zeros), atol=1e-5)
        assert float((module(x, volume)[1] - x[1]).abs().max()) > 1e-3
