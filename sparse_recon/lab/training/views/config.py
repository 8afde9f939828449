"""Parameters of the pictures that view models learn from."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparse_recon.complete.sparsefusion.sizes import LEVELS_USED
from sparse_recon.config.parameters import Checked, doc
from sparse_recon.errors import ConfigError
from sparse_recon.lab.training.config import RunConfig
from sparse_recon.lab.training.views.cameras import POLICIES


@dataclass(frozen=True)
class ViewDataConfig(Checked):
    """The pictures that are learned from."""

    seed: int = field(default=1, metadata=doc("Seed of objects, materials and cameras.", low=0, high=2**31 - 1))
    cameras: str = field(
        default="sphere", metadata=doc("Where cameras stand, by the model they are for.", choices=tuple(POLICIES))
    )
    side: int = field(default=64, metadata=doc("Number of pixels along an edge of a picture.", low=16, high=512))
    household: int = field(default=300, metadata=doc("Number of made-up household objects.", low=0, high=1_000_000))
    scans: tuple[str, ...] = field(
        default=(),
        metadata=doc("Names of scanned meshes in the folders of scans. Objects that evaluation scores are refused."),
    )
    scan_draws: int = field(
        default=4, metadata=doc("Number of variations of each scan; all but the first are stretched.", low=1, high=1000)
    )
    shapes: tuple[str, ...] = field(
        default=("cc0", "permissive", "abstract"),
        metadata=doc("Names of the files of the pack of shapes. Each part of a shape is given a material."),
    )
    without: tuple[str, ...] = field(
        default=("brick part",), metadata=doc("Categories of the pack of shapes that are left out.")
    )
    shape_draws: int = field(
        default=1, metadata=doc("Number of variations of each shape, with other materials.", low=1, high=1000)
    )
    objects_per_shard: int = field(
        default=32, metadata=doc("Number of objects whose pictures share one file (shard).", low=1, high=1000)
    )
    held_out_every: int = field(
        default=16, metadata=doc("One object in this many is never learned from.", low=2, high=1000)
    )


@dataclass(frozen=True)
class ViewRunConfig(RunConfig):
    """A training run on pictures."""

    data: ViewDataConfig = field(default_factory=ViewDataConfig)


@dataclass(frozen=True)
class AutoencoderConfig(ViewRunConfig):
    """A training run of the autoencoder that all minis share."""

    width: int = field(default=16, metadata=doc("Number of channels at the full resolution.", low=8, high=512))
    multipliers: tuple[int, ...] = field(
        default=(1, 2, 4), metadata=doc("Channels of each level in widths; each level but the last halves the side.")
    )
    layers: int = field(default=1, metadata=doc("Number of residual blocks of a level.", low=1, high=8))
    groups: int = field(default=8, metadata=doc("Number of groups of channels in normalisation.", low=1, high=64))
    object_weight: float = field(
        default=2.0, metadata=doc("What an error on the object counts for beyond one beside it.", low=0.0, high=100.0)
    )
    color_weight: float = field(
        default=8.0,
        metadata=doc(
            "Loss weight of squared differences of colour apart from brightness, without which little networks learn "
            "grey pictures first.",
            low=0.0,
            high=100.0,
        ),
    )
    absolute_weight: float = field(
        default=0.1, metadata=doc("Loss weight of absolute differences beside squared ones.", low=0.0, high=100.0)
    )
    kl_weight: float = field(
        default=1e-6, metadata=doc("Loss weight of the divergence of latents from noise.", low=0.0, high=1.0)
    )
    gate_psnr_db: float = field(
        default=20.0, metadata=doc("Least PSNR on held-out pictures at gate_step.", unit="dB", low=0.0, high=100.0)
    )


@dataclass(frozen=True)
class LatentRunConfig(ViewRunConfig):
    """A training run of a model that draws latents."""

    autoencoder: str = field(
        default="", metadata=doc("Path of the autoencoder's weights. Empty takes those that ship with the package.")
    )
    image_dropout: float = field(
        default=0.1,
        metadata=doc(
            "Share of the samples that are trained without the input image, as guidance asks for.", low=0.0, high=1.0
        ),
    )
    noisy_weight: float = field(
        default=20.0,
        metadata=doc(
            "Most that an error of predicted noise counts. It counts by 1 / alpha_bar of its time, which makes it an "
            "error of v (arXiv 2202.00512): little networks fail first where there is most noise. 1 is the published "
            "loss.",
            low=1.0,
            high=1000.0,
        ),
    )
    measure_steps: int = field(
        default=12, metadata=doc("Number of denoising steps of views drawn for validation.", low=1, high=1000)
    )
    measure_guidance: float = field(
        default=1.5, metadata=doc("Guidance scale of views drawn for validation.", low=1.0, high=50.0)
    )


@dataclass(frozen=True)
class UNetRunConfig(LatentRunConfig):
    """A training run of a denoiser of the form of Stable Diffusion's, which is told of an image by one token."""

    width: int = field(default=48, metadata=doc("Number of channels of the denoiser's finest level.", low=8, high=1024))
    multipliers: tuple[int, ...] = field(
        default=(1, 2, 3), metadata=doc("Channels of each of the denoiser's levels in widths.")
    )
    layers: int = field(default=1, metadata=doc("Number of residual blocks of a level.", low=1, high=8))
    heads: int = field(default=4, metadata=doc("Number of heads of every attention.", low=1, high=32))
    groups: int = field(default=16, metadata=doc("Number of groups of channels in normalisation.", low=1, high=64))
    context: int = field(default=128, metadata=doc("Width of the token of image and pose.", low=16, high=4096))
    clip_width: int = field(default=96, metadata=doc("Width of the image tower.", low=16, high=4096))
    clip_layers: int = field(default=3, metadata=doc("Number of layers of the image tower.", low=1, high=48))
    clip_heads: int = field(default=4, metadata=doc("Number of heads of the image tower.", low=1, high=64))
    clip_patch: int = field(default=8, metadata=doc("Pixels along a patch of the image tower.", low=2, high=64))
    clip_side: int = field(default=64, metadata=doc("Pixels along the image that the tower sees.", low=16, high=512))


