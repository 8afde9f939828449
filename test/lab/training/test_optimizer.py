"""Steps of Muon are orthogonal, those of AdamW are PyTorch's."""

from __future__ import annotations

import torch
from torch import nn

from sparse_recon.lab.training.optimizer import ADAM_BETAS, MuonAdamW, orthogonalised


def test_singular_values_come_near_one():
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(0))
    for m in (matrix, matrix.T):
        values = torch.linalg.svdvals(orthogonalised(m))
        assert values.min() > 0.5 and values.max() < 1.4


def test_vectors_are_stepped_like_adamw():
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    twin = nn.Linear(4, 3)
    twin.load_state_dict(net.state_dict())
    ours, theirs = MuonAdamW(net, 1e-2, 0.0), torch.optim.AdamW([twin.bias], 1e-2, ADAM_BETAS, weight_decay=0.0)
    for k in range(5):
        for layer, optimizer in ((net, ours), (twin, theirs)):
            optimizer.zero_grad()
            layer(torch.full((2, 4), float(k))).square().sum().backward()
            layer.weight.grad = None
            optimizer.step()
    assert torch.allclose(net.bias, twin.bias, atol=1e-6)
