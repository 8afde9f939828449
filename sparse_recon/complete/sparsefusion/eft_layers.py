"""The transformer that the epipolar feature transformer has three of: one head, normalised behind each half."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

DROPOUT = 0.1


class Stack(nn.Module):
    """A linear layer, and layers of attention along the second axis (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.pre = nn.Sequential(nn.Linear(channels, width), nn.GELU())
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(_Layer(width) for _ in range(layers))

    def forward(self, tokens: Tensor, dropout: Generator | None = None) -> Tensor:
        """Return (B, L, width) of tokens (B, L, channels).

        Parameters
        ----------
        dropout : draws what is dropped; None: nothing is.
        """
        x = self.pre(tokens.to(cast(nn.Linear, self.pre[0]).weight.dtype))
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            x = layer(x, dropout)
        return x


class _Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width)
        self.linear1, self.linear2 = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, dropout: Generator | None) -> Tensor:
        x = self.norm1(x + _dropped(self.self_attn(x, dropout), dropout))
        inner = _dropped(functional.relu(self.linear1(x)), dropout)
        return self.norm2(x + _dropped(self.linear2(inner), dropout))


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, dropout: Generator | None) -> Tensor:
        # Laid out apart: batched products of parts of one tensor copy them again and again.
        parts = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        q, k, v = (part.contiguous() for part in parts)
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(dim=-1)
        return self.out_proj(_dropped(weights, dropout) @ v)


def _dropped(x: Tensor, dropout: Generator | None) -> Tensor:
    if dropout is None:
        return x
    kept = torch.rand(x.shape, generator=dropout, device=dropout.device) >= DROPOUT
    return x * kept.to(x) / (1 - DROPOUT)
