"""The network: a U-Net over one object's cube, convolutions where things are fine, attention where all sees all."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparse_recon.complete.compact.patches import VOXELS, gathered, spread

OUTPUTS = 3  # x0, log of its expected error, occupancy
NUMBERS = 8  # scalars of `conditioning.numbers`
_WAVES, _HEAD = 32, 64


@dataclass(frozen=True)
class Architecture:
    """Sizes: channels at a half, a quarter and an eighth of the resolution, and blocks of each kind."""

    inputs: int
    fine_width: int = 32
    middle_width: int = 64
    width: int = 256
    blocks: int = 6
    fine_blocks: int = 1
    grid: int = 64

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


class CompactNet(nn.Module):
    """Maps blocks of a noisy volume and its conditioning, and a noise level, to raw outputs (`flow.denoised`).

    Channels come last everywhere: halving the resolution makes eight times the channels, and layers are products.
    """

    def __init__(self, size: Architecture) -> None:
        super().__init__()
        self.size = size
        fine, middle, wide = size.fine_width, size.middle_width, size.width
        told = 2 * middle
        self.told = nn.Sequential(nn.Linear(2 * _WAVES + NUMBERS, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.enter = nn.Linear(VOXELS * size.inputs, fine)
        self.to_middle = nn.Linear(VOXELS * fine, middle)
        self.encode = nn.ModuleList(Convolution(middle, told) for _ in range(size.fine_blocks))
        self.to_wide = nn.Linear(VOXELS * middle, wide)
        self.place = nn.Parameter(0.02 * torch.randn(1, (size.grid // 8) ** 3, wide))
        self.blocks = nn.ModuleList(Attention(wide, told) for _ in range(size.blocks))
        self.up_middle = nn.Linear(wide, VOXELS * middle)
        self.decode = nn.ModuleList(Convolution(middle, told) for _ in range(size.fine_blocks))
        self.up_fine = nn.Linear(middle, VOXELS * fine)
        self.finish = nn.ModuleList(Convolution(fine, told) for _ in range(size.fine_blocks))
        self.out = nn.Linear(fine, OUTPUTS * VOXELS)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, volume: Tensor, t: Tensor, numbers: Tensor) -> Tensor:
        """Return (B, n, n, n, 3 * 8) of blocks (B, n, n, n, 8 C), noise levels t (B,) and numbers (B, NUMBERS)."""
        told = self.told(torch.cat([_waves(t), numbers], dim=1).to(volume.dtype))  # (B, D)
        fine = self.enter(volume)  # (B, n, n, n, F)
        middle = self.to_middle(gathered(fine))  # (B, n/2, ..., M)
        for block in self.encode:
            middle = block(middle, told)
        wide = self.to_wide(gathered(middle))  # (B, n/4, ..., W)
        tokens = wide.flatten(1, 3) + self.place  # (B, n^3/64, W)
        for block in self.blocks:
            tokens = block(tokens, told)
        middle = middle + spread(self.up_middle(tokens).view(*wide.shape[:4], -1))
        for block in self.decode:
            middle = block(middle, told)
        fine = fine + spread(self.up_fine(middle))
        for block in self.finish:
            fine = block(fine, told)
        return self.out(F.silu(fine))


class Convolution(nn.Module):
    """Residual block of two 3x3x3 convolutions, modulated by what is told."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(told, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.modulate(told)[:, None, None, None].chunk(2, dim=-1)
        y = _over(self.first, F.layer_norm(x, x.shape[-1:]))
        return x + _over(self.second, F.silu(torch.addcmul(shift, y, 1 + scale)))


class Attention(nn.Module):
    """Transformer block, modulated by what is told (Peebles and Xie 2022)."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulate = nn.Linear(told, 4 * width)
        for layer in (self.merge, self.fall, self.modulate):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        a, b, c, d = self.modulate(told)[:, None].chunk(4, dim=-1)
        y = torch.addcmul(b, F.layer_norm(x, x.shape[-1:]), 1 + a)
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        x = x + self.merge(_attended(q, k, v).transpose(1, 2).flatten(2))
        y = torch.addcmul(d, F.layer_norm(x, x.shape[-1:]), 1 + c)
        return x + self.fall(F.silu(self.rise(y)))


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    # Written out: on processors the fused kernel's backward pass takes longer than all the rest of the block.
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1) @ v


def _over(convolution: nn.Module, x: Tensor) -> Tensor:
    """Convolve (B, X, Y, Z, C): in memory that is what PyTorch calls channels_last_3d."""
    return convolution(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)


def _waves(t: Tensor) -> Tensor:
    """Sines and cosines of a noise level in [0, 1], (B, 64)."""
    frequency = torch.exp(torch.linspace(0, 5, _WAVES, device=t.device, dtype=torch.float32))
    angle = t[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
