"""Training of Zero-1-to-3 in small: one image and a camera move to the noise in the latents of the moved image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize, clip_vision, unet
from sparse_recon.complete.latent.attention import attend_to_one_token
from sparse_recon.complete.latent.clip_pixels import clip_pixels
from sparse_recon.complete.latent.samplers import sample, seeded_noise
from sparse_recon.complete.latent.schedules import TRAIN_STEPS, alpha_bars
from sparse_recon.complete.zero123.weights import Zero123Size
from sparse_recon.lab.training.checkpoints import MODEL_FILE, write_state
from sparse_recon.lab.training.views.config import LatentRunConfig
from sparse_recon.lab.training.views.latents import Autoencoder, latents_of
from sparse_recon.lab.training.views.view_run import ViewRun
from sparse_recon.lab.training.views.view_set import ViewSet, object_pixels, psnr_db

log = logging.getLogger(__name__)
_LATENTS_FILE = "latents.safetensors"
# Noise of validation: the same for every network.
_SEED = 97


class Zero123Run(ViewRun):
    """Networks and conditioning of the released model in small; noise is predicted at uniform times, as published.

    What differs: all networks are trained from nothing, the image tower too; the pass without the image is trained as
    the released sampler makes it, with an empty context and empty latents.
    """

    config: LatentRunConfig

    def begin(self) -> nn.Module:
        """Return the networks with random weights: denoiser, image tower, and projection of token and pose."""
        self.autoencoder = Autoencoder(self.config.autoencoder, self.device)
        self.size = zero123_size(self.config, self.autoencoder)
        parts = {
            "unet": unet(self.size.unet),
            "image_encoder": clip_vision(self.size.clip),
            "cc_projection": self.size.projection(),
        }
        attend_to_one_token(parts["unet"])
        net = nn.ModuleDict(parts)
        return cast(nn.Module, net.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def prepare(self) -> None:
        """Encode all pictures."""
        self.latents = latents_of(self.views, self.autoencoder, self.out / _LATENTS_FILE)
        self.alpha_bar = torch.tensor(alpha_bars(), dtype=torch.float32)

    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TrainingRun.losses`: squared error of the noise in a random view, seen from another random view."""
        count = self.config.batch_size
        objects = self.drawn(generator, count, len(self.views))
        source = self.drawn(generator, count, self.views.count)
        target = (source + 1 + self.drawn(generator, count, self.views.count - 1)) % self.views.count
        times = self.drawn(generator, count, TRAIN_STEPS)
        clean = self.latents[objects, target].float() * self.autoencoder.size.latent_scale
        noise = torch.randn(clean.shape, generator=generator)
        shown = (torch.rand(count, generator=generator) >= self.config.image_dropout).float()
        alpha = self.alpha_bar[times].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        poses = pose_vectors_of(self.views.cameras[objects, source], self.views.cameras[objects, target])
        inputs = _Inputs(self.views.images(objects, source), self.latents[objects, source].float(), poses, shown).to(
            self.device, self.dtype
        )
        predicted = predicted_noise(net, noisy.to(self.device, self.dtype), times.to(self.device), inputs)
        squared = ((predicted.float() - noise.to(self.device)) ** 2).mean(dim=(1, 2, 3))
        return {"loss": squared.mean(), "late": squared[times < TRAIN_STEPS // 2].mean().nan_to_num(0.0)}

    def validate(self) -> dict[str, float]:
        """Draw one view of each held-out object and compare it with the truth on the pixels of the object.

        `input_db` is what the input image itself gets.
        """
        net, views = self.ema_net(), self.held_out
        objects = torch.arange(len(views))
        source, target = objects % views.count, (objects + views.count // 2) % views.count
        drawn = draw_views(net, self.autoencoder, views, (objects, source, target), self.config)
        truth, shown = views.images(objects, target), views.images(objects, source)
        row = {"psnr_db": on_object_db(drawn, truth), "input_db": on_object_db(shown, truth)}
        log.info("step %d: %.2f dB, input image %.2f dB", self.step, row["psnr_db"], row["input_db"])
        return row

    def refusal(self, row: Mapping[str, float]) -> str:
        """See `TrainingRun.refusal`: the input image must be beaten."""
        if row["psnr_db"] > row["input_db"]:
            return ""
        return f"drawn views have {row['psnr_db']:.2f} dB, the input image itself {row['input_db']:.2f} dB"

    def write_weights(self) -> None:
        """Write the averaged weights in half precision with the sizes of their networks; the autoencoder is apart."""
        half = {name: t.to(torch.float16) for name, t in self.ema_weights.items()}
        about = {
            "model": "zero123",
            "sizes": {"unet": asdict(self.size.unet), "clip": asdict(self.size.clip)},
            "autoencoder": self.autoencoder.sha256,
            "step": self.step,
            "seconds": self.seconds,
            "samples": self.samples_seen(),
        }
        write_state(self.out / MODEL_FILE, half, about)


class _Inputs:
    """What the networks are told: images (B, 3, P, P) in [-1, 1], their latents, poses (B, 4), whether shown (B,)."""

    def __init__(self, image: Tensor, latents: Tensor, poses: Tensor, shown: Tensor) -> None:
        self.image, self.latents, self.poses, self.shown = image, latents, poses, shown

    def to(self, device: str, dtype: torch.dtype) -> _Inputs:
        """Return the same on a device."""
        return _Inputs(*(t.to(device, dtype) for t in (self.image, self.latents, self.poses, self.shown)))


def predicted_noise(net: Any, noisy: Tensor, times: Tensor, inputs: _Inputs) -> Tensor:
    """Return the noise (B, 4, S, S) that the networks see in scaled latents (B, 4, S, S) at times (B,)."""
    tower = net["image_encoder"]
    pixels = clip_pixels(inputs.image, tower.config.image_size).to(noisy.dtype)
    token = torch.cat([tower(pixel_values=pixels).image_embeds, inputs.poses], dim=-1)
    context = net["cc_projection"](token)[:, None] * inputs.shown.view(-1, 1, 1)
    beside = inputs.latents * inputs.shown.view(-1, 1, 1, 1)
    x = torch.cat([noisy, beside], dim=1).contiguous(memory_format=torch.channels_last)
    return cast(Tensor, net["unet"](x, times, encoder_hidden_states=context, return_dict=False)[0])


@torch.no_grad()
def draw_views(
    net: nn.Module,
    autoencoder: Autoencoder,
    views: ViewSet,
    which: tuple[Tensor, Tensor, Tensor],
    config: LatentRunConfig,
) -> Tensor:
    """Return images (B, 3, P, P) in [-1, 1] drawn of objects (B,) from one view (B,) to another, by DDIM."""
    objects, source, target = which
    image = views.images(objects, source)
    poses = pose_vectors_of(views.cameras[objects, source], views.cameras[objects, target])
    beside, shown = autoencoder.encode(image).cpu(), torch.ones(len(objects))
    device, guidance = autoencoder.device, config.measure_guidance
    inputs = _Inputs(image, beside, poses, shown).to(device, torch.float32)
    empty = _Inputs(image, beside, poses, 0 * shown).to(device, torch.float32)

    def denoiser(latents: Tensor, t: int) -> Tensor:
        times = torch.full((len(latents),), t, device=device)
        conditional = predicted_noise(net, latents, times, inputs)
        if guidance == 1.0:
            return conditional
        unconditional = predicted_noise(net, latents, times, empty)
        return unconditional + guidance * (conditional - unconditional)

    noise = seeded_noise([_SEED + int(k) for k in objects], tuple(beside.shape[1:]), device)
    return autoencoder.decode(sample(denoiser, noise, "ddim", config.measure_steps, eta=0.0)).cpu()


def on_object_db(drawn: Tensor, truth: Tensor) -> float:
    """Return the mean PSNR of images (B, 3, P, P) in [-1, 1] on the pixels of the true objects."""
    mask = object_pixels(truth)
    squared = ((drawn - truth) ** 2 * mask).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3))).clamp(min=1)
    return float(psnr_db(squared).mean())


def pose_vectors_of(source: Tensor, target: Tensor) -> Tensor:
    """Return (B, 4), as `latent.cameras.pose_vector`, of cameras (B, 3): polar angle, azimuth, distance."""
    moved = target - source
    return torch.stack([moved[:, 0], moved[:, 1].sin(), moved[:, 1].cos(), moved[:, 2]], dim=1)


def zero123_size(config: LatentRunConfig, autoencoder: Autoencoder) -> Zero123Size:
    """Return the sizes of the networks."""
    channels = autoencoder.size.latent_channels
    return Zero123Size(
        UNetSize(
            in_channels=2 * channels,
            out_channels=channels,
            width=config.width,
            multipliers=config.multipliers,
            layers=config.layers,
            heads=config.heads,
            context=config.context,
            sample=config.data.side // autoencoder.size.factor,
            groups=config.groups,
        ),
        autoencoder.size,
        ClipSize(
            config.clip_width,
            config.clip_layers,
            config.clip_heads,
            config.clip_patch,
            config.clip_side,
            config.context,
        ),
    )
