"""Volumes as the network keeps them: the eight voxels of a 2x2x2 block side by side, so that layers are products."""

from __future__ import annotations

from torch import Tensor

SIDE = 2
VOXELS = SIDE**3


def patched(volume: Tensor) -> Tensor:
    """Turn (..., N, N, N) into (..., N/2, N/2, N/2, 8)."""
    *lead, n, _, _ = volume.shape
    k = len(lead)
    split = volume.reshape(*lead, n // SIDE, SIDE, n // SIDE, SIDE, n // SIDE, SIDE)
    blocks = split.permute(*range(k), k, k + 2, k + 4, k + 1, k + 3, k + 5)
    return blocks.reshape(*lead, n // SIDE, n // SIDE, n // SIDE, VOXELS)


def unpatched(blocks: Tensor) -> Tensor:
    """Turn (B, n, n, n, 8) into (B, 2 n, 2 n, 2 n)."""
    return spread(blocks).squeeze(-1)


def gathered(x: Tensor) -> Tensor:
    """Turn half the resolution into eight times the channels: (B, 2 n, 2 n, 2 n, C) to (B, n, n, n, 8 C)."""
    batch, n, _, _, channels = x.shape
    split = x.reshape(batch, n // SIDE, SIDE, n // SIDE, SIDE, n // SIDE, SIDE, channels)
    blocks = split.permute(0, 1, 3, 5, 2, 4, 6, 7)
    return blocks.reshape(batch, n // SIDE, n // SIDE, n // SIDE, VOXELS * channels)


def spread(x: Tensor) -> Tensor:
    """Undo `gathered`: (B, n, n, n, 8 C) to (B, 2 n, 2 n, 2 n, C)."""
    batch, n = x.shape[0], x.shape[1]
    split = x.reshape(batch, n, n, n, SIDE, SIDE, SIDE, -1)
    return split.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, SIDE * n, SIDE * n, SIDE * n, -1)
