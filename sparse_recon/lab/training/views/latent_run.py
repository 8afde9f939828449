"""A training run of a model that draws latents: noise is added to them, and predicted."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize
from sparse_recon.complete.latent.samplers import Denoiser, sample
from sparse_recon.complete.latent.schedules import TRAIN_STEPS, alpha_bars
from sparse_recon.lab.training.checkpoints import MODEL_FILE, write_state
from sparse_recon.lab.training.views.config import LatentRunConfig, UNetRunConfig
from sparse_recon.lab.training.views.latents import Autoencoder, latents_of
from sparse_recon.lab.training.views.view_run import ViewRun
from sparse_recon.lab.training.views.view_set import object_pixels, psnr_db, to_signed

log = logging.getLogger(__name__)
_LATENTS_FILE = "latents.safetensors"
# Noise of validation: the same for every network.
_SEED = 97


class LatentRun(ViewRun):
    """What systems that draw latents have in common.

    Attributes
    ----------
    system : its name.
    latents : (N, V, 4, S, S) float16, unscaled, of all pictures.
    """

    config: LatentRunConfig
    system: ClassVar[str]

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """The frozen autoencoder, shared by all systems."""
        return Autoencoder(self.config.autoencoder, self.device)

    def prepare(self) -> None:
        """Encode all pictures."""
        self.latents = latents_of(self.views, self.autoencoder, self.for_autoencoder, self.out / _LATENTS_FILE)
        self._alpha_bar = torch.tensor(alpha_bars(), dtype=torch.float32)

    def for_autoencoder(self, rgb: Tensor) -> Tensor:
        """Return bytes (B, 3, P, P) of pictures as the autoencoder takes them, float32 in [-1, 1]."""
        return to_signed(rgb)

    @property
    def scale(self) -> float:
        """Factor from latents to those that are diffused."""
        return self.autoencoder.size.latent_scale

    def noised(self, clean: Tensor, times: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return scaled latents (B, ..., S, S) with noise of times (B,), and the noise."""
        noise = torch.randn(clean.shape, generator=generator)
        alpha = self._alpha_bar[times].view(-1, *([1] * (clean.ndim - 1)))
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, noise

    def loss_weight(self, times: Tensor) -> Tensor:
        """Return what errors at times (B,) count, 1 on average over all times."""
        weights = (1 / self._alpha_bar).clamp(max=self.config.noisy_weight)
        return (weights / weights.mean())[times].to(self.device)

    def times(self, generator: torch.Generator) -> Tensor:
        """Return times (B,), uniform as published."""
        return self.drawn(generator, self.config.batch_size, TRAIN_STEPS)

    def shown(self, generator: torch.Generator) -> Tensor:
        """Return (B,) 1, or 0 where the input image is left out."""
        return (torch.rand(self.config.batch_size, generator=generator) >= self.config.image_dropout).float()

    @abstractmethod
    def drawn_views(self, net: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, 3, P, P) in [-1, 1] drawn of held-out objects, the truth, and the input images."""

    def validate(self) -> dict[str, float]:
        """Compare drawn views of held-out objects with the truth on the pixels of the object.

        `input_db` is what the input image itself gets.
        """
        drawn, truth, shown = self.drawn_views(self.ema_net())
        row = {"psnr_db": on_object_db(drawn, truth), "input_db": on_object_db(shown, truth)}
        log.info("step %d: %.2f dB, input image %.2f dB", self.step, row["psnr_db"], row["input_db"])
        return row

    def refusal(self, row: Mapping[str, float]) -> str:
        """See `TrainingRun.refusal`: the input image must be beaten."""
        if row["psnr_db"] > row["input_db"]:
            return ""
        return f"drawn views have {row['psnr_db']:.2f} dB, the input image itself {row['input_db']:.2f} dB"

    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """Return the sizes of the networks in the weights file."""

    def beside(self) -> dict[str, Tensor]:
        """Return tensors of the weights file that are not trained."""
        return {}

    def write_weights(self) -> None:
        """Write the averaged weights in half precision with the sizes of their networks; the autoencoder is apart."""
        counts = {name for name, t in self.net.state_dict().items() if not t.is_floating_point()}
        half = {name: t.to(torch.float16) for name, t in self.ema_weights.items() if name not in counts}
        about = {
            "model": self.system,
            "sizes": {name: asdict(size) for name, size in self.sizes().items()},
            "autoencoder": self.autoencoder.sha256,
            "step": self.step,
            "seconds": self.seconds,
            "samples": self.samples_seen(),
        }
        write_state(self.out / MODEL_FILE, {**half, **self.beside()}, about)

    def sampled(self, denoiser: Denoiser, shape: tuple[int, ...]) -> Tensor:
        """Return scaled latents of a shape, drawn by DDIM without fresh noise from noise that is always the same."""
        generator = torch.Generator().manual_seed(_SEED)

        def noise() -> Tensor:
            return torch.randn(shape, generator=generator).to(self.device)

        return sample(denoiser, noise, "ddim", self.config.measure_steps, eta=0.0)


def unet_size(config: UNetRunConfig, autoencoder: Autoencoder) -> UNetSize:
    """Return the sizes of a run's denoiser."""
    channels = autoencoder.size.latent_channels
    return UNetSize(
        in_channels=2 * channels,
        out_channels=channels,
        width=config.width,
        multipliers=config.multipliers,
        layers=config.layers,
        heads=config.heads,
        context=config.context,
        sample=config.data.side // autoencoder.size.factor,
        groups=config.groups,
    )


def clip_size(config: UNetRunConfig) -> ClipSize:
    """Return the sizes of a run's image tower."""
    return ClipSize(
        config.clip_width, config.clip_layers, config.clip_heads, config.clip_patch, config.clip_side, config.context
    )


def on_object_db(drawn: Tensor, truth: Tensor) -> float:
    """Return the mean PSNR of images (B, 3, P, P) in [-1, 1] on the pixels of the true objects."""
    mask = object_pixels(truth)
    squared = ((drawn - truth) ** 2 * mask).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3))).clamp(min=1)
    return float(psnr_db(squared).mean())
