"""The networks of Zero-1-to-3 as one model: what a picture means, and the noise seen in latents from another side."""

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

# Of the latents that are diffused; the picture's own latents beside them are not scaled, as released.
LATENT_SCALE = 0.18215
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)
class PictureContext:
    """What the networks see in the input picture: token (1, 1, 768) of CLIP, latents (1, 4, S, S), unscaled."""

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
        self.unet = _filled(unet, size.unet, "unet.", tensors, device, dtype)
        attend_to_one_token(self.unet)
        self.vae = _filled(vae, size.vae, "vae.", tensors, device, dtype)
        self.clip = _filled(clip_vision, size.clip, "image_encoder.", tensors, device, dtype)
        self.projection = _filled(lambda _: size.projection(), None, "cc_projection.", tensors, device, dtype)
        self._denoise: Any = self._network

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.size.unet.sample
        return (self.size.vae.latent_channels, side, side)

    def compile(self) -> None:
        """Let PyTorch compile the denoiser; on CUDA with graphs. The first call then takes a minute."""
        self._denoise = torch.compile(self._network, mode="reduce-overhead" if self.device == "cuda" else "default")

    @torch.no_grad()
    def context(self, picture: Tensor) -> PictureContext:
        """Return what is seen in a picture (1, 3, P, P) in [-1, 1]."""
        picture = picture.to(self.device)
        token = self.clip_token(picture)
        moments = self.vae.encode(self._cast(picture)).latent_dist
        return PictureContext(token, moments.mode().float())

    @torch.no_grad()
    def clip_token(self, picture: Tensor) -> Tensor:
        """Return (B, 1, 768), the projected embedding of pictures (B, 3, P, P) in [-1, 1], not normalised.

        Resized as released: bicubic, corners aligned, without smoothing.
        """
        side = self.size.clip.side
        x = F.interpolate(picture.float(), (side, side), mode="bicubic", align_corners=True, antialias=False)
        mean = torch.tensor(CLIP_MEAN, device=x.device).view(1, 3, 1, 1)
        std = torch.tensor(CLIP_STD, device=x.device).view(1, 3, 1, 1)
        return self.clip(pixel_values=self._cast(((x + 1) / 2 - mean) / std)).image_embeds[:, None].float()

    @torch.no_grad()
    def noise(self, latents: Tensor, t: int | float, poses: Tensor, context: PictureContext, guidance: float) -> Tensor:
        """Return the noise (B, 4, S, S) seen in latents (B, 4, S, S), with classifier-free guidance in one pass.

        Without the picture the context is zero behind the projection, and so are the latents beside: as released.

        Parameters
        ----------
        poses : (B, 4), of `pose_vector`.
        guidance : 1: none, and half of the work.
        """
        count = len(latents)
        told = self.projection(
            self._plain(torch.cat([context.token.expand(count, -1, -1), poses.to(latents)[:, None]], dim=-1))
        )
        beside = context.latents.expand(count, -1, -1, -1)
        if guidance == 1.0:
            return self._asked(torch.cat([latents, beside], dim=1), t, told)
        x = torch.cat([torch.cat([latents, torch.zeros_like(beside)], 1), torch.cat([latents, beside], 1)])
        without, given = self._asked(x, t, torch.cat([torch.zeros_like(told), told])).chunk(2)
        return without + guidance * (given - without)

    def decoded(self, latents: Tensor) -> Tensor:
        """Return pictures (B, 3, P, P) in [0, 1] of scaled latents (B, 4, S, S); differentiable."""
        pictures = self.vae.decode(self._cast(latents / LATENT_SCALE)).sample.float()
        return ((pictures + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def encoded(self, pictures: Tensor) -> Tensor:
        """Return the scaled latents (B, 4, S, S) of pictures (B, 3, P, P) in [0, 1]: the mode of the posterior."""
        moments = self.vae.encode(self._cast(pictures.to(self.device) * 2 - 1)).latent_dist
        return moments.mode().float() * LATENT_SCALE

    def _asked(self, x: Tensor, t: int | float, context: Tensor) -> Tensor:
        times = torch.full((len(x),), t, device=x.device)
        return self._denoise(self._cast(x), times, context).float()

    def _network(self, x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        return self.unet(x, times, encoder_hidden_states=context, return_dict=False)[0]

    def _cast(self, images: Tensor) -> Tensor:
        return images.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def _plain(self, tokens: Tensor) -> Tensor:
        return tokens.to(self.dtype)


def _filled(build: Any, size: Any, prefix: str, tensors: Mapping[str, Tensor], device: str, dtype: torch.dtype) -> Any:
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
