"""The three networks of the Stable Diffusion family, built from their sizes alone, without a hub.

Sizes are those of Stable Diffusion 1 (arXiv 2112.10752) and of CLIP ViT-L/14 (arXiv 2103.00020).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from sparse_recon.errors import DependencyError

INSTALL = "pip install sparse_recon[models]"


def require_libraries(model: str) -> None:
    """Raise DependencyError if a library is missing that every model of this family needs; imports none of them."""
    for library in ("diffusers", "transformers", "torch"):
        if find_spec(library) is None:
            raise DependencyError(library, f"the model {model}", INSTALL)


@dataclass(frozen=True)
class UNetSize:
    """Sizes of a denoiser.

    Attributes
    ----------
    width : channels of the finest level.
    multipliers : channels of each level, in widths; the coarsest has no attention but in the middle.
    layers : residual blocks of a level.
    heads : of every attention.
    context : width of the tokens that cross-attention looks at.
    sample : side of the latents.
    groups : of channels that are normalised together.
    """

    in_channels: int = 8
    out_channels: int = 4
    width: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    layers: int = 2
    heads: int = 8
    context: int = 768
    sample: int = 32
    groups: int = 32


@dataclass(frozen=True)
class VaeSize:
    """Sizes of an autoencoder of images.

    Attributes
    ----------
    multipliers : channels of each level, in widths; each but the last halves the side.
    latent_scale : factor from its latents to those that are diffused.
    groups : of channels that are normalised together.
    """

    width: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    layers: int = 2
    latent_channels: int = 4
    latent_scale: float = 0.18215
    groups: int = 32

    @property
    def factor(self) -> int:
        """Pixels along a side of one latent."""
        return int(2 ** (len(self.multipliers) - 1))


@dataclass(frozen=True)
class ClipSize:
    """Sizes of a vision transformer with a projection."""

    width: int = 1024
    layers: int = 24
    heads: int = 16
    patch: int = 14
    side: int = 224
    projection: int = 768


def unet(size: UNetSize) -> Any:
    """Return a `diffusers.UNet2DConditionModel` with random weights."""
    levels = len(size.multipliers)
    # attention_head_dim counts heads in this class, by an old mistake that its files keep.
    return _diffusers().UNet2DConditionModel(
        sample_size=size.sample,
        in_channels=size.in_channels,
        out_channels=size.out_channels,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        block_out_channels=tuple(size.width * m for m in size.multipliers),
        layers_per_block=size.layers,
        cross_attention_dim=size.context,
        attention_head_dim=size.heads,
        norm_num_groups=size.groups,
    )


def vae(size: VaeSize) -> Any:
    """Return a `diffusers.AutoencoderKL` with random weights."""
    levels = len(size.multipliers)
    return _diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(size.width * m for m in size.multipliers),
        layers_per_block=size.layers,
        latent_channels=size.latent_channels,
        norm_num_groups=size.groups,
    )


def clip_vision(size: ClipSize) -> Any:
    """Return a `transformers.CLIPVisionModelWithProjection` with random weights."""
    try:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    except ImportError as error:
        raise DependencyError("transformers", "models of the Stable Diffusion family", INSTALL) from error
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=size.width,
            intermediate_size=4 * size.width,
            projection_dim=size.projection,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            image_size=size.side,
            patch_size=size.patch,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
        )
    )


def _diffusers() -> ModuleType:
    try:
        import diffusers
    except ImportError as error:
        raise DependencyError("diffusers", "models of the Stable Diffusion family", INSTALL) from error
    return diffusers
