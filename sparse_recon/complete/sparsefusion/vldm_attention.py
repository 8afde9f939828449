"""Attention of the denoiser: every head asks the same keys, one pair of which is learnt (Imagen, arXiv 2205.11487)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gain(nn.Module):
    """Normalises channels with a gain alone.

    Parameters
    ----------
    pixels : channels are the second axis of (B, C, H, W); else the last.
    """

    def __init__(self, channels: int, pixels: bool = False) -> None:
        super().__init__()
        self.axis = 1 if pixels else -1
        self.g = nn.Parameter(torch.ones((1, channels, 1, 1) if pixels else channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, of mean 0 and deviation g."""
        little = 1e-5 if x.dtype == torch.float32 else 1e-3
        spread = x.var(dim=self.axis, unbiased=False, keepdim=True)
        return (x - x.mean(dim=self.axis, keepdim=True)) * (spread + little).rsqrt() * self.g


class SharedKeyAttention(nn.Module):
    """Self-attention whose heads share keys and values, beside those of a context and one pair that is learnt.

    Parameters
    ----------
    context : channels of the context; 0: there is none.
    """

    def __init__(self, channels: int, heads: int, head_width: int, context: int = 0) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_width**-0.5
        self.norm = Gain(channels)
        self.null_kv = nn.Parameter(torch.randn(2, head_width))
        self.to_q = nn.Linear(channels, heads * head_width, bias=False)
        self.to_kv = nn.Linear(channels, 2 * head_width, bias=False)
        if context:
            self.to_context = nn.Sequential(nn.LayerNorm(context), nn.Linear(context, 2 * head_width))
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, channels, bias=False), Gain(channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (B, L, C) of x (B, L, C), and of a context (B, K, context)."""
        x = self.norm(x)
        q = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, head_width)
        pairs = [self.null_kv.flatten().expand(len(x), 1, -1), self.to_kv(x)]
        if context is not None:
            pairs.insert(0, self.to_context(context))
        k, v = torch.cat(pairs, dim=1)[:, None].chunk(2, dim=-1)  # (B, 1, K + 1 + L, head_width)
        weights = (q * self.scale @ k.transpose(-1, -2)).softmax(dim=-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class TokenAttention(nn.Module):
    """Attention to tokens, beside one pair that is learnt and that all heads share."""

    def __init__(self, channels: int, heads: int, head_width: int, context: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_width**-0.5
        self.norm = Gain(channels)
        self.null_kv = nn.Parameter(torch.randn(2, head_width))
        self.to_q = nn.Linear(channels, heads * head_width, bias=False)
        self.to_kv = nn.Linear(context, 2 * heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, channels, bias=False), Gain(channels))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, L, C) of x (B, L, C) and tokens (B, K, context)."""
        q = self.to_q(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (
            torch.cat([null.expand(len(x), self.heads, 1, -1), told.unflatten(-1, (self.heads, -1)).transpose(1, 2)], 2)
            for null, told in zip(self.null_kv, self.to_kv(tokens).chunk(2, dim=-1), strict=True)
        )
        weights = (q * self.scale @ k.transpose(-1, -2)).softmax(dim=-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class PixelTransformer(nn.Module):
    """Attention between pixels and to a context, then two 1 x 1 convolutions; each is added to what it looks at."""

    def __init__(self, channels: int, heads: int, head_width: int, context: int) -> None:
        super().__init__()
        self.attention = SharedKeyAttention(channels, heads, head_width, context)
        self.norm1 = Gain(channels, pixels=True)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.norm2 = Gain(2 * channels, pixels=True)
        self.conv2 = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return (B, C, H, W) of x (B, C, H, W) and a context (B, K, context)."""
        x = x + over_pixels(self.attention, x, context)
        return x + self.conv2(self.norm2(functional.gelu(self.conv1(self.norm1(x)))))


def over_pixels(attention: nn.Module, x: Tensor, *told: Tensor) -> Tensor:
    """Return what attention over the pixels of x (B, C, H, W) says, as (B, C, H, W)."""
    found: Tensor = attention(x.flatten(2).transpose(1, 2), *told)
    return found.transpose(1, 2).unflatten(2, x.shape[2:])
