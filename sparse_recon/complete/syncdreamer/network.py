"""The networks of SyncDreamer as one module: what is trained, and what a model runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_recon.complete.latent.architectures import clip_vision, unet
from sparse_recon.complete.latent.attention import attend_to_one_token
from sparse_recon.complete.latent.clip_pixels import clip_pixels
from sparse_recon.complete.syncdreamer.cameras import ELEVATION_RAD, view_tokens
from sparse_recon.complete.syncdreamer.depth_attention import DepthAttentions
from sparse_recon.complete.syncdreamer.frustum import FrustumVolume
from sparse_recon.complete.syncdreamer.sizes import TOKEN_NUMBERS, SyncDreamerSize
from sparse_recon.complete.syncdreamer.unet3d import time_embedding
from sparse_recon.complete.syncdreamer.volume import SpatialVolume


@dataclass(frozen=True, eq=False)
class Conditions:
    """What B pictures tell of all views.

    Attributes
    ----------
    picture_token : (B, 1, C), of the image tower.
    latents : (B, 4, S, S) of the picture, not scaled.
    view_tokens : (B, V, 4), where each view is seen from.
    """

    picture_token: Tensor
    latents: Tensor
    view_tokens: Tensor


@dataclass(frozen=True, eq=False)
class Shared:
    """What all views of B objects share in one step: time (B,), its embedding (B, T), volume (B, C, Z, Y, X)."""

    t: Tensor
    time: Tensor
    volume: Tensor


class SyncDreamerNetwork(nn.Module):
    """Denoiser, image tower, projection, volumes and attention to them; the autoencoder is apart.

    A training step is `forward`: all views of an object are noised alike, one of them is denoised.
    """

    def __init__(self, size: SyncDreamerSize) -> None:
        super().__init__()
        self.size = size
        latents, side = size.vae.latent_channels, size.unet.sample
        self.unet = unet(size.unet)
        attend_to_one_token(self.unet)
        self.image_encoder = clip_vision(size.clip)
        self.cc_projection = projection(size)
        self.time_embed = time_layers(size)
        self.spatial_volume = SpatialVolume(size.volume, latents, side)
        self.frustum_volume = FrustumVolume(size.volume, side)
        self.depth_attention = DepthAttentions(size.unet, size.volume)
        self.depth_attention.attach(self.unet)

    def conditions(self, image: Tensor, latents: Tensor, elevation_rad: Tensor) -> Conditions:
        """Return what pictures tell.

        Parameters
        ----------
        image : (B, 3, P, P) in [-1, 1], on white.
        latents : (B, 4, S, S) of them, not scaled.
        elevation_rad : (B,) of the cameras that took them.
        """
        pixels = clip_pixels(image, self.size.clip.side).to(self.dtype)
        token = self.image_encoder(pixel_values=pixels).image_embeds[:, None]
        return Conditions(token, latents.to(token), self.view_tokens(elevation_rad))

    def view_tokens(self, elevation_rad: Tensor) -> Tensor:
        """Return (B, V, 4) of pictures taken at elevations (B,)."""
        level = torch.from_numpy(view_tokens(ELEVATION_RAD, self.size.volume.views)).to(elevation_rad.device)
        tokens = level.expand(len(elevation_rad), -1, -1).clone()
        tokens[:, :, 0] = (elevation_rad - ELEVATION_RAD)[:, None]
        return tokens.to(self.dtype)

    def shared(self, latents: Tensor, t: Tensor, conditions: Conditions) -> Shared:
        """Return what all views share, of their noisy latents (B, V, 4, S, S) at times t (B,)."""
        time = self.time_embed(time_embedding(t, self.size.volume.time).to(self.dtype))
        return Shared(t, time, self.spatial_volume(latents.to(self.dtype), time, conditions.view_tokens))

    def view_noise(
        self,
        latents: Tensor,
        shared: Shared,
        conditions: Conditions,
        views: Tensor,
        guidance: float = 1.0,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Return the noise (B, K, 4, S, S) seen in K views of each object.

        The unconditional half of guidance has a zero context behind the projection, zero volumes and zero latents of
        the picture; the shared volume is the same.

        Parameters
        ----------
        latents : (B, K, 4, S, S), noisy, of these views.
        views : (B, K) int64, which they are.
        guidance : 1: none, and half of the work.
        kept : (B,) 1, or 0 where the object is denoised without conditions, in training.
        """
        count, asked = views.shape
        tokens = conditions.view_tokens.gather(1, views[..., None].expand(-1, -1, TOKEN_NUMBERS))
        both = torch.cat([conditions.picture_token.expand(-1, asked, -1), tokens], dim=2)
        context = self.cc_projection(both).flatten(0, 1)[:, None]  # (B * K, 1, C)
        picture = conditions.latents.repeat_interleave(asked, 0)
        volumes = self.frustum_volume(shared.volume, shared.time, conditions.view_tokens, views)
        if kept is not None:
            share = kept.to(context).repeat_interleave(asked, 0)
            context, picture = context * share[:, None, None], picture * share[:, None, None, None]
            volumes = [volume * share[:, None, None, None, None] for volume in volumes]
        x = latents.to(self.dtype).flatten(0, 1)
        t = shared.t.repeat_interleave(asked, 0)
        if guidance == 1.0:
            found = self._noise(torch.cat([x, picture], 1), t, context, volumes)
        else:
            x = torch.cat([torch.cat([x, picture], 1), torch.cat([x, torch.zeros_like(picture)], 1)])
            context = torch.cat([context, torch.zeros_like(context)])
            told, untold = self._noise(x, t.repeat(2), context, volumes).chunk(2)
            found = untold + guidance * (told - untold)
        return found.unflatten(0, (count, asked))

    def forward(
        self,
        latents: Tensor,
        t: Tensor,
        conditions: Conditions,
        views: Tensor,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Return the noise (B, K, 4, S, S) seen in some of the views, as training asks it.

        Parameters
        ----------
        latents : (B, V, 4, S, S), noisy, of all views, scaled.
        t : (B,) int64, one time for all views of an object.
        views : (B, K) int64; as published K = 1, drawn at random.
        kept : as in `view_noise`.
        """
        chosen = latents.gather(1, views[..., None, None, None].expand(-1, -1, *latents.shape[2:]))
        return self.view_noise(chosen, self.shared(latents, t, conditions), conditions, views, 1.0, kept)

    @property
    def dtype(self) -> torch.dtype:
        return self.cc_projection.weight.dtype

    def _noise(self, x: Tensor, t: Tensor, context: Tensor, volumes: list[Tensor]) -> Tensor:
        self.depth_attention.look_at(volumes)
        try:
            found: Tensor = self.unet(
                x.contiguous(memory_format=torch.channels_last), t, encoder_hidden_states=context, return_dict=False
            )[0]
        finally:
            self.depth_attention.look_at(None)
        return found.float()


def projection(size: SyncDreamerSize) -> nn.Linear:
    """Return the layer from a picture's token and a view's to the context; at first the picture's token as it is."""
    layer = nn.Linear(size.clip.projection + TOKEN_NUMBERS, size.unet.context)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def time_layers(size: SyncDreamerSize) -> nn.Sequential:
    """Return the layers that embed time for the volumes; the denoiser has its own."""
    width = size.volume.time
    return nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
