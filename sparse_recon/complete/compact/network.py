"""The network: a U-Net over one object's cube, convolutions where things are fine, attention where all sees all."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUTPUTS = 3  # x0, log of its expected error, occupancy
NUMBERS = 8  # scalars of `conditioning.numbers`
_HEAD = 32


@dataclass(frozen=True)
class Architecture:
    """Sizes: channels at a half, a quarter and an eighth of the resolution, and blocks of each kind."""

    inputs: int
    fine_width: int = 32
    middle_width: int = 64
    width: int = 192
    blocks: int = 3
    fine_blocks: int = 1
    grid: int = 64

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


class CompactNet(nn.Module):
    """Maps a noisy volume, conditioning and noise level to raw outputs; `flow.denoised` makes x0 of them."""

    def __init__(self, size: Architecture) -> None:
        super().__init__()
        self.size = size
        fine, middle, wide = size.fine_width, size.middle_width, size.width
        told = 2 * middle
        self.told = nn.Sequential(nn.Linear(2 * _HEAD + NUMBERS, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.down_fine = nn.Conv3d(size.inputs, fine, 2, stride=2)
        self.down_middle = nn.Conv3d(fine, middle, 2, stride=2)
        self.encode = nn.ModuleList(Convolution(middle, told) for _ in range(size.fine_blocks))
        self.down_wide = nn.Conv3d(middle, wide, 2, stride=2)
        self.place = nn.Parameter(0.02 * torch.randn(1, (size.grid // 8) ** 3, wide))
        self.blocks = nn.ModuleList(Attention(wide, told) for _ in range(size.blocks))
        self.up_middle = nn.Linear(wide, 8 * middle)
        self.decode = nn.ModuleList(Convolution(middle, told) for _ in range(size.fine_blocks))
        self.up_fine = nn.Conv3d(middle, 8 * fine, 1)
        self.finish = nn.ModuleList(Convolution(fine, told) for _ in range(size.fine_blocks))
        self.out = nn.Conv3d(fine, 8 * OUTPUTS, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, volume: Tensor, t: Tensor, numbers: Tensor) -> Tensor:
        """Return (B, 3, N, N, N) of a volume (B, C, N, N, N), noise levels t (B,) and numbers (B, NUMBERS)."""
        told = self.told(torch.cat([_waves(t), numbers], dim=1))  # (B, D)
        fine = self.down_fine(volume)  # (B, F, N/2, ...)
        middle = self.down_middle(fine)  # (B, M, N/4, ...)
        for block in self.encode:
            middle = block(middle, told)
        wide = self.down_wide(middle)  # (B, W, N/8, ...)
        tokens = wide.flatten(2).transpose(1, 2) + self.place  # (B, N^3/512, W)
        for block in self.blocks:
            tokens = block(tokens, told)
        middle = middle + _spread(_grid(self.up_middle(tokens)))
        for block in self.decode:
            middle = block(middle, told)
        fine = fine + _spread(self.up_fine(middle))
        for block in self.finish:
            fine = block(fine, told)
        return _spread(self.out(F.silu(fine)))


class Convolution(nn.Module):
    """Residual block of two 3x3x3 convolutions, modulated by what is told."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(told, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.modulate(told)[:, :, None, None, None].chunk(2, dim=1)
        y = self.first(x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-5))
        return x + self.second(F.silu(y * (1 + scale) + shift))


class Attention(nn.Module):
    """Transformer block; RMS norms, modulated by what is told (Peebles and Xie 2022)."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.heads = width // _HEAD
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulate = nn.Linear(told, 4 * width)
        for layer in (self.merge, self.fall, self.modulate):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        a, b, c, d = self.modulate(told)[:, None].chunk(4, dim=-1)
        y = F.rms_norm(x, x.shape[-1:]) * (1 + a) + b
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, 32) each
        x = x + self.merge(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        y = F.rms_norm(x, x.shape[-1:]) * (1 + c) + d
        return x + self.fall(F.silu(self.rise(y)))


def _waves(t: Tensor) -> Tensor:
    """Sines and cosines of a noise level in [0, 1], (B, 64)."""
    frequency = torch.exp(torch.linspace(0, 5, _HEAD, device=t.device, dtype=torch.float32))
    angle = t[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(t.dtype)


def _grid(tokens: Tensor) -> Tensor:
    side = round(tokens.shape[1] ** (1 / 3))
    return tokens.transpose(1, 2).unflatten(2, (side, side, side))


def _spread(x: Tensor) -> Tensor:
    """Turn eight times as many channels into twice the resolution: (B, 8 C, n, n, n) to (B, C, 2 n, 2 n, 2 n)."""
    batch, channels, n = x.shape[0], x.shape[1] // 8, x.shape[2]
    x = x.reshape(batch, 2, 2, 2, channels, n, n, n).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return x.reshape(batch, channels, 2 * n, 2 * n, 2 * n)
