"""Latents of pictures: made once by the shipped autoencoder, and kept with the run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_recon.complete.latent.architectures import VaeSize, vae
from sparse_recon.complete.latent.mini import AUTOENCODER_FILE, mini_path, read_mini
from sparse_recon.complete.latent.networks import load_network
from sparse_recon.errors import FileError
from sparse_recon.lab.training.checkpoints import read_state, write_state
from sparse_recon.lab.training.views.view_set import ViewSet, to_signed
from sparse_recon.machine.safetensors_file import sha256_of

log = logging.getLogger(__name__)


class Autoencoder:
    """The frozen autoencoder of a run.

    Parameters
    ----------
    path : of its weights; empty takes those that ship with the package.

    Raises
    ------
    ModelError
        If the weights cannot be used.
    """

    def __init__(self, path: str, device: str) -> None:
        self.path = Path(path) if path else mini_path(AUTOENCODER_FILE)
        found = read_mini(self.path)
        self.size: VaeSize = found.sizes["vae"]
        self.device, self.sha256 = device, sha256_of(self.path)
        self._net: Any = load_network(
            lambda: vae(self.size), "vae", found.tensors, device, torch.float32, of_images=True
        )

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the unscaled latents (B, 4, S, S) of images (B, 3, P, P) in [-1, 1]: the mode of the posterior."""
        x = images.to(self.device).contiguous(memory_format=torch.channels_last)
        return self._net.encode(x).latent_dist.mode()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the images (B, 3, P, P) in [-1, 1] of scaled latents (B, 4, S, S)."""
        return self._net.decode(latents / self.size.latent_scale).sample.clamp(-1, 1)


def latents_of(
    views: ViewSet,
    autoencoder: Autoencoder,
    prepared: Callable[[Tensor], Tensor] = to_signed,
    kept: Path | None = None,
) -> Tensor:
    """Return the unscaled latents (N, V, 4, S, S) float16 of all views.

    Parameters
    ----------
    prepared : bytes (B, 3, P, P) to what the autoencoder takes.
    kept : file that is read if it holds those of the same pictures and autoencoder, else written.
    """
    about = {"autoencoder": autoencoder.sha256, "pictures": views.digest}
    if kept is not None and kept.exists():
        try:
            tensors, found = read_state(kept)
        except FileError:
            found = {}
        if found == about:
            return tensors["latents"]
    log.info("encoding %d pictures", len(views) * views.count)
    latents = torch.stack([autoencoder.encode(prepared(rgb)).half().cpu() for rgb in views.rgb])
    if kept is not None:
        write_state(kept, {"latents": latents}, about)
    return latents
