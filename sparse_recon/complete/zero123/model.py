"""The networks of Zero-1-to-3 as one model: what an image means, and the noise seen in latents from another side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparse_recon.complete.latent.architectures import unet
from sparse_recon.complete.latent.attention import attend_to_one_token
from sparse_recon.complete.latent.networks import ImageNetworks, load_network
from sparse_recon.complete.zero123.weights import Zero123Size


@dataclass(frozen=True, eq=False)
class ImageContext:
    """What the networks see in the input image: token (1, 1, 768) of CLIP, latents (1, 4, S, S), unscaled."""

    token: Tensor
    latents: Tensor


class Zero123Model:
    """UNet, autoencoder, CLIP tower and projection on one device, in one precision.

    Parameters
    ----------
    tensors : of all parts, as `find_weights` returns them.
    """

    def __init__(self, tensors: Mapping[str, Tensor], size: Zero123Size, device: str, dtype: torch.dtype) -> None:
        self.size, self.device, self.dtype = size, device, dtype
        self.unet = load_network(lambda: unet(size.unet), "unet", tensors, device, dtype, of_images=True)
        attend_to_one_token(self.unet)
        self.images = ImageNetworks(tensors, size.vae, size.clip, device, dtype)
        self.projection = load_network(size.projection, "cc_projection", tensors, device, dtype)
        self._denoise: Any = self._network

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.size.unet.sample
        return (self.size.vae.latent_channels, side, side)

    def compile(self) -> None:
        """Let PyTorch compile the denoiser; on CUDA with graphs. The first call then takes a minute."""
        self._denoise = torch.compile(self._network, mode="reduce-overhead" if self.device == "cuda" else "default")

    @torch.no_grad()
    def context(self, image: Tensor) -> ImageContext:
        """Return what is seen in an image (1, 3, P, P) in [-1, 1]; its latents are not scaled, as released."""
        return ImageContext(self.images.clip_embedding(image), self.images.posterior(image).mode().float())

    @torch.no_grad()
    def predict_noise(
        self, latents: Tensor, t: int | float, poses: Tensor, context: ImageContext, guidance: float
    ) -> Tensor:
        """Return the noise (B, 4, S, S) seen in latents (B, 4, S, S), with classifier-free guidance in one pass.

        Without the image the context is zero behind the projection, and so are the latents beside: as released.

        Parameters
        ----------
        poses : (B, 4), of `pose_vector`.
        guidance : 1: none, and half of the work.
        """
        count = len(latents)
        context_tokens = self.projection(
            torch.cat([context.token.expand(count, -1, -1), poses.to(latents)[:, None]], dim=-1).to(self.dtype)
        )
        image_latents = context.latents.expand(count, -1, -1, -1)
        if guidance == 1.0:
            return self._predicted_noise(torch.cat([latents, image_latents], dim=1), t, context_tokens)
        x = torch.cat(
            [torch.cat([latents, torch.zeros_like(image_latents)], 1), torch.cat([latents, image_latents], 1)]
        )
        unconditional, conditional = self._predicted_noise(
            x, t, torch.cat([torch.zeros_like(context_tokens), context_tokens])
        ).chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, P, P) in [0, 1] of scaled latents (B, 4, S, S)."""
        return self.images.decode_latents(latents)

    def _predicted_noise(self, x: Tensor, t: int | float, context: Tensor) -> Tensor:
        times = torch.full((len(x),), t, device=x.device)
        channels_last = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return self._denoise(channels_last, times, context).float()

    def _network(self, x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        return self.unet(x, times, encoder_hidden_states=context, return_dict=False)[0]
