"""Images from other sides: batches of views with guidance in one pass, each view from its own seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_recon.complete.latent.cameras import SphericalCamera, pose_vectors
from sparse_recon.complete.latent.conditioning_image import ConditioningImage
from sparse_recon.complete.latent.view_sampler import (
    DRAW_SEED,
    BatchSize,
    OnStep,
    as_tensor,
    decoded_bytes,
    mean_of_draws,
    sample_in_batches,
)
from sparse_recon.complete.zero123.model import ImageContext, Zero123Model
from sparse_recon.complete.zero123.parameters import Zero123Config
from sparse_recon.types import UInt8


class ViewSampler:
    """Draws views with a loaded model; where memory runs out, fewer at once from then on."""

    def __init__(self, model: Zero123Model, config: Zero123Config) -> None:
        self._model, self._batch = model, BatchSize("zero123", config.at_once)

    def context(self, image: ConditioningImage) -> ImageContext:
        """Return what the networks see in the image."""
        return self._model.context(as_tensor(image) * 2 - 1)

    def generate(
        self,
        image: ConditioningImage,
        cameras: Sequence[SphericalCamera],
        seeds: Sequence[int],
        config: Zero123Config,
        on_step: OnStep,
    ) -> UInt8:
        """Return the images (B, P, P, 3) uint8 of an object from other cameras.

        Raises
        ------
        ModelError
            MODEL_FAILED if an image has NaN or infinite values.
        MemoryError, torch.OutOfMemoryError
            If memory does not suffice for a single view.
        """
        model, context = self._model, self.context(image)
        poses = torch.from_numpy(pose_vectors(image.camera, cameras)).to(model.device)

        def predict_noise(latents: Tensor, t: int, rows: slice) -> Tensor:
            return model.predict_noise(latents, t, poses[rows], context, config.guidance)

        def draw(number: int, on_step: OnStep) -> UInt8:
            others = [seed + number * DRAW_SEED for seed in seeds]

            def at(at_once: int) -> UInt8:
                latents = sample_in_batches(
                    predict_noise, others, model.latent_shape, model.device, at_once, config, on_step
                )
                return decoded_bytes(model.decode_latents, latents, "zero123")

            return self._batch.draw(len(cameras), config.at_once, at)

        return mean_of_draws(draw, config.draws, on_step)
