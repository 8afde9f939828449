"""Images from other sides: batches of views with guidance in one pass, each view from its own seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sparse_recon.complete.latent.schedules import sample, seeded_noise
from sparse_recon.complete.zero123.conditioning_image import ConditioningImage
from sparse_recon.complete.zero123.model import ImageContext, Zero123Model
from sparse_recon.complete.zero123.pose import SphericalCamera, pose_vector
from sparse_recon.config.model_config import Zero123Config
from sparse_recon.errors import ErrorCode, ModelError
from sparse_recon.machine.memory_shortage import memory_shortage
from sparse_recon.types import Float32, UInt8

log = logging.getLogger(__name__)

# Called with the steps done, their number, and the clean latents seen by then; may raise.
OnStep = Callable[[int, int, Tensor], None]


class ViewSampler:
    """Draws views with a loaded model; where memory runs out, fewer at once from then on."""

    def __init__(self, model: Zero123Model, config: Zero123Config) -> None:
        self._model, self._batch_size = model, config.at_once

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
        """Return the images (B, 256, 256, 3) uint8 of an object from other cameras.

        Raises
        ------
        ModelError
            MODEL_FAILED if an image has NaN or infinite values.
        MemoryError, torch.OutOfMemoryError
            If memory does not suffice for a single view.
        """
        context = self.context(image)
        poses = torch.from_numpy(_pose_vectors(image.camera, cameras)).to(self._model.device)
        while True:
            try:
                return self._generated(context, poses, seeds, config, on_step)
            except Exception as error:
                if memory_shortage(error) is None or self._batch_size == 1:
                    raise
            # Outside the handler, so that the traceback no longer holds what was allocated.
            self._reduce_batch(len(cameras))

    def _reduce_batch(self, count: int) -> None:
        self._batch_size = max(1, min(self._batch_size, count) // 2)
        log.warning("memory does not suffice: zero123 generates %d views per batch from now on", self._batch_size)
        if self._model.device == "cuda":
            torch.cuda.empty_cache()

    def _generated(
        self, context: ImageContext, poses: Tensor, seeds: Sequence[int], config: Zero123Config, on_step: OnStep
    ) -> UInt8:
        batches = [slice(first, first + self._batch_size) for first in range(0, len(seeds), self._batch_size)]
        images = []
        for number, rows in enumerate(batches):

            def denoiser(latents: Tensor, t: int, rows: slice = rows) -> Tensor:
                return self._model.predict_noise(latents, t, poses[rows], context, config.guidance)

            def report(step: int, steps: int, clean: Tensor, number: int = number) -> None:
                on_step(number * steps + step, len(batches) * steps, clean)

            noise = seeded_noise(seeds[rows], self._model.latent_shape, self._model.device)
            latents = sample(denoiser, noise, config.sampler, config.steps, config.eta, report)
            with torch.no_grad():
                # One by one: the decoder needs more memory for an image than the denoiser for a batch.
                images += [self._model.decode_latents(one[None])[0] for one in latents]
        stacked = torch.stack(images)
        if not bool(stacked.isfinite().all()):
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                "zero123 generated images with NaN or infinite values; fp16 may have overflowed: set zero123.precision "
                "to bf16 or fp32",
            )
        return (stacked.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


def as_tensor(image: ConditioningImage) -> Tensor:
    """Return an image as (1, 3, P, P) float32 in [0, 1]."""
    return torch.from_numpy(image.rgb).permute(2, 0, 1)[None].contiguous()


def _pose_vectors(source: SphericalCamera, cameras: Sequence[SphericalCamera]) -> Float32:
    return np.stack([pose_vector(source, camera) for camera in cameras])
