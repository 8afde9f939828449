"""The denoiser of SparseFusion: published size, attention beside its definition, and what a condition changes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from sparse_recon.complete.sparsefusion.sizes import SparseFusionSize, VldmSize  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm import ViewDenoiser  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm_attention import SharedKeyAttention, TokenAttention  # noqa: E402
from sparse_recon.complete.sparsefusion.vldm_blocks import ParallelConvolutions, PooledGate, ShuffledUp  # noqa: E402

SMALL = VldmSize(
    side=8, features=6, width=16, multipliers=(1, 2, 2), blocks=1, heads=2, head_width=8, frequencies=3, null_tokens=2
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    made = ViewDenoiser(SMALL).requires_grad_(False)
    made.conv_out.weight.normal_(0, 0.1)
    return made


def test_published_size_has_the_published_tensors():
    with torch.device("meta"):
        made = ViewDenoiser(VldmSize())

    assert sum(p.numel() for p in made.parameters()) == 400_675_357
    assert len(made.state_dict()) == len(list(made.parameters())) == 477
    assert [tuple(conv.weight.shape) for conv in made.conv_in.convs] == [
        (128, 260, 3, 3),
        (64, 260, 7, 7),
        (64, 260, 15, 15),
    ]
    assert VldmSize().level_widths == [(256, 256), (256, 512), (512, 1024), (1024, 1024)]


def test_untrained_it_sees_no_noise():
    found = ViewDenoiser(SMALL)(drawn(2, 4, 8, 8), torch.tensor([1.0, -3.0]), drawn(2, 6, 8, 8))
    assert found.shape == (2, 4, 8, 8) and not bool(found.any())


def test_sizes_that_do_not_fit_each_other_are_refused():
    assert SparseFusionSize().image_side == 256
    with pytest.raises(ValueError, match="features"):
        SparseFusionSize(vldm=VldmSize(features=128))


def test_ratio_and_features_are_looked_at(denoiser):
    x, ratio, features = drawn(2, 4, 8, 8), torch.tensor([1.0, -3.0]), drawn(2, 6, 8, 8, seed=1)
    found = denoiser(x, ratio, features)
    assert not torch.allclose(found, denoiser(x, ratio + 1, features), atol=1e-3)
    assert not torch.allclose(found, denoiser(x, ratio, features + 1), atol=1e-3)
    # Each picture of a batch is alone.
    assert torch.allclose(found[1:], denoiser(x[1:], ratio[1:], features[1:]), atol=1e-5)


def test_a_dropped_condition_is_a_map_of_zeros(denoiser):
    x, ratio, features = drawn(2, 4, 8, 8), torch.tensor([1.0, -3.0]), drawn(2, 6, 8, 8, seed=1)
    half = denoiser(x, ratio, features, kept=torch.tensor([1.0, 0.0]))
    assert torch.allclose(half[:1], denoiser(x, ratio, features)[:1], atol=1e-5)
    assert torch.allclose(half[1:], denoiser(x, ratio, torch.zeros_like(features))[1:], atol=1e-5)


def test_a_coarser_map_of_features_is_enlarged(denoiser):
    x, ratio, features = drawn(1, 4, 8, 8), torch.tensor([0.5]), drawn(1, 6, 4, 4, seed=1)
    large = features.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(denoiser(x, ratio, features), denoiser(x, ratio, large))


def test_shared_keys_beside_their_definition():
    torch.manual_seed(1)
    attention = SharedKeyAttention(12, heads=3, head_width=4, context=5)
    attention.norm.g.data.uniform_(0.5, 1.5)
    x, context = drawn(2, 7, 12), drawn(2, 2, 5, seed=1)
    found = attention(x, context)

    for b in range(2):
        normal = torch.nn.functional.layer_norm(x[b], (12,)) * attention.norm.g
        told = attention.to_context(context[b])
        own = attention.to_kv(normal)
        keys = torch.cat([told[:, :4], attention.null_kv[:1], own[:, :4]])
        values = torch.cat([told[:, 4:], attention.null_kv[1:], own[:, 4:]])
        heads = []
        for h in range(3):
            query = normal @ attention.to_q.weight[4 * h : 4 * h + 4].T
            heads.append((query @ keys.T / 4**0.5).softmax(-1) @ values)
        out = torch.nn.functional.layer_norm(attention.to_out[0](torch.cat(heads, 1)), (12,)) * attention.to_out[1].g
        assert torch.allclose(found[b], out, atol=1e-5)


def test_attention_to_tokens_beside_its_definition():
    torch.manual_seed(1)
    attention = TokenAttention(12, heads=3, head_width=4, context=5)
    x, tokens = drawn(1, 7, 12), drawn(1, 2, 5, seed=1)
    normal = torch.nn.functional.layer_norm(x[0], (12,))
    k, v = (tokens[0] @ attention.to_kv.weight.T).chunk(2, dim=1)
    heads = []
    for h in range(3):
        rows = slice(4 * h, 4 * h + 4)
        keys, values = (torch.cat([n[None], t[:, rows]]) for n, t in zip(attention.null_kv, (k, v), strict=True))
        heads.append((normal @ attention.to_q.weight[rows].T @ keys.T / 2).softmax(-1) @ values)
    out = torch.nn.functional.layer_norm(attention.to_out[0](torch.cat(heads, 1)), (12,))
    assert torch.allclose(attention(x, tokens)[0], out, atol=1e-5)


def test_blocks():
    assert [c.out_channels for c in ParallelConvolutions(3, 16, (3, 7, 15)).convs] == [8, 4, 4]
    x = drawn(1, 8, 4, 4)
    up = ShuffledUp(8, 4)(x)
    # Untrained, the four pixels that one becomes are alike: no pattern.
    assert up.shape == (1, 4, 8, 8) and torch.allclose(
        up, up[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    gate = PooledGate(8)
    assert gate(x).shape == (1, 8, 1, 1) and torch.allclose(gate(x), gate(x.flip(2)), atol=1e-6)
