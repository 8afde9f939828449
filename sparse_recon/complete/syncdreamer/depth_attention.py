"""Attention of each pixel to what lies along its ray, behind the blocks of the denoiser (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.latent.architectures import UNetSize
from sparse_recon.complete.latent.unet_places import decoder_places, put_behind
from sparse_recon.complete.syncdreamer.sizes import VolumeSize
from sparse_recon.complete.syncdreamer.unet3d import GROUPS


class DepthAttention(nn.Module):
    """Adds to a feature map what each pixel finds on its own ray of a frustum volume.

    Parameters
    ----------
    channels : of the map.
    context : of the volume; a head is half as wide.
    """

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        inner = heads * (context // 2)
        self.heads = heads
        self.conv_in, self.norm_in = nn.Conv2d(channels, inner, 1), nn.GroupNorm(GROUPS, inner)
        self.context = nn.Linear(context, context, bias=False)
        self.norm_context = nn.GroupNorm(GROUPS, context)
        self.to_q, self.to_out = nn.Linear(inner, inner, bias=False), nn.Linear(inner, inner, bias=False)
        self.to_k, self.to_v = nn.Linear(context, inner, bias=False), nn.Linear(context, inner, bias=False)
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, inner), nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, inner), nn.Conv2d(inner, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, volume: Tensor) -> Tensor:
        """Return the map (N, channels, H, W) with what was found added.

        Parameters
        ----------
        volume : (M, context, D, H, W) of the first M <= N maps; for the others it is zero, which is not to say that
            they find nothing: the norm behind its projection has a bias.
        """
        query = functional.silu(self.norm_in(self.conv_in(x))).flatten(2).transpose(1, 2)  # (N, HW, inner)
        found = self._attended(query[: len(volume)], volume)
        if len(x) > len(volume):
            # A zero volume is alike everywhere: one of its planes says all.
            nothing = torch.zeros_like(volume[:1, :, :1]).expand(len(x) - len(volume), -1, -1, -1, -1)
            found = torch.cat([found, self._attended(query[len(volume) :], nothing)])
        out = self.to_out(found).transpose(1, 2).unflatten(2, x.shape[2:])
        out = self.conv1(functional.relu(self.norm1(out)))
        return x + self.conv2(functional.relu(self.norm2(out)))

    def _attended(self, query: Tensor, volume: Tensor) -> Tensor:
        """Return (N, HW, inner) of queries (N, HW, inner): attention over depth at each pixel, each head.

        Keys and values are never made: a key's product with a query is that of what it is made of with the query
        turned back, and a sum of values is the value of the sum.
        """
        weight = self.context.weight[:, :, None, None, None]
        told = functional.relu(self.norm_context(functional.conv3d(volume, weight)))
        told = told.flatten(3).permute(0, 3, 2, 1)  # (N, HW, D, context)
        heads = self.heads
        q = self.to_q(query).unflatten(2, (heads, -1))  # (N, HW, heads, width)
        to_k = self.to_k.weight.unflatten(0, (heads, -1))  # (heads, width, context)
        to_v = self.to_v.weight.unflatten(0, (heads, -1))
        turned = torch.einsum("nphw,hwc->nphc", q, to_k)
        likeness = (turned @ told.transpose(2, 3)) * q.shape[-1] ** -0.5  # (N, HW, heads, D)
        gathered = likeness.softmax(dim=-1) @ told  # (N, HW, heads, context)
        return torch.einsum("nphc,hwc->nphw", gathered, to_v).flatten(2)


class DepthAttentions(nn.Module):
    """All of a denoiser: one behind its middle, and one behind each block of its decoder but the coarsest level's."""

    def __init__(self, unet: UNetSize, volume: VolumeSize) -> None:
        super().__init__()
        self.middle = DepthAttention(unet.width * unet.multipliers[-1], volume.widths[-1], volume.heads)
        self._places = decoder_places(unet)
        self.decoder = nn.ModuleList(
            DepthAttention(place.channels, volume.widths[place.level], volume.heads) for place in self._places
        )
        self._volumes: Sequence[Tensor] | None = None

    def attach(self, unet: Any) -> None:
        """Let a diffusers UNet ask these modules behind its blocks from now on: into what `look_at` was told."""
        put_behind(unet, "mid_block", partial(self._asked, self.middle, -1))
        for module, place in zip(self.decoder, self._places, strict=True):
            put_behind(unet, place.name, partial(self._asked, module, place.level))

    def look_at(self, volumes: Sequence[Tensor] | None) -> None:
        """Take the volumes, finest first, that the next passes of the UNet look into; None: they find nothing."""
        self._volumes = volumes

    def _asked(self, module: nn.Module, level: int, x: Tensor) -> Tensor:
        if self._volumes is None:
            return x
        found: Tensor = module(x, self._volumes[level])
        return found
