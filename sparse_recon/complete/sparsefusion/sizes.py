"""Sizes of the networks of SparseFusion."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from sparse_recon.complete.latent.architectures import VaeSize

MODEL = "sparsefusion"
# Levels of the backbone whose maps are looked at; a fourth is held where files hold it, and never run.
LEVELS_USED = 3


@dataclass(frozen=True)
class EftSize:
    """Sizes of the epipolar feature transformer.

    Attributes
    ----------
    backbone : channels of the levels of a ResNet-18. Three are used; with a fourth it has ImageNet's classifier as
        well, as the published files do.
    width : of the transformers, and of the features that they answer.
    layers : of each of the three transformers.
    points : on a ray.
    octaves : of the harmonic embedding of rays and depths.
    """

    backbone: tuple[int, ...] = (64, 128, 256, 512)
    width: int = 256
    layers: int = 4
    points: int = 20
    octaves: int = 6

    @property
    def map_channels(self) -> int:
        """Channels of the maps of a picture: of the stem, and of the levels used."""
        return self.backbone[0] + sum(self.backbone[:LEVELS_USED])

    def __post_init__(self) -> None:
        if len(self.backbone) not in (LEVELS_USED, LEVELS_USED + 1):
            raise ValueError(f"backbone has {len(self.backbone)} levels, accepted are {LEVELS_USED} or one more")


@dataclass(frozen=True)
class VldmSize:
    """Sizes of the denoiser of latents, which looks at the features of a view.

    Attributes
    ----------
    side : of the latents, and of the map of features.
    features : channels of that map.
    width : channels of the finest level.
    multipliers : channels of each level, in widths; the coarsest has attention.
    blocks : residual blocks of a level, beside its first.
    heads, head_width : of every attention.
    kernels : sides of the convolutions that look at the input together.
    frequencies : learnt, of the log signal-to-noise ratio.
    time_tokens : that attention looks at beside pixels.
    null_tokens : of a condition by text that files hold and nothing reads.
    groups : of channels that are normalised together.
    """

    side: int = 32
    features: int = 256
    width: int = 256
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    heads: int = 8
    head_width: int = 64
    kernels: tuple[int, ...] = (3, 7, 15)
    frequencies: int = 8
    time_tokens: int = 2
    null_tokens: int = 256
    groups: int = 8

    @property
    def time_width(self) -> int:
        """Channels of the embedding of time."""
        return 4 * self.width

    @property
    def level_widths(self) -> list[tuple[int, int]]:
        """Channels that each level takes and hands on, finest first."""
        widths = [self.width, *(self.width * m for m in self.multipliers)]
        return list(pairwise(widths))


@dataclass(frozen=True)
class SparseFusionSize:
    """Sizes of all networks; the defaults are the published ones.

    `negative` says that the autoencoder is shown negatives: that of the minis knows pictures on white, and these are on
    black.
    """

    eft: EftSize = field(default_factory=EftSize)
    vldm: VldmSize = field(default_factory=VldmSize)
    vae: VaeSize = field(default_factory=VaeSize)
    negative: bool = False

    @property
    def image_side(self) -> int:
        """P, pixels along a side of the pictures."""
        return self.vldm.side * self.vae.factor

    def __post_init__(self) -> None:
        if self.eft.width != self.vldm.features:
            raise ValueError(
                f"the transformer answers {self.eft.width} features, the denoiser takes {self.vldm.features}"
            )
