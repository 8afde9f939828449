"""Sizes of the networks of SyncDreamer."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, VaeSize

MODEL = "syncdreamer"
# Of the token that tells a view from the input picture.
TOKEN_NUMBERS = 4


@dataclass(frozen=True)
class VolumeSize:
    """Sizes of what the views share, and of what each sees of it.

    Attributes
    ----------
    views : how many are drawn together.
    features : channels that each view adds to the vertices of the spatial volume.
    vertices : along an edge of the spatial volume.
    planes : depths of the frustum volume of a view.
    widths : channels of both volumes, finest first; as many levels as the denoiser has.
    time : width of the embedding of time.
    heads : of the attention over depth.
    """

    views: int = 16
    features: int = 16
    vertices: int = 32
    planes: int = 48
    widths: tuple[int, ...] = (64, 128, 256, 512)
    time: int = 256
    heads: int = 4


@dataclass(frozen=True)
class SyncDreamerSize:
    """Sizes of all networks; the defaults are the published ones."""

    unet: UNetSize = field(default_factory=UNetSize)
    vae: VaeSize = field(default_factory=VaeSize)
    clip: ClipSize = field(default_factory=ClipSize)
    volume: VolumeSize = field(default_factory=VolumeSize)

    @property
    def image_side(self) -> int:
        """P, pixels along a side of the images."""
        return self.unet.sample * self.vae.factor

    def __post_init__(self) -> None:
        levels = len(self.volume.widths)
        if levels != len(self.unet.multipliers):
            raise ValueError(f"{levels} widths of volumes, the denoiser has {len(self.unet.multipliers)} levels")
        for name in ("planes", "vertices"):
            if getattr(self.volume, name) % 2 ** (levels - 1):
                raise ValueError(f"volume.{name} must be a multiple of {2 ** (levels - 1)}")


def mini_size() -> SyncDreamerSize:
    """Return sizes of a network that two cores can train: pictures of 64 pixels, latents of 16."""
    return SyncDreamerSize(
        UNetSize(width=64, multipliers=(1, 2, 2), layers=1, heads=4, context=96, sample=16),
        VaeSize(width=32, multipliers=(1, 2, 2), layers=1),
        ClipSize(width=96, layers=3, heads=4, patch=8, side=64, projection=96),
        VolumeSize(features=8, vertices=16, planes=24, widths=(32, 48, 64), time=64),
    )
