"""Training of SyncDreamer in small: all views of an object are noised alike, some of them are denoised together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sparse_recon.complete.latent.architectures import ClipSize, UNetSize
from sparse_recon.complete.latent.attention import attend_in_steps
from sparse_recon.complete.latent.mini import read_mini
from sparse_recon.complete.latent.schedules import TRAIN_STEPS
from sparse_recon.complete.syncdreamer.network import SyncDreamerNetwork
from sparse_recon.complete.syncdreamer.sizes import SyncDreamerSize, VolumeSize
from sparse_recon.complete.syncdreamer.weights import cameras
from sparse_recon.errors import ConfigError
from sparse_recon.lab.training.views.config import SyncDreamerConfig
from sparse_recon.lab.training.views.initial_weights import begin_with_the_input
from sparse_recon.lab.training.views.latent_run import LatentRun, clip_size, unet_size

# What it has in common with Zero-1-to-3.
_PARTS = ("unet", "image_encoder", "cc_projection")
# Held-out objects of which all views are drawn for validation.
_VALIDATED = 8


class SyncDreamerRun(LatentRun):
    """The released network in small; one time for all views of an object, as published.

    What differs: the denoiser that it begins with is trained on unless `frozen`; `views_per_object` views are denoised
    instead of one, which makes more of a volume; samples without the image teach what guidance asks for.
    """

    config: SyncDreamerConfig
    system = "syncdreamer"

    def begin(self) -> nn.Module:
        """Return the network: random, or with the parts of a trained Zero-1-to-3 of the same sizes.

        Raises
        ------
        ModelError
            If its weights cannot be read.
        ConfigError
            If its sizes differ.
        """
        self.size = SyncDreamerSize(
            unet_size(self.config, self.autoencoder),
            self.autoencoder.size,
            clip_size(self.config),
            VolumeSize(
                views=self.config.targets,
                features=self.config.features,
                vertices=self.config.vertices,
                planes=self.config.planes,
                widths=self.config.volume_widths,
                time=self.config.volume_time,
            ),
        )
        net = SyncDreamerNetwork(self.size)
        begin_with_the_input(net.unet, self.size.vae.latent_channels)
        if self.config.begin_from:
            _begin_from(net, Path(self.config.begin_from))
        if self.config.frozen:
            for part in _PARTS:
                net.get_submodule(part).requires_grad_(False)
        cast(Any, net.unet).to(memory_format=torch.channels_last)  # volumes have a dimension more
        if self.device == "cpu":
            attend_in_steps(net.unet, net.image_encoder)
        return net

    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TrainingRun.losses`: squared error of the noise in random views of all that are drawn together."""
        count, targets = self.config.batch_size, self.config.targets
        objects = self.drawn(generator, count, len(self.views))
        shown = self.drawn(generator, count, targets)
        times, order = self.times(generator), _from(shown, targets)
        clean = self.latents[objects[:, None], order].float() * self.scale
        noisy, noise = self.noised(clean, times, generator)
        asked = torch.rand(count, targets, generator=generator).argsort(dim=1)[:, : self.config.views_per_object]
        kept = self.shown(generator).to(self.device)
        network = cast(SyncDreamerNetwork, net)
        conditions = network.conditions(*self._told(objects, targets + shown))
        predicted = network(noisy.to(self.device), times.to(self.device), conditions, asked.to(self.device), kept)
        truth = noise.gather(1, asked[..., None, None, None].expand(-1, -1, *noise.shape[2:])).to(self.device)
        squared = ((predicted.float() - truth) ** 2).mean(dim=(1, 2, 3, 4))
        loss = (squared * self.loss_weight(times)).mean()
        return {
            "loss": loss,
            "squared": squared.mean(),
            "little_noise": squared[times < TRAIN_STEPS // 2].mean().nan_to_num(0.0),
        }

    @torch.no_grad()
    def drawn_views(self, net: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See `LatentRun.drawn_views`: all views but the shown one, of a few objects."""
        views, targets, guidance = self.held_out, self.config.targets, self.config.measure_guidance
        objects = torch.arange(min(_VALIDATED, len(views)))
        shown = objects % targets
        order, side = _from(shown, targets), self.size.unet.sample
        image = views.images(objects, targets + shown)
        elevation = 0.5 * torch.pi - views.cameras[objects, targets + shown, 0]
        conditions = net.conditions(image.to(self.device), self.autoencoder.encode(image), elevation.to(self.device))
        everyone = torch.arange(targets, device=self.device).expand(len(objects), -1)

        def denoiser(latents: Tensor, t: int) -> Tensor:
            times = torch.full((len(latents),), t, device=self.device)
            shared = net.shared(latents, times, conditions)
            found: Tensor = net.view_noise(latents, shared, conditions, everyone, guidance)
            return found

        channels = self.size.vae.latent_channels
        drawn = self.sampled(denoiser, (len(objects), targets, channels, side, side)).flatten(0, 1)
        images = torch.cat([self.autoencoder.decode(part).cpu() for part in drawn.split(targets)])
        truth = torch.cat([views.images(o.expand(targets), row) for o, row in zip(objects, order, strict=True)])
        beside = image.repeat_interleave(targets, 0)
        others = torch.arange(len(images)) % targets > 0
        return images[others], truth[others], beside[others]

    def sizes(self) -> dict[str, Any]:
        """See `LatentRun.sizes`."""
        return {"unet": self.size.unet, "clip": self.size.clip, "volume": self.size.volume}

    def beside(self) -> dict[str, Tensor]:
        """Return the cameras of the views, as the published file holds them."""
        return {f"cameras.{name}": value for name, value in cameras(self.size).state_dict().items()}

    def _told(self, objects: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the input images, their latents and elevations in radians, of one view (B,) of objects (B,)."""
        elevation = 0.5 * torch.pi - self.views.cameras[objects, view, 0]
        told = (self.views.images(objects, view), self.latents[objects, view].float(), elevation)
        image, latents, elevation = (t.to(self.device) for t in told)
        return image, latents, elevation


def _begin_from(net: SyncDreamerNetwork, path: Path) -> None:
    """Take denoiser, image tower and projection from mini weights of Zero-1-to-3."""
    found = read_mini(path, {"unet": UNetSize, "clip": ClipSize})
    if (found.sizes["unet"], found.sizes["clip"]) != (net.size.unet, net.size.clip):
        raise ConfigError(
            f"{path} holds networks of {dict(found.sizes)}, this run's are {net.size.unet} and {net.size.clip}: "
            "choose weights of the same sizes"
        )
    net.load_state_dict(dict(found.tensors), strict=False)


def _from(first: Tensor, count: int) -> Tensor:
    """Return (B, V), the views of a ring beginning with that at the azimuth of the shown one (B,)."""
    return (first[:, None] + torch.arange(count)) % count
