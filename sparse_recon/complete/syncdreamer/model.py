"""SyncDreamer with its weights: what an image tells of all views, and the noise seen in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sparse_recon.complete.latent.networks import ImageNetworks
from sparse_recon.complete.syncdreamer.network import Conditions, SyncDreamerNetwork
from sparse_recon.complete.syncdreamer.sizes import SyncDreamerSize

# Blocks between which is asked whether to go on; none of them takes long for a view.
_BLOCKS = ("ResnetBlock2D", "Transformer2DModel", "ToldConvolution", "DepthAttention", "CLIPEncoderLayer")


class SyncDreamerModel:
    """All networks on one device, in one precision.

    Parameters
    ----------
    tensors : of all parts, as `find_weights` returns them.

    Attributes
    ----------
    checkpoint : called between the blocks of every network; may raise to stop.
    """

    def __init__(self, tensors: Mapping[str, Tensor], size: SyncDreamerSize, device: str, dtype: torch.dtype) -> None:
        self.size, self.device, self.dtype = size, device, dtype
        self.checkpoint: Callable[[], None] = lambda: None
        self._images = ImageNetworks(tensors, size.vae, size.clip, device, dtype)
        with torch.device("meta"):
            self.network = SyncDreamerNetwork(size)
        self.network.image_encoder = self._images.clip
        own = {
            name: tensor.to(device, dtype)
            for name, tensor in tensors.items()
            if not name.startswith(("vae.", "image_encoder.", "cameras."))
        }
        lacking = self.network.load_state_dict(own, strict=False, assign=True)
        assert not lacking.unexpected_keys
        assert all(name.startswith("image_encoder.") for name in lacking.missing_keys)
        self.network.eval()
        self.network.to(device).requires_grad_(False)  # places in the volumes stay in single precision
        self.network.unet.to(memory_format=torch.channels_last)
        for module in (*self.network.modules(), *self._images.vae.modules()):
            if type(module).__name__ in _BLOCKS:
                module.register_forward_pre_hook(self._asked)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(V, 4, S, S) of all views."""
        side = self.size.unet.sample
        return (self.size.volume.views, self.size.vae.latent_channels, side, side)

    @torch.no_grad()
    def conditions(self, image: Tensor, elevation_rad: float, noise: Tensor) -> Conditions:
        """Return what an image tells of all views.

        Its latents are a sample of their posterior, as released, and not scaled.

        Parameters
        ----------
        image : (1, 3, P, P) in [-1, 1].
        noise : (1, 4, S, S) standard normal.
        """
        image = image.to(self.device)
        posterior = self._images.posterior(image)
        latents = posterior.mean.float() + posterior.std.float() * noise.to(self.device)
        return self.network.conditions(image, latents, torch.tensor([elevation_rad], device=self.device))

    @torch.no_grad()
    def predict_noise(self, latents: Tensor, t: int, conditions: Conditions, guidance: float, at_once: int) -> Tensor:
        """Return the noise (B, V, 4, S, S) seen in all views of B objects.

        The volume that views share is made once; `at_once` of them go through the denoiser together, which changes
        nothing but time and memory.
        """
        count, views = latents.shape[:2]
        shared = self.network.shared(latents, torch.full((count,), t, device=latents.device), conditions)
        found = []
        for rows in torch.arange(views, device=latents.device).split(at_once):
            asked = rows.expand(count, -1)
            found.append(self.network.view_noise(latents[:, rows], shared, conditions, asked, guidance))
        return torch.cat(found, dim=1)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, P, P) in [0, 1] of scaled latents (B, 4, S, S)."""
        return self._images.decode_latents(latents)

    def _asked(self, module: Any, inputs: Any) -> None:
        self.checkpoint()
