"""A 3D network with skips whose every convolution is told the time, and where it matters the view."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparse_recon.complete.syncdreamer.sizes import TOKEN_NUMBERS

GROUPS = 8


class ToldConvolution(nn.Module):
    """Adds what time and view say, normalises, and convolves; `scale` 2 halves the side, -2 doubles it."""

    def __init__(self, channels: int, out_channels: int, time: int, view: int = 0, scale: int = 1) -> None:
        super().__init__()
        self.time = nn.Linear(time, channels)
        self.view = nn.Linear(view, channels) if view else None
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.conv: nn.Module
        if scale < 0:
            self.conv = nn.ConvTranspose3d(channels, out_channels, 3, stride=-scale, padding=1, output_padding=1)
        else:
            self.conv = nn.Conv3d(channels, out_channels, 3, stride=scale, padding=1)

    def forward(self, x: Tensor, time: Tensor, view: Tensor | None) -> Tensor:
        """Return (B, C', D', H', W') of x (B, C, D, H, W), time (B, T) and, where it is told, view (B, 4)."""
        told = self.time(time)
        if self.view is not None:
            told = told + self.view(view)
        return self.conv(nn.functional.silu(self.norm(x + told[:, :, None, None, None])))


class ToldUNet3d(nn.Module):
    """Levels down and up again; what comes up is added to what went down.

    Parameters
    ----------
    widths : channels, finest first.
    view : numbers of a view's token; 0: it is not told the view.
    refined : further convolutions of each coarser level.
    first : convolutions with time at the finest level.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], time: int, view: int = 0, refined: int = 1, first: int = 0
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv3d(in_channels, widths[0], 3, padding=1)
        self.first = nn.ModuleList(ToldConvolution(widths[0], widths[0], time, view) for _ in range(first))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in pairwise(widths):
            level = [ToldConvolution(fine, coarse, time, view, scale=2)]
            level += [ToldConvolution(coarse, coarse, time, view) for _ in range(refined)]
            self.down.append(nn.ModuleList(level))
        for coarse, fine in pairwise(widths[::-1]):
            self.up.append(ToldConvolution(coarse, fine, time, view, scale=-2))

    def forward(self, x: Tensor, time: Tensor, view: Tensor | None = None) -> list[Tensor]:
        """Return the answers of all levels, finest first: (B, widths[k], D / 2^k, H / 2^k, W / 2^k)."""
        x = self.conv_in(x)
        for block in self.first:
            x = block(x, time, view)
        levels = [x]
        for level in self.down:
            for block in level.children():
                x = block(x, time, view)
            levels.append(x)
        for k, block in enumerate(self.up):
            finer = len(levels) - 2 - k
            levels[finer] = levels[finer] + block(levels[finer + 1], time, view)
        return levels


class ViewEncoder(nn.Module):
    """Features of each view's noisy latents, told time and view."""

    def __init__(self, in_channels: int, width: int, time: int, blocks: int = 3) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(_ToldResidual(width, time) for _ in range(blocks))
        self.norm_out = nn.GroupNorm(GROUPS, width)
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, latents: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """Return (B, C, S, S) of latents (B, 4, S, S), time (B, T) and view (B, 4)."""
        x = self.conv_in(latents)
        for block in self.blocks:
            x = block(x, time, view)
        return self.conv_out(nn.functional.silu(self.norm_out(x)))


class _ToldResidual(nn.Module):
    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        self.time, self.view = nn.Linear(time, width), nn.Linear(TOKEN_NUMBERS, width)
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, view: Tensor) -> Tensor:
        # Time and view act within the branch only; the 3D networks keep them in what is passed on.
        told = (self.time(time) + self.view(view))[:, :, None, None]
        inner = self.conv1(nn.functional.silu(self.norm1(x + told)))
        return x + self.conv2(nn.functional.silu(self.norm2(inner)))


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Return (B, width) float32: cosines, then sines, of times (B,) at periods from 2 pi to 20 000 pi."""
    half = width // 2
    rates = torch.exp(-torch.arange(half, dtype=torch.float32, device=t.device) * (9.210340371976184 / half))
    angles = t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
