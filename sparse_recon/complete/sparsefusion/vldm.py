"""The view-conditioned denoiser: noisy latents and the features of a view to the noise in them (paper, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.sparsefusion.sizes import VldmSize
from sparse_recon.complete.sparsefusion.vldm_attention import PixelTransformer, SharedKeyAttention, over_pixels
from sparse_recon.complete.sparsefusion.vldm_blocks import (
    Coarsest,
    LearntFrequencies,
    ParallelConvolutions,
    Residual,
    ShuffledUp,
)

LATENT_CHANNELS = 4
# What is handed across is made smaller by this.
_ACROSS = 2**-0.5


class ViewDenoiser(nn.Module):
    """A UNet over the features of a view, stacked on the noisy latents of it; blocks beside each other share time.

    Two tensors are held for the files that hold them and never looked at: what stands for a text that is not given.
    """

    def __init__(self, size: VldmSize) -> None:
        super().__init__()
        self.size = size
        width, time = size.width, size.time_width
        self.conv_in = ParallelConvolutions(size.features + LATENT_CHANNELS, width, size.kernels)
        self.frequencies = LearntFrequencies(size.frequencies)
        self.time_in = nn.Linear(2 * size.frequencies + 1, time)
        self.time_out, self.time_tokens = nn.Linear(time, time), nn.Linear(time, size.time_tokens * width)
        self.norm_tokens = nn.LayerNorm(width)
        self.no_text_tokens = nn.Parameter(torch.randn(1, size.null_tokens, width))
        self.no_text = nn.Parameter(torch.randn(1, time))

        levels = size.level_widths
        last = len(levels) - 1
        self.down = nn.ModuleList(_Down(a, b, size, k == last) for k, (a, b) in enumerate(levels))
        middle = levels[-1][1]
        self.middle1 = Residual(middle, middle, size, tokens=width)
        self.middle_attention = SharedKeyAttention(middle, size.heads, size.head_width)
        self.middle2 = Residual(middle, middle, size, tokens=width)
        self.up = nn.ModuleList(
            _Up(b, a, size, coarsest=k == last, finest=k == 0) for k, (a, b) in reversed(list(enumerate(levels)))
        )
        self.last = Residual(width, width, size, gated=True)
        self.conv_out = nn.Conv2d(width, LATENT_CHANNELS, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, latents: Tensor, log_snr: Tensor, features: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the noise (B, 4, S, S) seen in latents.

        Parameters
        ----------
        latents : (B, 4, S, S), noisy, scaled.
        log_snr : (B,), logarithm of their ratio of signal and noise.
        features : (B, features, S, S), or of another side: then the nearest pixels are taken.
        kept : (B,) 1, or 0 where the features are taken to be zeros: without a condition, in training and guidance.
        """
        if features.shape[-1] != latents.shape[-1]:
            features = functional.interpolate(features, latents.shape[-1], mode="nearest")
        if kept is not None:
            features = features * kept.to(features)[:, None, None, None]
        x = self.conv_in(torch.cat([features, latents], dim=1))

        # In single precision: the ratio is multiplied by far more than half precision resolves.
        told = self.frequencies(log_snr).to(self.time_in.weight.dtype)
        hidden = functional.silu(self.time_in(told))
        tokens = self.norm_tokens(self.time_tokens(hidden).unflatten(1, (self.size.time_tokens, -1)))
        time = self.time_out(hidden)

        across: list[Tensor] = []
        for down in self.down:
            x = down(x, time, tokens, across)
        x = self.middle1(x, time, tokens)
        x = x + over_pixels(self.middle_attention, x)
        x = self.middle2(x, time, tokens)
        for up in self.up:
            x = up(x, time, tokens, across)
        return self.conv_out(self.last(x, time))


class _Down(nn.Module):
    def __init__(self, before: int, after: int, size: VldmSize, coarsest: bool) -> None:
        super().__init__()
        self.first = Residual(before, before, size)
        self.blocks = nn.ModuleList(Residual(before, before, size, gated=True) for _ in range(size.blocks))
        if coarsest:
            self.attention = PixelTransformer(before, size.heads, size.head_width, size.width)
        self.out = Coarsest(before, after) if coarsest else nn.Conv2d(before, after, 4, 2, 1)

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, across: list[Tensor]) -> Tensor:
        x = self.first(x, time)
        for block in self.blocks:
            x = block(x, time)
            across.append(x)
        if hasattr(self, "attention"):
            x = self.attention(x, tokens)
        across.append(x)
        return self.out(x)


class _Up(nn.Module):
    def __init__(self, before: int, after: int, size: VldmSize, coarsest: bool, finest: bool) -> None:
        super().__init__()
        self.first = Residual(before + after, before, size)
        self.blocks = nn.ModuleList(Residual(before + after, before, size, gated=True) for _ in range(size.blocks))
        if coarsest:
            self.attention = PixelTransformer(before, size.heads, size.head_width, size.width)
        self.out = nn.Identity() if finest else ShuffledUp(before, after)

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, across: list[Tensor]) -> Tensor:
        for block in (self.first, *self.blocks):
            x = block(torch.cat([x, across.pop() * _ACROSS], dim=1), time)
        if hasattr(self, "attention"):
            x = self.attention(x, tokens)
        return self.out(x)
