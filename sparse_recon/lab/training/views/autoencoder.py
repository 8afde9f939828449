"""Training of the small autoencoder that all mini models share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparse_recon.complete.latent.architectures import VaeSize, vae
from sparse_recon.lab.training.checkpoints import MODEL_FILE, write_state
from sparse_recon.lab.training.views.config import AutoencoderConfig
from sparse_recon.lab.training.views.view_run import ViewRun
from sparse_recon.lab.training.views.view_set import object_pixels, psnr_db, to_signed

log = logging.getLogger(__name__)


class AutoencoderRun(ViewRun):
    """Pictures through a few numbers and back (Rombach et al. 2022), without an adversary."""

    config: AutoencoderConfig

    def begin(self) -> nn.Module:
        """Return an autoencoder with random weights."""
        self.size = autoencoder_size(self.config)
        net: nn.Module = vae(self.size)
        return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TrainingRun.losses`: squared and absolute differences, and the divergence of latents from noise."""
        count = self.config.batch_size
        objects = self.drawn(generator, count, len(self.views))
        images = self.views.images(objects, self.drawn(generator, count, self.views.count)).to(self.device)
        mean, log_variance = _moments(net, images.to(self.dtype))
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        decoded = cast(Any, net).decode(mean + noise * torch.exp(0.5 * log_variance)).sample.float()
        weight = 1 + self.config.object_weight * object_pixels(images)
        squared, absolute = (weight * (decoded - images) ** 2).mean(), (weight * (decoded - images).abs()).mean()
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).float().mean()
        total = squared + self.config.absolute_weight * absolute + self.config.kl_weight * kl
        return {"loss": total, "squared": squared, "absolute": absolute, "divergence": kl}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return PSNR of held-out pictures, of whole ones and on the pixels of objects, and the spread of latents."""
        net: Any = self.ema_net()
        errors, on_objects, latents = [], [], []
        for rgb in self.held_out.rgb:
            images = to_signed(rgb).to(self.device)
            mean, _ = _moments(net, images)
            squared = (net.decode(mean).sample.clamp(-1, 1) - images) ** 2
            mask = object_pixels(images)
            errors.append(psnr_db(squared.mean(dim=(1, 2, 3))))
            on_objects.append(psnr_db((squared * mask).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3))).clamp(min=1)))
            latents.append(mean)
        self.spread = float(torch.cat(latents).std())
        row = {
            "psnr_db": float(torch.cat(errors).mean()),
            "object_psnr_db": float(torch.cat(on_objects).mean()),
            "latent_std": self.spread,
        }
        log.info("step %d: %.2f dB, on objects %.2f dB", self.step, row["psnr_db"], row["object_psnr_db"])
        return row

    def refusal(self, row: Mapping[str, float]) -> str:
        """See `TrainingRun.refusal`."""
        least = self.config.gate_psnr_db
        return "" if row["psnr_db"] >= least else f"held-out pictures have {row['psnr_db']:.2f} dB, not {least:g} dB"

    def write_weights(self) -> None:
        """Write the averaged weights in half precision, their sizes, and the factor that gives latents unit spread."""
        spread = getattr(self, "spread", 0.0) or self.validate()["latent_std"]
        size = replace(self.size, latent_scale=round(1 / spread, 5))
        half = {f"vae.{name}": t.to(torch.float16) for name, t in self.ema_weights.items()}
        about = {"model": "autoencoder", "sizes": {"vae": asdict(size)}, "step": self.step, "seconds": self.seconds}
        write_state(self.out / MODEL_FILE, half, {**about, "samples": self.samples_seen()})


def autoencoder_size(config: AutoencoderConfig) -> VaeSize:
    """Return the network's sizes."""
    return VaeSize(config.width, config.multipliers, config.layers, groups=config.groups)


def _moments(net: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and logarithm of the variance (B, 4, S, S) of the latents of images (B, 3, P, P) in [-1, 1]."""
    found = net.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
    return found.mean, found.logvar