@dataclass(frozen=True)
class SparseFusionRunConfig(LatentRunConfig):
    """A training run of the feature transformer, or of the denoiser that looks at its features."""

    learns: str = field(
        default="both",
        metadata=doc(
            "What is learned: transformer, which draws blurred colours; denoiser, which looks at the features of a "
            "finished transformer; or both at once, as published.",
            choices=("transformer", "denoiser", "both"),
        ),
    )
    begin_from: str = field(
        default="", metadata=doc("Path of weights of an earlier run of the same sizes. Empty begins with random ones.")
    )
    fewest: int = field(default=2, metadata=doc("Least number of pictures that are shown.", low=1, high=8))
    most: int = field(default=5, metadata=doc("Largest number of pictures that are shown.", low=1, high=8))
    rays: int = field(
        default=96,
        metadata=doc("Number of rays of a view in a step of the transformer alone.", low=1, high=16384),
    )
    draws: int = field(
        default=12, metadata=doc("Number of noises that a view is denoised from in a step.", low=1, high=256)
    )
    depth_weight: float = field(
        default=0.01,
        metadata=doc(
            "Loss weight of where on a ray the transformer looks, which is to be where the surface is. 0 is the "
            "published loss.",
            low=0.0,
            high=100.0,
        ),
    )
    scale: float = field(
        default=0.2,
        metadata=doc("How much objects are larger or smaller than told, as on a robot; a share.", low=0.0, high=0.9),
    )
    backbone: tuple[int, ...] = field(
        default=(16, 24, 32), metadata=doc("Channels of the levels of the pictures' maps: three of them.")
    )
    features: int = field(
        default=64, metadata=doc("Width of the transformers, and features of a ray.", low=8, high=512)
    )
    layers: int = field(default=2, metadata=doc("Number of layers of each of the transformers.", low=1, high=12))
    points: int = field(default=20, metadata=doc("Number of points on a ray.", low=2, high=128))
    width: int = field(default=32, metadata=doc("Number of channels of the denoiser's finest level.", low=8, high=1024))
    multipliers: tuple[int, ...] = field(
        default=(1, 2, 3), metadata=doc("Channels of each of the denoiser's levels in widths.")
    )
    blocks: int = field(
        default=1, metadata=doc("Number of residual blocks of a level, beside its first.", low=1, high=8)
    )
    heads: int = field(default=4, metadata=doc("Number of heads of every attention.", low=1, high=32))
    head_width: int = field(default=16, metadata=doc("Channels of a head.", low=4, high=256))
    kernels: tuple[int, ...] = field(
        default=(3, 5, 7), metadata=doc("Sides of the denoiser's first convolutions, which look at the input together.")
    )

    def __post_init__(self) -> None:
        """Check what is of several parameters.

        Raises
        ------
        ConfigError
            If they do not fit together.
        """
        super().__post_init__()
        views = POLICIES[self.data.cameras].count
        if not self.fewest <= self.most < views:
            raise ConfigError(
                f"fewest is {self.fewest} and most {self.most}: of {views} views of {self.data.cameras} one is asked "
                f"for; accepted are fewest <= most <= {views - 1}"
            )
        if len(self.backbone) != LEVELS_USED:
            raise ConfigError(f"backbone names {len(self.backbone)} levels, accepted are {LEVELS_USED}")
        if even := [kernel for kernel in self.kernels if kernel < 1 or kernel % 2 == 0]:
            raise ConfigError(f"kernels holds {even[0]}, accepted are odd numbers from 1 on")


@dataclass(frozen=True)
class SyncDreamerConfig(UNetRunConfig):
    """A training run of a model that draws all views of an object together."""

    targets: int = field(default=16, metadata=doc("Number of views that are drawn together.", low=2, high=64))
    views_per_object: int = field(
        default=4,
        metadata=doc("Number of views that are denoised of each object and step; 1 as published.", low=1, high=64),
    )
    features: int = field(default=8, metadata=doc("Channels that a view adds to the volume.", low=1, high=64))
    vertices: int = field(default=16, metadata=doc("Vertices along an edge of the volume.", low=4, high=128))
    planes: int = field(default=24, metadata=doc("Depths of a view's frustum volume.", low=4, high=256))
    volume_widths: tuple[int, ...] = field(
        default=(16, 24, 32), metadata=doc("Channels of the volumes' levels, as many as the denoiser has.")
    )
    volume_time: int = field(default=64, metadata=doc("Width of the volumes' embedding of time.", low=8, high=1024))
    begin_from: str = field(
        default="",
        metadata=doc(
            "Path of weights of Zero-1-to-3 in small that denoiser, image tower and projection begin with, as the "
            "published model did with the large ones. Empty begins with random weights."
        ),
    )
    frozen: bool = field(
        default=False,
        metadata=doc("Whether denoiser, image tower and projection stay as they begin, as published."),
    )
