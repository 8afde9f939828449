"""Pictures from other sides: batches of views with guidance in one pass, each view from its own seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sparse_recon.complete.latent.schedules import normal_noise, sample
from sparse_recon.complete.zero123.model import PictureContext, Zero123Model
from sparse_recon.complete.zero123.picture import InputPicture
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
        self._model, self._at_once = model, config.at_once

    def context(self, picture: InputPicture) -> PictureContext:
        """Return what the networks see in the picture."""
        return self._model.context(as_tensor(picture) * 2 - 1)

    def draw(
        self,
        picture: InputPicture,
        cameras: Sequence[SphericalCamera],
        seeds: Sequence[int],
        config: Zero123Config,
        on_step: OnStep,
    ) -> UInt8:
        """Return the pictures (B, 256, 256, 3) uint8 of an object from other cameras.

        Raises
        ------
        ModelError
            MODEL_FAILED if a picture is not of numbers.
        MemoryError, torch.OutOfMemoryError
            If memory does not suffice for a single view.
        """
        context = self.context(picture)
        poses = torch.from_numpy(_stacked(picture.camera, cameras)).to(self._model.device)
        while True:
            try:
                return self._drawn(context, poses, seeds, config, on_step)
            except Exception as error:
                if memory_shortage(error) is None or self._at_once == 1:
                    raise
            # Outside the handler, so that the traceback no longer holds what was allocated.
            self._make_do(len(cameras))

    def _make_do(self, count: int) -> None:
        self._at_once = max(1, min(self._at_once, count) // 2)
        log.warning("memory does not suffice: zero123 generates %d views per batch from now on", self._at_once)
        if self._model.device == "cuda":
            torch.cuda.empty_cache()

    def _drawn(
        self, context: PictureContext, poses: Tensor, seeds: Sequence[int], config: Zero123Config, on_step: OnStep
    ) -> UInt8:
        passes = [slice(first, first + self._at_once) for first in range(0, len(seeds), self._at_once)]
        pictures = []
        for number, rows in enumerate(passes):

            def denoiser(latents: Tensor, t: int, rows: slice = rows) -> Tensor:
                return self._model.noise(latents, t, poses[rows], context, config.guidance)

            def tell(step: int, steps: int, clean: Tensor, number: int = number) -> None:
                on_step(number * steps + step, len(passes) * steps, clean)

            noise = normal_noise(seeds[rows], self._model.latent_shape, self._model.device)
            latents = sample(denoiser, noise, config.sampler, config.steps, config.eta, tell)
            with torch.no_grad():
                # One by one: the decoder needs more memory for a picture than the denoiser for a batch.
                pictures += [self._model.decoded(one[None])[0] for one in latents]
        found = torch.stack(pictures)
        if not bool(found.isfinite().all()):
            raise ModelError(
                ErrorCode.MODEL_FAILED,
                "zero123 generated images with NaN or infinite values; fp16 may have overflowed: set zero123.precision "
                "to bf16 or fp32",
            )
        return (found.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


def as_tensor(picture: InputPicture) -> Tensor:
    """Return a picture as (1, 3, P, P) float32 in [0, 1]."""
    return torch.from_numpy(picture.rgb).permute(2, 0, 1)[None].contiguous()


def _stacked(source: SphericalCamera, cameras: Sequence[SphericalCamera]) -> Float32:
    return np.stack([pose_vector(source, camera) for camera in cameras])
