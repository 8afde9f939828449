"""Initial weights with which a denoiser answers its noisy latents: what is left to learn is how they differ from noise.

Where there is most noise, nearly all that a denoiser is shown is noise, and the image is what its answer leaves of it,
times fifteen. A small network that must first learn to copy its input through normalised layers shows nothing there for
very long. Networks that predict v (arXiv 2202.00512) are spared that by their form; this gives it to one that predicts
noise as its initial state, with the published layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Normalisation divides by the deviation of a group of channels. Constants this much larger than the latents make it
# the same for all images, within a few hundredths of a percent.
_CONSTANT = 10.0


@torch.no_grad()
def begin_with_the_input(denoiser: Any, channels: int) -> bool:
    """Set weights of a diffusers UNet so that it answers its first `channels` input channels; return whether it could.

    Each takes the first four channels of a normalised group of its own: the latent, its negative, and two constants.
    Where groups are fewer or smaller nothing is set.
    """
    norm, block = denoiser.conv_norm_out, denoiser.up_blocks[-1]
    size = norm.num_channels // norm.num_groups
    if norm.num_groups < channels or size < 4:
        return False
    last = block.resnets[-1]
    taken = torch.cat([torch.arange(4) + size * k for k in range(channels)])
    plus, minus, upper, lower = taken.view(channels, 4).T

    # 1. The first layer keeps the latents as they are, in channels that the last block is handed as they left it.
    _only_centre(denoiser.conv_in, torch.arange(channels), torch.arange(channels))
    # 2. The last block passes them by its shortcut, and adds nothing to them.
    shortcut = last.conv_shortcut
    shortcut.weight[taken] = 0
    shortcut.bias[taken] = 0
    first = shortcut.in_channels - denoiser.conv_in.out_channels
    shortcut.weight[plus, first + torch.arange(channels), 0, 0] = 1
    shortcut.weight[minus, first + torch.arange(channels), 0, 0] = -1
    shortcut.bias[upper], shortcut.bias[lower] = _CONSTANT, -_CONSTANT
    adding = [last.conv2, *(attention.proj_out for attention in getattr(block, "attentions", None) or ())]
    for layer in adding[:1] + adding[-1:]:
        layer.weight[taken] = 0
        layer.bias[taken] = 0
    # 3. The last layer takes their difference: silu(z) - silu(-z) = z.
    scale = ((1 + _CONSTANT**2) / 2) ** 0.5
    denoiser.conv_out.weight.zero_()
    denoiser.conv_out.bias.zero_()
    centre = denoiser.conv_out.weight.shape[-1] // 2
    denoiser.conv_out.weight[torch.arange(channels), plus, centre, centre] = scale
    denoiser.conv_out.weight[torch.arange(channels), minus, centre, centre] = -scale
    return True


@torch.no_grad()
def answer_the_latents(denoiser: Any) -> None:
    """Set weights of a `ViewDenoiser` so that it answers the noisy latents, which follow the features in its input.

    Its last layer is not normalised: copies of the latents in the first channels need only be handed on.
    """
    channels = denoiser.conv_out.out_channels
    kept = torch.arange(channels)
    first, last = denoiser.conv_in.convs[0], denoiser.up[-1].blocks[-1]
    # 1. The first layer copies them, and the blocks until they are handed across add nothing.
    _only_centre(first, kept, first.in_channels - channels + kept)
    for block in (denoiser.down[0].first, denoiser.down[0].blocks[0], last, denoiser.last):
        block.conv2.weight[kept] = 0
        block.conv2.bias[kept] = 0
    # 2. The last block of the way up, to which they are handed, passes them by its shortcut.
    shortcut, before = last.shortcut, last.norm1.num_channels - denoiser.size.width
    shortcut.weight[kept] = 0
    shortcut.bias[kept] = 0
    shortcut.weight[kept, before + kept, 0, 0] = 2**0.5
    # 3. The last layer takes them.
    _only_centre(denoiser.conv_out, kept, kept)


def _only_centre(layer: Any, rows: Tensor, columns: Tensor) -> None:
    """Make channels `rows` of a convolution copies of its input channels `columns`."""
    centre = layer.weight.shape[-1] // 2
    layer.weight[rows] = 0
    layer.bias[rows] = 0
    layer.weight[rows, columns, centre, centre] = 1
