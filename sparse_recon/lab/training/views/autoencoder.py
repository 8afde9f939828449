"""Training of the small autoencoder that all mini models share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
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
    _latents: Tensor | None = None

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
        difference = decoded - images
        color = (weight * (difference - difference.mean(dim=1, keepdim=True)) ** 2).mean()
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).float().mean()
        total = squared + self.config.color_weight * color + self.config.absolute_weight * absolute
        total = total + self.config.kl_weight * kl
        return {"loss": total, "squared": squared, "color": color, "absolute": absolute, "divergence": kl}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return PSNR of held-out pictures and on the pixels of objects, and the share of colour that is left."""
        net: Any = self.ema_net()
        errors, on_objects, colorful, latents = [], [], [], []
        for rgb in self.held_out.rgb:
            images = to_signed(rgb).to(self.device)
            mean, _ = _moments(net, images)
            decoded = net.decode(mean).sample.clamp(-1, 1)
            squared = (decoded - images) ** 2
            mask = object_pixels(images)
            errors.append(psnr_db(squared.mean(dim=(1, 2, 3))))
            on_objects.append(psnr_db((squared * mask).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3))).clamp(min=1)))
            colorful.append(torch.stack([_saturation(images), _saturation(decoded)]))
            latents.append(mean)
        self._latents = torch.cat(latents)
        true_color, color = torch.stack(colorful).mean(dim=0).tolist()
        row = {
            "psnr_db": float(torch.cat(errors).mean()),
            "object_psnr_db": float(torch.cat(on_objects).mean()),
            "color_share": color / max(true_color, 1e-6),
        }
        log.info("step %d: %.2f dB, on objects %.2f dB", self.step, row["psnr_db"], row["object_psnr_db"])
        return row

    def refusal(self, row: Mapping[str, float]) -> str:
        """See `TrainingRun.refusal`."""
        least = self.config.gate_psnr_db
        return "" if row["psnr_db"] >= least else f"held-out pictures have {row['psnr_db']:.2f} dB, not {least:g} dB"

    def write_weights(self) -> None:
        """Write the averaged weights in half precision, in coordinates in which latents have unit covariance."""
        if self._latents is None:
            self.validate()
        weights = whitened(self.ema_weights, cast(Tensor, self._latents))
        half = {f"vae.{name}": t.to(torch.float16) for name, t in weights.items()}
        about = {
            "model": "autoencoder",
            "sizes": {"vae": asdict(self.size)},
            "step": self.step,
            "seconds": self.seconds,
        }
        write_state(self.out / MODEL_FILE, half, {**about, "samples": self.samples_seen()})


def whitened(weights: Mapping[str, Tensor], latents: Tensor) -> dict[str, Tensor]:
    """Return the same autoencoder in coordinates in which its latents (B, C, S, S) have mean 0 and covariance 1.

    Otherwise colour, which is a small part of them, is the last thing that comes out of the noise. The layers of
    1 x 1 pixels at both ends of the latents take the change up: pictures stay the same.
    """
    x = latents.transpose(0, 1).flatten(1).double()
    mean = x.mean(dim=1)
    spread, axes = torch.linalg.eigh(torch.cov(x))
    to = (axes / spread.sqrt()).T
    back = torch.linalg.inv(to)
    out = {name: t.double() for name, t in weights.items()}
    count = len(mean)
    inner, bias = out["quant_conv.weight"].flatten(1), out["quant_conv.bias"]
    # Of variances, of which there is one a channel, only the size can follow.
    log_size = 2 * to.norm(dim=1).log()
    out["quant_conv.weight"] = torch.cat([to @ inner[:count], inner[count:].mean(0).expand(count, -1)])[..., None, None]
    out["quant_conv.bias"] = torch.cat([to @ (bias[:count] - mean), bias[count:].mean() + log_size])
    outer = out["post_quant_conv.weight"].flatten(1)
    out["post_quant_conv.weight"] = (outer @ back)[..., None, None]
    out["post_quant_conv.bias"] = out["post_quant_conv.bias"] + outer @ mean
    return {name: t.float() for name, t in out.items()}


def autoencoder_size(config: AutoencoderConfig) -> VaeSize:
    """Return the network's sizes."""
    return VaeSize(config.width, config.multipliers, config.layers, latent_scale=1.0, groups=config.groups)


def _saturation(images: Tensor) -> Tensor:
    """Return the mean difference between the strongest and the weakest channel of images (B, 3, P, P)."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean()


def _moments(net: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and logarithm of the variance (B, 4, S, S) of the latents of images (B, 3, P, P) in [-1, 1]."""
    found = net.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
    return found.mean, found.logvar
