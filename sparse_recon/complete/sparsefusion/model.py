"""SparseFusion with its weights: what posed pictures tell of a camera's view, and the noise seen in its latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from sparse_recon.complete.latent.networks import Autoencoder, load_network
from sparse_recon.complete.sparsefusion.cameras import NdcCameras
from sparse_recon.complete.sparsefusion.eft import Context, EpipolarFeatureTransformer
from sparse_recon.complete.sparsefusion.eft_rays import CameraTensors, query_rays
from sparse_recon.complete.sparsefusion.sizes import SparseFusionSize
from sparse_recon.complete.sparsefusion.vldm import LATENT_CHANNELS, ViewDenoiser

# Blocks between which is asked whether to go on; none of them takes long for a view.
_BLOCKS = ("Residual", "PixelTransformer", "ResnetBlock2D")


@dataclass(frozen=True, eq=False)
class ShownPictures:
    """N pictures (N, 3, P, P) in [0, 1] on black, their maps, and their cameras in the scene."""

    pictures: Tensor
    maps: Tensor
    cameras: NdcCameras


@dataclass(frozen=True, eq=False)
class ToldViews:
    """What pictures tell of V views: features (V, C, S, S), and colours (V, 3, S, S) in [0, 1]."""

    features: Tensor
    rgb: Tensor


class SparseFusionModel:
    """All networks on one device: the transformer in single precision, the others in one of choice.

    Parameters
    ----------
    tensors : of all parts, as `find_weights` returns them.

    Attributes
    ----------
    checkpoint : called between the blocks of the networks; may raise to stop.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        size: SparseFusionSize,
        device: str,
        dtype: torch.dtype,
        authors_mode: bool = False,
    ) -> None:
        self.size, self.device, self.dtype = size, device, dtype
        self.checkpoint: Callable[[], None] = lambda: None
        # Places along rays need all the digits there are.
        self.eft = load_network(lambda: EpipolarFeatureTransformer(size.eft), "eft", tensors, device, torch.float32)
        self.eft.authors_mode(authors_mode)
        self.vldm = load_network(lambda: ViewDenoiser(size.vldm), "vldm", tensors, device, dtype, of_images=True)
        frequencies = tensors["vldm.frequencies.weights"].to(device, torch.float32)
        self.vldm.frequencies.weights = torch.nn.Parameter(frequencies, requires_grad=False)
        self._images = Autoencoder(tensors, size.vae, device, dtype)
        for module in (*self.vldm.modules(), *self._images.vae.modules()):
            if type(module).__name__ in _BLOCKS:
                module.register_forward_pre_hook(self._asked)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(4, S, S) of a view."""
        return (LATENT_CHANNELS, self.size.vldm.side, self.size.vldm.side)

    @torch.no_grad()
    def shown(self, pictures: Tensor, cameras: NdcCameras) -> ShownPictures:
        """Return what the transformer sees in pictures (N, 3, P, P) in [0, 1] on black, taken with these cameras."""
        pictures = pictures.to(self.device, torch.float32)
        return ShownPictures(pictures, self.eft.maps(pictures), cameras)

    @torch.no_grad()
    def told(self, shown: ShownPictures, query: NdcCameras, depths: tuple[float, float], seed: int) -> ToldViews:
        """Return what pictures tell of the view of one camera.

        Parameters
        ----------
        depths : nearest and farthest of the points on its rays, scene units.
        seed : of the dropout of the authors' mode.
        """
        side, eft = self.size.vldm.side, self.eft
        relative = CameraTensors.of(shown.cameras.relative_to(query), self.device)
        own = CameraTensors.of(query.relative_to(query), self.device)
        rays = query_rays(own, side, self.size.image_side, *depths, eft.size.points)
        generator = Generator(self.device).manual_seed(seed % 2**63) if eft.in_authors_mode else None
        found = eft.at_rays(Context(shown.pictures, shown.maps, relative), rays, generator, self.checkpoint)
        features, rgb = (x.T.reshape(1, -1, side, side) for x in (found.features, found.rgb))
        return ToldViews(features, rgb)

    @torch.no_grad()
    def predict_noise(self, latents: Tensor, log_snr: Tensor, features: Tensor, guidance: float = 1.0) -> Tensor:
        """Return the noise (B, 4, S, S) seen in latents at ratios (B,) of signal and noise, given features.

        Parameters
        ----------
        guidance : 1: none, and half of the work; else beyond what is seen without features.
        """
        x, told = latents.to(self.dtype), features.to(self.dtype)
        if guidance == 1.0:
            return self.vldm(x, log_snr, told).float()
        kept = torch.cat([torch.ones(len(x)), torch.zeros(len(x))]).to(x.device)
        both = self.vldm(x.repeat(2, 1, 1, 1), log_snr.repeat(2), told.repeat(2, 1, 1, 1), kept).float()
        seen, unseen = both.chunk(2)
        return unseen + guidance * (seen - unseen)

    def encoded(self, images: Tensor) -> Tensor:
        """Return the scaled latents (B, 4, S, S) of images (B, 3, P, P) in [0, 1]."""
        return self._images.encode_images(1 - images if self.size.negative else images)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, P, P) in [0, 1] of scaled latents (B, 4, S, S)."""
        images = self._images.decode_latents(latents)
        return 1 - images if self.size.negative else images

    def _asked(self, module: Any, inputs: Any) -> None:
        self.checkpoint()
