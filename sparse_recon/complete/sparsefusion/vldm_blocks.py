"""Convolutional blocks of the denoiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.sparsefusion.sizes import VldmSize
from sparse_recon.complete.sparsefusion.vldm_attention import TokenAttention, over_pixels

LEAST_GATE = 3


class ParallelConvolutions(nn.Module):
    """Convolutions of several sides over the same input; the smallest gives half of the channels, and so on."""

    def __init__(self, channels: int, width: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        widths = [width // 2 ** (k + 1) for k in range(len(kernels) - 1)]
        widths.append(width - sum(widths))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, w, side, padding=side // 2) for side, w in zip(kernels, widths, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W) of x (B, channels, H, W)."""
        return torch.cat([conv(x) for conv in self.convs], dim=1)


class LearntFrequencies(nn.Module):
    """A number, and its sine and cosine at frequencies that are learnt."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(count))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2 F + 1) of numbers (B,)."""
        angles = x[:, None] * self.weights * 2 * math.pi
        return torch.cat([x[:, None], angles.sin(), angles.cos()], dim=1)


class PooledGate(nn.Module):
    """A gate for each channel, from an average over pixels that are weighed by what they show (arXiv 1904.11492)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(LEAST_GATE, channels // 2)
        self.weight = nn.Conv2d(channels, 1, 1)
        self.conv1, self.conv2 = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 1, 1) in [0, 1] of x (B, C, H, W)."""
        weights = self.weight(x).flatten(2).softmax(dim=-1)  # (B, 1, H * W)
        pooled = (x.flatten(2) @ weights.transpose(1, 2))[..., None]
        return self.conv2(functional.silu(self.conv1(pooled))).sigmoid()


class Residual(nn.Module):
    """A residual block that is told the time.

    Parameters
    ----------
    gated : whether its answer is weighed by what the whole map shows.
    tokens : channels of the tokens of time that it attends to; 0: to none.
    """

    def __init__(self, before: int, width: int, size: VldmSize, gated: bool = False, tokens: int = 0) -> None:
        super().__init__()
        self.time = nn.Linear(size.time_width, 2 * width)
        self.norm1, self.conv1 = nn.GroupNorm(size.groups, before), nn.Conv2d(before, width, 3, padding=1)
        if tokens:
            self.attention = TokenAttention(width, size.heads, size.head_width, tokens)
        self.norm2, self.conv2 = nn.GroupNorm(size.groups, width), nn.Conv2d(width, width, 3, padding=1)
        if gated:
            self.gate = PooledGate(width)
        self.shortcut = nn.Conv2d(before, width, 1) if before != width else nn.Identity()

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return (B, width, H, W) of x (B, before, H, W), time (B, T) and tokens (B, K, tokens)."""
        scale, shift = self.time(functional.silu(time))[:, :, None, None].chunk(2, dim=1)
        inner = self.conv1(functional.silu(self.norm1(x)))
        if hasattr(self, "attention"):
            assert tokens is not None
            inner = inner + over_pixels(self.attention, inner, tokens)
        inner = self.conv2(functional.silu(self.norm2(inner) * (scale + 1) + shift))
        if hasattr(self, "gate"):
            inner = inner * self.gate(inner)
        return inner + self.shortcut(x)


class Coarsest(nn.Module):
    """What stands in the place of the downsampling of the last level: two convolutions, added."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(before, width, 3, padding=1), nn.Conv2d(before, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W) of x (B, before, H, W)."""
        return self.wide(x) + self.narrow(x)


class ShuffledUp(nn.Module):
    """Twice the side: four times the channels, which become pixels (arXiv 1609.05158), alike at first (1707.02937)."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, 4 * width, 1)
        with torch.no_grad():
            one = torch.empty_like(self.conv.weight[:width])
            nn.init.kaiming_uniform_(one)
            self.conv.weight.copy_(one.repeat_interleave(4, dim=0))
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, 2 H, 2 W) of x (B, before, H, W)."""
        return functional.pixel_shuffle(functional.silu(self.conv(x)), 2)
