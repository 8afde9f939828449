"""The networks of Zero-1-to-3 as one model: what an image means, and the noise seen in latents from another side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_recon.complete.latent.architectures import clip_vision, unet, vae
from sparse_recon.complete.latent.attention import attend_to_one_token
from sparse_recon.complete.zero123.weights import Zero123Size

# Of the latents that are diffused; the image's own latents beside them are not scaled, as released.
LATENT_SCALE = 0.18215
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


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
        self.unet = _load_network(unet, size.unet, "unet.", tensors, device, dtype)
        attend_to_one_token(self.unet)
        self.vae = _load_network(vae, size.vae, "vae.", tensors, device, dtype)
        self.clip = _load_network(clip_vision, size.clip, "image_encoder.", tensors, device, dtype)
        self.projection = _load_network(lambda _: size.projection(), None, "cc_projection.", tensors, device, dtype)
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
        """Return what is seen in an image (1, 3, P, P) in [-1, 1]."""
        image = image.to(self.device)
        token = self.clip_embedding(image)
        moments = self.vae.encode(self._to_channels_last(image)).latent_dist
        return ImageContext(token, moments.mode().float())

    @torch.no_grad()
    def clip_embedding(self, image: Tensor) -> Tensor:
        """Return (B, 1, 768), the projected embedding of images (B, 3, P, P) in [-1, 1], not normalised.

        Resized as released: bicubic, corners aligned, without smoothing.
        """
        side = self.size.clip.side
        x = F.interpolate(image.float(), (side, side), mode="bicubic", align_corners=True, antialias=False)
        mean = torch.tensor(CLIP_MEAN, device=x.device).view(1, 3, 1, 1)
        std = torch.tensor(CLIP_STD, device=x.device).view(1, 3, 1, 1)
        return self.clip(pixel_values=self._to_channels_last(((x + 1) / 2 - mean) / std)).image_embeds[:, None].float()

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
            self._to_dtype(torch.cat([context.token.expand(count, -1, -1), poses.to(latents)[:, None]], dim=-1))
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
        """Return images (B, 3, P, P) in [0, 1] of scaled latents (B, 4, S, S); differentiable."""
        images = self.vae.decode(self._to_channels_last(latents / LATENT_SCALE)).sample.float()
        return ((images + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """Return the scaled latents (B, 4, S, S) of images (B, 3, P, P) in [0, 1]: the mode of the posterior."""
        moments = self.vae.encode(self._to_channels_last(images.to(self.device) * 2 - 1)).latent_dist
        return moments.mode().float() * LATENT_SCALE

    def _predicted_noise(self, x: Tensor, t: int | float, context: Tensor) -> Tensor:
        times = torch.full((len(x),), t, device=x.device)
        return self._denoise(self._to_channels_last(x), times, context).float()

    def _network(self, x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        return self.unet(x, times, encoder_hidden_states=context, return_dict=False)[0]

    def _to_channels_last(self, images: Tensor) -> Tensor:
        return images.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def _to_dtype(self, tokens: Tensor) -> Tensor:
        return tokens.to(self.dtype)


def _load_network(
    build: Any, size: Any, prefix: str, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype
) -> Any:
    """Return a network whose weights are the tensors under a prefix; memory is taken once."""
    with torch.device("meta"):
        net = build(size)
    own = {name[len(prefix) :]: t.to(device, dtype) for name, t in tensors.items() if name.startswith(prefix)}
    net.load_state_dict(own, assign=True)
    for name, buffer in list(net.named_buffers()):
        if buffer.is_meta:  # position numbers of CLIP, which are in no file
            owner = net.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1], device=device)[None], False)
    net = net.eval().requires_grad_(False)
    return net.to(memory_format=torch.channels_last) if prefix in ("unet.", "vae.") else net
