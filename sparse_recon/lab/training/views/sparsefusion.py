"""Training of SparseFusion in small: posed pictures to features of a view, and these to the noise in its latents."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_recon.complete.latent.mini import read_mini
from sparse_recon.complete.sparsefusion.eft import EftAnswer, EpipolarFeatureTransformer
from sparse_recon.complete.sparsefusion.sizes import EftSize, SparseFusionSize, VldmSize
from sparse_recon.complete.sparsefusion.vldm import LATENT_CHANNELS, ViewDenoiser
from sparse_recon.complete.sparsefusion.vldm_samplers import ancestral
from sparse_recon.complete.sparsefusion.vldm_schedule import alpha_sigma, log_snr, loss_weight, noised
from sparse_recon.errors import ConfigError, ErrorCode, ModelError
from sparse_recon.lab.training.views.config import SparseFusionRunConfig
from sparse_recon.lab.training.views.initial_weights import answer_the_latents
from sparse_recon.lab.training.views.latent_run import LatentRun
from sparse_recon.lab.training.views.posed_views import PosedViews, Scene
from sparse_recon.lab.training.views.view_set import to_signed

log = logging.getLogger(__name__)
# Times that are learned from end before 1, where nothing but noise is left.
LAST_TIME = 0.999
# Differences of colour count by their squares below this, and linearly above; the sum is weighted by it as well.
HUBER = 0.1
# Weights of points are not told apart below this.
LEAST_WEIGHT = 1e-4
# Held-out objects are shown from so many sides.
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class TrueRays:
    """What R rays meet.

    Attributes
    ----------
    rgb : (R, 3) in [0, 1], on black.
    place : (R,) of the surface among the points of a ray, counted from 0; infinite where there is none.
    """

    rgb: Tensor
    place: Tensor


class SparseFusionRun(LatentRun):
    """Networks and conditioning of the released model in small.

    What differs:

    - transformer and denoiser are learned one after the other unless `learns` is both;
    - the true depth of the asked view teaches the transformer at which points of a ray to look (`depth_weight`);
    - it has no dropout, and many objects are in a step, of which all pictures are normalised together; where it learns
      alone, half of the rays meet the object;
    - errors of noise count more where there is most of it (`noisy_weight`), and the denoiser begins with its noisy
      latents as the answer;
    - shown cameras are turned about their axes, and objects larger or smaller than told; pictures show them in the
      middle;
    - the autoencoder is shown negatives.
    """

    config: SparseFusionRunConfig
    system = "sparsefusion"
    on_black = True

    def begin(self) -> nn.Module:
        """Return both networks: random, or of an earlier run; what is not learned is held.

        Raises
        ------
        ModelError
            If weights of an earlier run cannot be read.
        ConfigError
            If their sizes differ, or a denoiser is to look at a transformer that has learned nothing.
        """
        if self.config.learns == "denoiser" and not self.config.begin_from:
            raise ConfigError(
                "learns is denoiser and begin_from is empty: name the weights of a finished transformer, or set learns "
                "to transformer or both"
            )
        self.size = sizes_of(self.config, self.autoencoder.size)
        parts: dict[str, Any] = {"eft": EpipolarFeatureTransformer(self.size.eft), "vldm": ViewDenoiser(self.size.vldm)}
        answer_the_latents(parts["vldm"])
        net = nn.ModuleDict(parts)
        if self.config.begin_from:
            _begin_from(net, Path(self.config.begin_from), self.size)
        held = {"transformer": "vldm", "denoiser": "eft"}.get(self.config.learns)
        if held:
            net[held].requires_grad_(False).train(False)
        # Held at values that bf16 has: the ratio of signal and noise is multiplied by them.
        frequencies = parts["vldm"].frequencies.weights.requires_grad_(False)
        frequencies.data = frequencies.data.bfloat16().float()
        return net

    def prepare(self) -> None:
        """Encode all pictures, where latents are learned from, and place their cameras."""
        if self.config.learns != "transformer":
            super().prepare()
        self.posed = PosedViews(self.views)

    def for_autoencoder(self, rgb: Tensor) -> Tensor:
        """See `LatentRun.for_autoencoder`: negatives, which are on white."""
        return to_signed(255 - rgb)

    def losses(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """See `TrainingRun.losses`: error of the colours of rays, and of the noise in the latents of a random view."""
        config, networks = self.config, cast(nn.ModuleDict, net)
        count = int(torch.randint(config.fewest, config.most + 1, (), generator=generator))
        objects = self.drawn(generator, config.batch_size, len(self.views))
        order = torch.rand(config.batch_size, self.views.count, generator=generator).argsort(dim=1)
        scenes = self.posed.scenes(objects, order[:, : count + 1], config.scale, generator)
        learned = config.learns != "denoiser"
        whole = config.learns != "transformer"
        with torch.set_grad_enabled(learned):
            seen = self._seen(networks["eft"], scenes, None if whole else generator)
        color = torch.stack([_huber(answer.rgb.float() - along.rgb) for answer, along in seen]).mean()
        surface = torch.stack([_surface_loss(answer.point_weights.float(), along) for answer, along in seen]).mean()
        of_rays = color + config.depth_weight * surface
        if not whole:
            return {"loss": of_rays, "color": color, "surface": surface}
        side = self.size.vldm.side
        features = torch.stack([answer.features.T.reshape(-1, side, side) for answer, _ in seen])
        squared, weight = self._denoised(networks["vldm"], features, objects, order[:, count], generator)
        diffusion = (squared * weight).mean()
        total = diffusion + of_rays if learned else diffusion
        return {"loss": total, "color": color.detach(), "squared": squared.mean(), "diffusion": diffusion}

    def _seen(
        self, eft: Any, scenes: list[Scene], generator: torch.Generator | None
    ) -> list[tuple[EftAnswer, TrueRays]]:
        """Return what the transformer sees along rays of each scene's view, and what is there.

        Parameters
        ----------
        generator : draws some rays; None: all.
        """
        pictures = torch.cat([scene.pictures for scene in scenes]).to(self.device)
        maps = eft.maps(pictures.to(next(eft.parameters()).dtype)).float()
        found, first, size = [], 0, self.size
        for scene in scenes:
            part = slice(first, first + len(scene.pictures))
            first = part.stop
            rays = scene.rays(size.vldm.side, size.image_side, size.eft.points)
            rgb, inside = scene.ray_colors(size.vldm.side)
            depths = scene.ray_depths(size.vldm.side)
            if generator is not None:
                chosen = _some(inside, self.config.rays, generator)
                rays, rgb, depths = rays[chosen], rgb[chosen], depths[chosen]
            answer = eft(scene.context(pictures[part], maps[part]), rays.to(self.device))
            place = (depths - rays.depths[:, 0]) / (rays.depths[:, -1] - rays.depths[:, 0]) * (size.eft.points - 1)
            found.append((answer, TrueRays(rgb.to(self.device), place.to(self.device))))
        return found

    def _denoised(
        self, vldm: Any, features: Tensor, objects: Tensor, view: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the error (B * draws,) of the noise seen in the latents of a view (B,) of objects, and its weight."""
        config = self.config
        clean = (self.latents[objects, view].float() * self.scale).repeat_interleave(config.draws, dim=0)
        times = torch.rand(len(clean), generator=generator) * LAST_TIME
        noise = torch.randn(clean.shape, generator=generator)
        kept = (torch.rand(len(clean), generator=generator) >= config.image_dropout).float()
        noisy = noised(clean, times, noise).to(self.device, self.dtype)
        told = features.to(self.dtype).repeat_interleave(config.draws, dim=0)
        predicted = vldm(noisy, log_snr(times).to(self.device), told, kept.to(self.device))
        squared = ((predicted.float() - noise.to(self.device)) ** 2).mean(dim=(1, 2, 3))
        return squared, self._time_weight(times).to(self.device)

    def _time_weight(self, times: Tensor) -> Tensor:
        """Return what errors at times (B,) count: as published, and by 1 / alpha squared up to `noisy_weight`."""
        alpha, _ = alpha_sigma(log_snr(times))
        return loss_weight(times) * (1 / alpha**2).clamp(max=self.config.noisy_weight)

    @torch.no_grad()
    def drawn_views(self, net: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See `LatentRun.drawn_views`: one view an object, beside the nearest picture that is shown; on white."""
        views, size = self.held_out, self.size
        generator = torch.Generator().manual_seed(5)
        objects = torch.arange(len(views))
        order = torch.rand(len(views), views.count, generator=generator).argsort(dim=1)
        scenes = PosedViews(views).scenes(objects, order[:, : _SHOWN + 1], 0.0)
        seen = [answer for answer, _ in self._seen(net["eft"], scenes, None)]
        side = size.vldm.side
        if self.config.learns == "transformer":
            rgb = torch.stack([answer.rgb.T.reshape(3, side, side) for answer in seen])
            large = functional.interpolate(rgb, size.image_side, mode="bilinear", align_corners=True) * 2 - 1
        else:
            features = torch.stack([answer.features.T.reshape(-1, side, side) for answer in seen])

            def predict(latents: Tensor, ratio: Tensor) -> Tensor:
                return cast(Tensor, net["vldm"](latents, ratio, features))

            def noise() -> Tensor:
                shape = (len(objects), LATENT_CHANNELS, side, side)
                return torch.randn(shape, generator=generator).to(self.device)

            latents = ancestral(predict, noise, self.config.measure_steps)
            large = -self.autoencoder.decode(latents)
        inside = views.mask[objects, order[:, _SHOWN]] > 127
        beside = order[torch.arange(len(objects)), torch.tensor([scene.nearest() for scene in scenes])]
        pictures = (large.cpu(), *(views.images(objects, view) for view in (order[:, _SHOWN], beside)))
        drawn, truth, shown = (torch.where(inside, picture, 1.0) for picture in pictures)
        return drawn, truth, shown

    def sizes(self) -> dict[str, Any]:
        """See `LatentRun.sizes`."""
        return {"eft": self.size.eft, "vldm": self.size.vldm}


def sizes_of(config: SparseFusionRunConfig, vae: Any) -> SparseFusionSize:
    """Return the sizes of a run's networks."""
    return SparseFusionSize(
        EftSize(config.backbone, config.features, config.layers, config.points),
        VldmSize(
            side=config.data.side // vae.factor,
            features=config.features,
            width=config.width,
            multipliers=config.multipliers,
            blocks=config.blocks,
            heads=config.heads,
            head_width=config.head_width,
            kernels=config.kernels,
            null_tokens=1,
        ),
        vae,
        negative=True,
    )


def _begin_from(net: nn.Module, path: Path, size: SparseFusionSize) -> None:
    found = read_mini(path, {"eft": EftSize, "vldm": VldmSize})
    if found.sizes.get("eft") != size.eft:
        raise ConfigError(
            f"{path} holds a transformer of {found.sizes.get('eft')}, this run's is {size.eft}: choose weights of the "
            "same sizes"
        )
    parts = ["eft", "vldm"] if found.sizes.get("vldm") == size.vldm else ["eft"]
    if len(parts) == 1:
        log.info("%s: its denoiser has other sizes and is left out", path)
    taken = {name: t for name, t in found.tensors.items() if name.partition(".")[0] in parts}
    lacking = net.load_state_dict(taken, strict=False).missing_keys
    lacking = [n for n in lacking if n.partition(".")[0] in parts and not n.endswith("num_batches_tracked")]
    if lacking:
        raise ModelError(
            ErrorCode.MODEL_WEIGHTS_INVALID,
            f"{path} lacks {len(lacking)} tensors of the networks whose sizes it tells, such as {lacking[0]}; train it "
            "again",
        )


def _huber(difference: Tensor) -> Tensor:
    return HUBER * ((1 + (difference / HUBER) ** 2).sqrt() - 1).mean()


def _surface_loss(weights: Tensor, along: TrueRays) -> Tensor:
    """Return the cross entropy of the weights (N, R, D) of points and the two points next to the surface."""
    last = weights.shape[-1] - 1
    met = (along.place >= 0) & (along.place < last)
    if not met.any():
        return weights.sum() * 0.0
    place = along.place[met]
    before = place.long()
    log_weights = (weights[:, met] + LEAST_WEIGHT).log()
    index = torch.stack([before, before + 1], dim=-1).expand(len(weights), -1, -1)
    near, far = log_weights.gather(2, index).unbind(dim=-1)
    share = place - before
    return -((1 - share) * near + share * far).mean()


def _some(inside: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return numbers of rays (count,): half of them, if there are any, of those that meet the object."""
    on = torch.nonzero(inside)[:, 0]
    half = count // 2 if len(on) else 0
    drawn = torch.randint(len(inside), (count - half,), generator=generator)
    return torch.cat([drawn, on[torch.randint(len(on), (half,), generator=generator)]]) if half else drawn
