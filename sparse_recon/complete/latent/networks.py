"""Networks with their weights on a device, and those that look at images: autoencoder and CLIP tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sparse_recon.complete.latent.architectures import ClipSize, VaeSize, clip_vision, vae
from sparse_recon.complete.latent.clip_pixels import clip_pixels


class Autoencoder:
    """The autoencoder of images on one device, in one precision.

    Parameters
    ----------
    tensors : of all parts of a model as `find_weights` returns them; those of `vae` are taken.
    """

    def __init__(self, tensors: Mapping[str, Tensor], vae_size: VaeSize, device: str, dtype: torch.dtype) -> None:
        self._scale = vae_size.latent_scale
        self._device, self._dtype = device, dtype
        self.vae = load_network(lambda: vae(vae_size), "vae", tensors, device, dtype, of_images=True)

    @torch.no_grad()
    def posterior(self, images: Tensor) -> Any:
        """Return the posterior of the unscaled latents of images (B, 3, P, P) in [-1, 1], a diagonal Gaussian."""
        return self.vae.encode(self._channels_last(images.to(self._device))).latent_dist

    def encode_images(self, images: Tensor) -> Tensor:
        """Return the scaled latents (B, 4, S, S) of images (B, 3, P, P) in [0, 1]: the mode of the posterior."""
        return self.posterior(images * 2 - 1).mode().float() * self._scale

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, P, P) in [0, 1] of scaled latents (B, 4, S, S)."""
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, P, P) of scaled latents (B, 4, S, S): black 0, white 1, and beyond; differentiable."""
        images = self.vae.decode(self._channels_last(latents / self._scale)).sample.float()
        return (images + 1) / 2

    def _channels_last(self, images: Tensor) -> Tensor:
        return images.to(self._dtype).contiguous(memory_format=torch.channels_last)


class ImageNetworks(Autoencoder):
    """Autoencoder and CLIP tower on one device, in one precision.

    Parameters
    ----------
    tensors : as of `Autoencoder`; those of `image_encoder` are taken, too.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], vae_size: VaeSize, clip_size: ClipSize, device: str, dtype: torch.dtype
    ) -> None:
        super().__init__(tensors, vae_size, device, dtype)
        self._side = clip_size.side
        self.clip = load_network(lambda: clip_vision(clip_size), "image_encoder", tensors, device, dtype)

    @torch.no_grad()
    def clip_embedding(self, images: Tensor) -> Tensor:
        """Return (B, 1, 768), the projected embedding of images (B, 3, P, P) in [-1, 1], not normalised."""
        pixels = clip_pixels(images.to(self._device), self._side)
        return self.clip(pixel_values=self._channels_last(pixels)).image_embeds[:, None].float()


def load_network(
    build: Callable[[], Any],
    part: str,
    tensors: Mapping[str, Tensor],
    device: str,
    dtype: torch.dtype,
    of_images: bool = False,
) -> Any:
    """Return a network whose weights are the tensors of a part, for inference; memory is taken once.

    Parameters
    ----------
    part : as in the model's layout; its tensors are `part.tensor`.
    of_images : whether it is convolutional throughout, and faster with channels last.
    """
    prefix = f"{part}."
    with torch.device("meta"):
        net = build()
    own = {name[len(prefix) :]: t.to(device, dtype) for name, t in tensors.items() if name.startswith(prefix)}
    net.load_state_dict(own, assign=True)
    for name, buffer in list(net.named_buffers()):
        if buffer.is_meta:  # position numbers of CLIP, which are in no file
            owner = net.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1], device=device)[None], False)
    net = net.eval().requires_grad_(False)
    return net.to(memory_format=torch.channels_last) if of_images else net
