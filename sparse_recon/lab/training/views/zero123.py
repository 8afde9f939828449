"""Training of Zero-1-to-3 in small: one image and a camera move to the noise in the latents of the moved image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparse_recon.complete.latent.architectures import clip_vision, unet
from sparse_recon.complete.latent.attention import attend_in_steps, attend_to_one_token
from sparse_recon.complete.latent.clip_pixels import clip_pixels
from sparse_recon.complete.latent.schedules import TRAIN_STEPS
from sparse_recon.complete.zero123.weights import Zero123Size
from sparse_recon.lab.training.views.config import UNetRunConfig
from sparse_recon.lab.training.views.initial_weights import begin_with_the_input
from sparse_recon.lab.training.views.latent_run import LatentRun, clip_size, unet_size


class Zero123Run(LatentRun):
    """Networks and conditioning of the released model in small; noise is predicted at uniform times, as published.

    What differs: all networks are trained from nothing, the image tower too; the pass without the image is trained as
    the released sampler makes it, with an empty context and empty latents.
    """

    config: UNetRunConfig
    system = "zero123"

    def begin(self) -> nn.Module:
        """Return the networks with random weights: denoiser, image tower, and projection of token and pose."""
        self.size = Zero123Size(unet_size(self.config, self.autoencoder), self.autoencoder.size, clip_size(self.config))
        denoiser = unet(self.size.unet)
        attend_to_one_token(denoiser)
        begin_with_the_input(denoiser, self.autoencoder.size.latent_channels)
        parts = {"unet": denoiser, "image_encoder": clip_vision(self.size.clip)}
        if self.device == "cpu":
            attend_in_steps(**parts)
        net: Any = nn.ModuleDict({**parts, "cc_projection": self.size.projection()})
        return cast(nn.Module, net.to(memory_format=torch.channels_last))

    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TrainingRun.losses`: squared error of the noise in a random view, seen from another random view."""
        count = self.config.batch_size
        objects = self.drawn(generator, count, len(self.views))
        source = self.drawn(generator, count, self.views.count)
        target = (source + 1 + self.drawn(generator, count, self.views.count - 1)) % self.views.count
        times = self.times(generator)
        noisy, noise = self.noised(self.latents[objects, target].float() * self.scale, times, generator)
        inputs = Inputs(
            self.views.images(objects, source),
            self.latents[objects, source].float(),
            pose_vectors_of(self.views.cameras[objects, source], self.views.cameras[objects, target]),
            self.shown(generator),
        ).to(self.device, self.dtype)
        predicted = predicted_noise(net, noisy.to(self.device, self.dtype), times.to(self.device), inputs)
        squared = ((predicted.float() - noise.to(self.device)) ** 2).mean(dim=(1, 2, 3))
        loss = (squared * self.loss_weight(times)).mean()
        return {
            "loss": loss,
            "squared": squared.mean(),
            "little_noise": squared[times < TRAIN_STEPS // 2].mean().nan_to_num(0.0),
        }

    @torch.no_grad()
    def drawn_views(self, net: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See `LatentRun.drawn_views`: one view an object."""
        views, guidance = self.held_out, self.config.measure_guidance
        objects = torch.arange(len(views))
        source, target = objects % views.count, (objects + views.count // 2) % views.count
        shown = views.images(objects, source)
        beside = self.autoencoder.encode(shown).cpu()
        poses = pose_vectors_of(views.cameras[objects, source], views.cameras[objects, target])
        inputs, empty = (
            Inputs(shown, beside, poses, torch.full((len(objects),), share)).to(self.device, torch.float32)
            for share in (1.0, 0.0)
        )

        def denoiser(latents: Tensor, t: int) -> Tensor:
            times = torch.full((len(latents),), t, device=self.device)
            conditional = predicted_noise(net, latents, times, inputs)
            if guidance == 1.0:
                return conditional
            unconditional = predicted_noise(net, latents, times, empty)
            return unconditional + guidance * (conditional - unconditional)

        drawn = self.autoencoder.decode(self.sampled(denoiser, tuple(beside.shape))).cpu()
        return drawn, views.images(objects, target), shown

    def sizes(self) -> dict[str, Any]:
        """See `LatentRun.sizes`."""
        return {"unet": self.size.unet, "clip": self.size.clip}


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the networks are told.

    Attributes
    ----------
    images : (B, 3, P, P) in [-1, 1].
    latents : (B, 4, S, S) of them, unscaled.
    poses : (B, 4) of the camera moves.
    shown : (B,) 1, or 0 where nothing is told.
    """

    images: Tensor
    latents: Tensor
    poses: Tensor
    shown: Tensor

    def to(self, device: str, dtype: torch.dtype) -> Inputs:
        """Return the same on a device."""
        return Inputs(*(t.to(device, dtype) for t in (self.images, self.latents, self.poses, self.shown)))


def predicted_noise(net: Any, noisy: Tensor, times: Tensor, inputs: Inputs) -> Tensor:
    """Return the noise (B, 4, S, S) that the networks see in scaled latents (B, 4, S, S) at times (B,)."""
    tower = net["image_encoder"]
    pixels = clip_pixels(inputs.images, tower.config.image_size).to(noisy.dtype)
    token = torch.cat([tower(pixel_values=pixels).image_embeds, inputs.poses], dim=-1)
    context = net["cc_projection"](token)[:, None] * inputs.shown.view(-1, 1, 1)
    beside = inputs.latents * inputs.shown.view(-1, 1, 1, 1)
    x = torch.cat([noisy, beside], dim=1).contiguous(memory_format=torch.channels_last)
    return cast(Tensor, net["unet"](x, times, encoder_hidden_states=context, return_dict=False)[0])


def pose_vectors_of(source: Tensor, target: Tensor) -> Tensor:
    """Return (B, 4), as `latent.cameras.pose_vector`, of cameras (B, 3): polar angle, azimuth, distance."""
    moved = target - source
    return torch.stack([moved[:, 0], moved[:, 1].sin(), moved[:, 1].cos(), moved[:, 2]], dim=1)
