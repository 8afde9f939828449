"""Volumes in 2x2x2 patches: the eight voxels of a patch become channels, so that layers are matrix products."""

from __future__ import annotations

from torch import Tensor

PATCH_SIDE = 2
PATCH_VOXELS = PATCH_SIDE**3


def patchify(volume: Tensor) -> Tensor:
    """Turn (..., N, N, N) into (..., N/2, N/2, N/2, 8)."""
    *lead, n, _, _ = volume.shape
    k = len(lead)
    split = volume.reshape(*lead, n // PATCH_SIDE, PATCH_SIDE, n // PATCH_SIDE, PATCH_SIDE, n // PATCH_SIDE, PATCH_SIDE)
    patches = split.permute(*range(k), k, k + 2, k + 4, k + 1, k + 3, k + 5)
    return patches.reshape(*lead, n // PATCH_SIDE, n // PATCH_SIDE, n // PATCH_SIDE, PATCH_VOXELS)


def unpatchify(patches: Tensor) -> Tensor:
    """Turn (B, n, n, n, 8) into (B, 2 n, 2 n, 2 n)."""
    return depth_to_space(patches).squeeze(-1)


def space_to_depth(x: Tensor) -> Tensor:
    """Turn half the resolution into eight times the channels: (B, 2 n, 2 n, 2 n, C) to (B, n, n, n, 8 C)."""
    batch, n, _, _, channels = x.shape
    split = x.reshape(
        batch, n // PATCH_SIDE, PATCH_SIDE, n // PATCH_SIDE, PATCH_SIDE, n // PATCH_SIDE, PATCH_SIDE, channels
    )
    patches = split.permute(0, 1, 3, 5, 2, 4, 6, 7)
    return patches.reshape(batch, n // PATCH_SIDE, n // PATCH_SIDE, n // PATCH_SIDE, PATCH_VOXELS * channels)


def depth_to_space(x: Tensor) -> Tensor:
    """Undo `space_to_depth`: (B, n, n, n, 8 C) to (B, 2 n, 2 n, 2 n, C)."""
    batch, n = x.shape[0], x.shape[1]
    split = x.reshape(batch, n, n, n, PATCH_SIDE, PATCH_SIDE, PATCH_SIDE, -1)
    return split.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, PATCH_SIDE * n, PATCH_SIDE * n, PATCH_SIDE * n, -1)
