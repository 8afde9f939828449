"""All views of an object, drawn together from one seed (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.latent.samplers import Denoiser, sample, seeded_noise
from sparse_recon.complete.latent.schedules import alpha_bars
from sparse_recon.complete.latent.view_sampler import (
    DRAW_SEED,
    BatchSize,
    OnStep,
    as_tensor,
    decoded_bytes,
    mean_of_draws,
)
from sparse_recon.complete.syncdreamer.model import SyncDreamerModel
from sparse_recon.complete.syncdreamer.parameters import SyncDreamerConfig
from sparse_recon.complete.syncdreamer.sizes import MODEL
from sparse_recon.types import UInt8

# Apart from the seeds of objects, which lie below; PyTorch's generator knows the lowest 32 bits of a seed only.
IMAGE_SEED = 1 << 31


class SetSampler:
    """Draws the views of an object; where memory runs out, fewer go through the denoiser at once from then on."""

    def __init__(self, model: SyncDreamerModel, config: SyncDreamerConfig) -> None:
        self._model, self._batch = model, BatchSize(MODEL, config.at_once)

    def generate(
        self,
        image: ConditioningImage,
        seed: int,
        config: SyncDreamerConfig,
        on_step: OnStep,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> UInt8:
        """Return the images (V, P, P, 3) uint8 of all views, the first from the image's azimuth.

        Parameters
        ----------
        seed : of this object's noise.
        on_step : takes the steps done, their number, and the clean latents (1, V, 4, S, S) seen by then; may raise.
        checkpoint : called between the blocks of the networks; may raise.

        Raises
        ------
        ModelError
            MODEL_FAILED if an image has NaN or infinite values.
        MemoryError, torch.OutOfMemoryError
            If memory does not suffice for a single view at once.
        """
        model = self._model

        def draw(number: int, on_step: OnStep) -> UInt8:
            def at(at_once: int) -> UInt8:
                latents = self.latents(image, seed + number * DRAW_SEED, config, at_once, on_step)
                return decoded_bytes(model.decode_latents, latents, MODEL)

            return self._batch.draw(model.size.volume.views, config.at_once, at)

        model.checkpoint = checkpoint
        try:
            return mean_of_draws(draw, config.draws, on_step)
        finally:
            model.checkpoint = lambda: None

    def pictures(self, clean: Tensor, checkpoint: Callable[[], None] = lambda: None) -> UInt8:
        """Return the images (B, P, P, 3) uint8 of latents (B, 4, S, S) seen on the way; `checkpoint` may raise."""

        def decode(one: Tensor) -> Tensor:
            checkpoint()
            return self._model.decode_latents(one)

        return decoded_bytes(decode, clean, MODEL)

    def latents(
        self, image: ConditioningImage, seed: int, config: SyncDreamerConfig, at_once: int, on_step: OnStep
    ) -> Tensor:
        """Return the clean latents (V, 4, S, S) of all views, scaled."""
        model = self._model
        of_image = seeded_noise([seed ^ IMAGE_SEED], model.latent_shape[1:], "cpu")
        conditions = model.conditions(as_tensor(image) * 2 - 1, image.camera.elevation_rad, of_image())

        def denoiser(latents: Tensor, t: int) -> Tensor:
            return model.predict_noise(latents, t, conditions, config.guidance, at_once)

        noise = seeded_noise([seed], model.latent_shape, model.device)
        return released_sample(denoiser, noise, config, on_step)[0]


def released_sample(
    denoiser: Denoiser,
    noise: Callable[[], Tensor],
    config: SyncDreamerConfig,
    on_step: OnStep = lambda step, steps, clean: None,
) -> Tensor:
    """Return clean latents (B, V, 4, S, S): with `ddim` as released, its table in single precision, its end noiseless.

    Parameters
    ----------
    noise : returns a standard normal (B, V, 4, S, S) at each call.
    """
    with torch.no_grad():
        return sample(
            denoiser,
            noise,
            config.sampler,
            config.steps,
            config.eta,
            on_step,
            noisy_end=False,
            alpha_bar=alpha_bars(single=True),
        )
