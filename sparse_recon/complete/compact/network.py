"""The network: a U-Net over one object's cube, convolutions at fine levels, attention at the coarsest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparse_recon.complete.compact.patches import PATCH_VOXELS, depth_to_space, space_to_depth

OUTPUTS = 3  # x0, log of its expected error, occupancy
SCALAR_FEATURES = 8  # of `Conditioning.scalar_features`
_FREQUENCIES, _HEAD_WIDTH = 32, 64


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
    """Maps patches of a noisy volume with its conditioning, and a noise level, to raw outputs (`flow.denoised`).

    Channels come last everywhere: halving the resolution makes eight times the channels, and layers are products.
    """

    def __init__(self, size: Architecture) -> None:
        super().__init__()
        self.size = size
        fine, middle, wide = size.fine_width, size.middle_width, size.width
        embedding_width = 2 * middle
        self.embedding = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES + SCALAR_FEATURES, embedding_width),
            nn.SiLU(),
            nn.Linear(embedding_width, embedding_width),
            nn.SiLU(),
        )
        self.stem = nn.Linear(PATCH_VOXELS * size.inputs, fine)
        self.to_middle = nn.Linear(PATCH_VOXELS * fine, middle)
        self.encode = nn.ModuleList(ResidualBlock(middle, embedding_width) for _ in range(size.fine_blocks))
        self.to_wide = nn.Linear(PATCH_VOXELS * middle, wide)
        self.positional_embedding = nn.Parameter(0.02 * torch.randn(1, (size.grid // 8) ** 3, wide))
        self.blocks = nn.ModuleList(AttentionBlock(wide, embedding_width) for _ in range(size.blocks))
        self.up_middle = nn.Linear(wide, PATCH_VOXELS * middle)
        self.decode = nn.ModuleList(ResidualBlock(middle, embedding_width) for _ in range(size.fine_blocks))
        self.up_fine = nn.Linear(middle, PATCH_VOXELS * fine)
        self.finish = nn.ModuleList(ResidualBlock(fine, embedding_width) for _ in range(size.fine_blocks))
        self.out = nn.Linear(fine, OUTPUTS * PATCH_VOXELS)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, volume: Tensor, t: Tensor, scalar_features: Tensor) -> Tensor:
        """Return (B, n, n, n, 3 * 8) of patches (B, n, n, n, 8 C), noise levels t (B,) and features (B, 8)."""
        embedding = self.embedding(
            torch.cat([sinusoidal_embedding(t), scalar_features], dim=1).to(volume.dtype)
        )  # (B, D)
        fine = self.stem(volume)  # (B, n, n, n, F)
        middle = self.to_middle(space_to_depth(fine))  # (B, n/2, ..., M)
        for block in self.encode:
            middle = block(middle, embedding)
        wide = self.to_wide(space_to_depth(middle))  # (B, n/4, ..., W)
        tokens = wide.flatten(1, 3) + self.positional_embedding  # (B, n^3/64, W)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        middle = middle + depth_to_space(self.up_middle(tokens).view(*wide.shape[:4], -1))
        for block in self.decode:
            middle = block(middle, embedding)
        fine = fine + depth_to_space(self.up_fine(middle))
        for block in self.finish:
            fine = block(fine, embedding)
        return self.out(F.silu(fine))


class ResidualBlock(nn.Module):
    """Residual block of two 3x3x3 convolutions, modulated by the embedding (FiLM)."""

    def __init__(self, width: int, embedding_width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(embedding_width, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding)[:, None, None, None].chunk(2, dim=-1)
        y = _conv3d_channels_last(self.first, F.layer_norm(x, x.shape[-1:]))
        return x + _conv3d_channels_last(self.second, F.silu(torch.addcmul(shift, y, 1 + scale)))


class AttentionBlock(nn.Module):
    """Transformer block, modulated by the embedding (Peebles and Xie 2022)."""

    def __init__(self, width: int, embedding_width: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD_WIDTH)
        self.qkv, self.out_projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up_projection, self.down_projection = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulate = nn.Linear(embedding_width, 4 * width)
        for layer in (self.out_projection, self.down_projection, self.modulate):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        a, b, c, d = self.modulate(embedding)[:, None].chunk(4, dim=-1)
        y = torch.addcmul(b, F.layer_norm(x, x.shape[-1:]), 1 + a)
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        x = x + self.out_projection(_attention(q, k, v).transpose(1, 2).flatten(2))
        y = torch.addcmul(d, F.layer_norm(x, x.shape[-1:]), 1 + c)
        return x + self.down_projection(F.silu(self.up_projection(y)))


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    # Written out: on CPUs the fused kernel's backward pass takes longer than all the rest of the block.
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1) @ v


def _conv3d_channels_last(convolution: nn.Module, x: Tensor) -> Tensor:
    """Convolve (B, X, Y, Z, C): in memory that is what PyTorch calls channels_last_3d."""
    return convolution(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)


def sinusoidal_embedding(t: Tensor) -> Tensor:
    """Return sines and cosines of a noise level in [0, 1], (B, 64)."""
    frequency = torch.exp(torch.linspace(0, 5, _FREQUENCIES, device=t.device, dtype=torch.float32))
    angle = t[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
